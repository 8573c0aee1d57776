"""Quality figures of a bank, against real images that it was not fitted on.

Figures of sets of different sizes cannot be compared: a Frechet distance grows as sets shrink, coverage grows with the
number of generated images. All sets compared here have one size and the same labels. If few images are held out,
several sets of that size are generated, and a figure is the mean over them.
"""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass
from functools import partial
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.files.untrusted_json import check_types, from_dict
from vae_augment.fitting.classifier import SmallCNN, features
from vae_augment.images.nearest import SEARCHED, nearest
from vae_augment.model.vae import kl_per_dim
from vae_augment.seeding import draw_items, generator

Images = tuple[Tensor, Tensor]  # uint8 [N, C, H, W] and their labels, int64 [N], on the CPU

NEIGHBOURS = 5  # k of precision, recall, density and coverage, as in Naeem et al.
LEAST_GENERATED = 200  # images, even for a handful of held-out ones
RARE = 0.01  # share of held-out images that are as near to a training image as near-duplicates are
COPY = 1e-3  # distance up to which an image is a copy: a quarter of one of 255 levels


@dataclass(frozen=True)
class Quality:
    """Figures of a bank's images beside held-out real ones. Each field is finite and at least 0.

    Features are those of a classifier trained on the bank's training images. Their scale is arbitrary: compare
    `frechet` with `frechet_real`, not with another dataset's. Perfect generated images have a density of about 1 and a
    coverage of about 0.97 (1 - 2^-5). With fewer than some 100 images held out even poor ones have a high precision.
    A VAE's images are blurred, and blurred images are nearer to all others: distances a little below the real ones',
    and some more near-duplicates than expected, are a reason to look at the images, not a proof of copies.

    Args:
        rmse: root mean squared error of reconstructed held-out images, pixels in 0..1.
        train_rmse: the same of training images; much less than `rmse` where the bank is overfitted.
        kl: mean KL divergence of held-out images' posterior from the prior, in nats an image.
        precision: share of generated images inside the real ones' neighbourhoods (Kynkaanniemi et al. 2019).
        recall: share of held-out images inside the generated ones' neighbourhoods (Kynkaanniemi et al. 2019).
        density: mean number of real neighbourhoods that a generated image is in, over k (Naeem et al. 2020).
        coverage: share of held-out images with a generated one in their neighbourhood (Naeem et al. 2020).
        frechet: Frechet distance of features, generated to held-out images (Heusel et al. 2017).
        frechet_real: the same of training to held-out images: about the best that a generator could reach.
        copy_distance: median over generated images of the distance to the nearest training image of their class, as
            root mean squared difference of pixels in 0..1.
        real_distance: the same of held-out images, to the same training images.
        near_duplicates: number of generated images nearer to a training image than all but 1 % of the held-out ones, or
            than all of up to 100 held-out ones. Generated copies always count, held-out copies are left out. Of H
            held-out images, images as new as real ones give 1 %, or one in H + 1.
        generated: number of generated images.
        held_out: number of held-out images.
    """

    rmse: float
    train_rmse: float
    kl: float
    precision: float
    recall: float
    density: float
    coverage: float
    frechet: float
    frechet_real: float
    copy_distance: float
    real_distance: float
    near_duplicates: int
    generated: int
    held_out: int

    def __post_init__(self) -> None:
        check_types(Quality, vars(self), "quality")
        for name, value in vars(self).items():
            if not 0 <= value <= sys.float_info.max:  # false for NaN too
                raise ValueError(f"{name} must be finite and at least 0, got {value}.")

    def __str__(self) -> str:
        return (
            f"quality   of a trial fit, on {self.held_out} images held out and {self.generated} generated\n"
            f"          RMSE {self.rmse:.4f} (training images {self.train_rmse:.4f}), KL {self.kl:.1f} nats\n"
            f"          precision {self.precision:.2f}, recall {self.recall:.2f}, density {self.density:.2f}, "
            f"coverage {self.coverage:.2f}, Frechet distance {self.frechet:.1f} (real images {self.frechet_real:.1f})\n"
            f"          nearest training image at {self.copy_distance:.3f} (real images {self.real_distance:.3f}), "
            f"{self.near_duplicates} near-duplicates"
        )

    def to_dict(self) -> dict[str, float | int]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Quality:
        """The inverse of `to_dict`. Raises ValueError for an unknown, missing or impossible entry."""
        return from_dict(cls, values, "quality")


def measure_quality(
    bank: VAEBank, model: SmallCNN, train: Images, held_out: Images, *, seed: int = 0, most: int = 1000
) -> Quality:
    """Quality figures of a bank. Classes that failed to fit count like any other; classes not held out do not.

    Args:
        bank: fitted on `train` alone.
        model: a classifier trained on `train` alone.
        train: uint8 [N, C, H, W] of the bank's size, and int64 labels [N].
        held_out: the same of two or more real images that neither bank nor model saw, of classes in `train`.
        seed: of the choice of images and of the generated ones; torch's global generator is left alone.
        most: images of each set, at most. But nearest training images are searched among all, up to 10,000 a class,
            because copies of images left out would not be found.

    Raises:
        TypeError: images that are not uint8.
        ValueError: images or labels that do not fit, too few of them, or a model whose features are not finite.
    """
    train, held_out = _checked(bank, "train", train), _checked(bank, "held_out", held_out)
    _check_enough(train, held_out, most)
    stream = partial(generator, seed, "quality")
    real, labels = _drawn(held_out, most, stream("held-out"))
    rounds = math.ceil(LEAST_GENERATED / len(labels))
    made = bank.sample(labels.repeat(rounds), generator=stream("generated")).cpu()
    rmse, kl = _reconstruction(bank, real, labels)
    figures = _in_features(model, made, (real, labels), train, stream("frechet"))
    figures |= _in_pixels(made, (real, labels), train, stream("nearest"))
    figures["train_rmse"], _ = _reconstruction(bank, *_drawn(train, most, stream("train")))
    return Quality(rmse=rmse, kl=kl, generated=len(made), held_out=len(real), **figures)


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Squared Frechet distance, as the FID is, of normal distributions fitted to features (Heusel et al. 2017).

    The trace of the root of the product of covariances A'A and B'B is the sum of the singular values of AB'. That is
    exact even for singular covariances, as those of few images are, while a matrix root is not.

    Args:
        a: float [N, F], N >= 1; the covariance of one image is zero.
        b: float [M, F], M >= 1.
    """
    roots, means = [], []
    for x in (a.double(), b.double()):
        means.append(x.mean(0))
        scaled = (x - means[-1]) / math.sqrt(max(len(x) - 1, 1))
        roots.append(torch.linalg.qr(scaled, mode="r").R)  # R'R is the covariance
    shared = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    spreads = roots[0].square().sum() + roots[1].square().sum()
    distance: float = ((means[0] - means[1]).square().sum() + spreads - 2 * shared).item()
    return max(0.0, distance)


class Neighbourhoods(NamedTuple):
    """Precision, recall, density and coverage of two sets of features; see `Quality`."""

    precision: float
    recall: float
    density: float
    coverage: float


def neighbourhoods(real: Tensor, fake: Tensor, k: int = NEIGHBOURS) -> Neighbourhoods:
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020).

    The neighbourhood of an image is the ball that reaches to the k-th nearest image of its own set, edge included.
    If ties put more than k images into it, density divides by their number instead of k, and so stays comparable.

    Args:
        real: float32 [N, F], N >= 2.
        fake: float32 [M, F], M >= 2; M = N to compare the four with those of other sets.
        k: at most one less than the size of the smaller set.
    """
    k = min(k, len(real) - 1, len(fake) - 1)
    apart = _distances(real, fake)  # [N, M]
    real_radius, real_inside = _balls(real, k)
    fake_radius, _ = _balls(fake, k)
    near_real, near_fake = apart <= real_radius[:, None], apart <= fake_radius
    return Neighbourhoods(
        precision=near_real.any(0).double().mean().item(),
        recall=near_fake.any(1).double().mean().item(),
        density=(near_real / real_inside[:, None].double()).sum(0).mean().item(),
        coverage=near_real.any(1).double().mean().item(),
    )


def _balls(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Distance of each of x [N, F] to its k-th nearest other, and the number of others as near: [N] each."""
    distances = _distances(x, x).fill_diagonal_(math.inf)
    radius = distances.topk(k, dim=1, largest=False).values[:, -1]
    return radius, (distances <= radius[:, None]).sum(1)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Distances [N, M], not by a matrix product, so that equal features have distance 0."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _in_features(
    model: SmallCNN, made: Tensor, held_out: Images, train: Images, draws: torch.Generator
) -> dict[str, Any]:
    """Figures that compare features; `made` is one or more sets of images with the held-out images' labels."""
    images, labels = held_out
    real, fakes = _features(model, images), _features(model, made).split(len(images))
    hoods = [neighbourhoods(real, fake) for fake in fakes]
    figures = {name: fmean(getattr(hood, name) for hood in hoods) for name in Neighbourhoods._fields}
    pairs = [_pairs(labels, train[1], draws) for _ in fakes]
    seen = _features(model, train[0][torch.cat([chosen for _, chosen in pairs])]).split(len(pairs[0][1]))
    reals = [real[items] for items, _ in pairs]
    made_alike = [fake[items] for fake, (items, _) in zip(fakes, pairs, strict=True)]
    figures["frechet"] = fmean(map(frechet_distance, made_alike, reals))
    figures["frechet_real"] = fmean(map(frechet_distance, seen, reals))
    return figures


def _pairs(labels: Tensor, train_labels: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Positions of held-out and of training images, equally many of each class, drawn without repeats."""
    items, chosen = [], []
    for label in labels.unique():
        ours, theirs = draw_items(labels, label, draws), draw_items(train_labels, label, draws)
        count = min(len(ours), len(theirs))
        items.append(ours[:count])
        chosen.append(theirs[:count])
    return torch.cat(items), torch.cat(chosen)


def _in_pixels(made: Tensor, held_out: Images, train: Images, draws: torch.Generator) -> dict[str, Any]:
    """Figures that compare pixels with the nearest training image's."""
    images, labels = held_out
    distances = _nearest(torch.cat([made, images]), labels.repeat(len(made) // len(images) + 1), train, draws)
    of_made, of_real = distances.split([len(made), len(images)])
    new = of_real[of_real > COPY]  # real data may hold an image twice
    limit = max(COPY, new.quantile(RARE, interpolation="lower").item()) if len(new) else 0.0
    return {
        "copy_distance": of_made.quantile(0.5).item(),
        "real_distance": of_real.quantile(0.5).item(),
        "near_duplicates": int((of_made < limit).sum()),
    }


def _nearest(images: Tensor, labels: Tensor, train: Images, draws: torch.Generator) -> Tensor:
    """RMSE [N], pixels in 0..1, between each image and the nearest training image of its class."""
    distances = torch.full((len(images),), math.inf)
    for label in labels.unique():
        items = (labels == label).nonzero()[:, 0]
        searched = draw_items(train[1], label, draws, SEARCHED)
        distances[items] = nearest(images[items], train[0], among=searched).distances[:, 0]
    return distances


def _reconstruction(bank: VAEBank, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """RMSE of reconstructed images, pixels in 0..1, and mean KL divergence in nats an image."""
    mean, logvar = bank.encode(images, labels)
    rows = torch.tensor([bank.row_of[label] for label in labels.tolist()], device=bank.device)
    squared_error = bank.models.squared_errors(images, mean, rows).sum().item()
    kl = kl_per_dim(mean, logvar).sum().item()
    return math.sqrt(squared_error / images.numel()), max(0.0, kl / len(images))


def _features(model: SmallCNN, images: Tensor) -> Tensor:
    if bool(torch.isfinite(found := features(model, images)).all()):
        return found
    raise ValueError("model must give finite features, got some that are not. Its training diverged.")


def _drawn(images: Images, most: int, draws: torch.Generator) -> Images:
    """A random choice of at most `most` images, in their order."""
    chosen = torch.randperm(len(images[1]), generator=draws)[:most].sort().values
    return images[0][chosen], images[1][chosen]


def _checked(bank: VAEBank, name: str, images: Images) -> Images:
    pixels, labels = (tensor.cpu() for tensor in images)
    if pixels.dtype != torch.uint8:
        raise TypeError(f"{name} images must be uint8, got {pixels.dtype}.")
    if pixels.shape[1:] != bank.image_shape:
        raise ValueError(f"{name} images must be {['N', *bank.image_shape]}, got {list(pixels.shape)}.")
    if labels.dtype != torch.int64 or labels.shape != pixels.shape[:1]:
        raise ValueError(f"{name} labels must be int64 [{len(pixels)}], got {labels.dtype} {list(labels.shape)}.")
    return pixels, labels


def _check_enough(train: Images, held_out: Images, most: int) -> None:
    if most < 2 or len(held_out[1]) < 2:
        raise ValueError(f"most and the number of held_out images must be at least 2, got {most}, {len(held_out[1])}.")
    strange = sorted(set(held_out[1].tolist()) - set(train[1].tolist()))
    if strange:
        raise ValueError(f"held_out must be of classes that train has images of, got label {strange[0]}. Leave it out.")
