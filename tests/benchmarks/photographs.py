"""How photographs come out of a VAE, the one that ships and others: sharpness, seams, error, distances, and time.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.photographs [--way NAME ...] [--per-class N] [--side PIXELS]
    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.photographs --fits [--per-class N] [--side PIXELS]

Each way trains one VAE on photographs of hands of all classes, as a fit's warm start does, for as many steps; so times
are those of one thread and compare ways. Figures are of the test images, as they are decoded again from their codes,
and of as many drawn around the codes of training images of their class. With --fits whole fits are compared, without
components and as `fit` ships. Raw results go to docs/results/photographs.json, one way after the other, and
docs/photographs.md is made from them; docs/photographs.png from the fits of 30 a class at 64 pixels.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from tabulate import tabulate
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image
from torchvision.utils import make_grid

from tests.benchmarks.backbones import features, network
from tests.benchmarks.kinds_data import Cell, Kind, folder
from vae_augment import FitConfig, fit
from vae_augment.files.writing import atomic_write
from vae_augment.fitting.budget import WARM_FACTOR
from vae_augment.fitting.components import begin_with_components
from vae_augment.fitting.quality import frechet_distance, neighbourhoods
from vae_augment.fitting.stages import WARM_SHARE
from vae_augment.fitting.training import Job, train
from vae_augment.images.moves import MOVES
from vae_augment.images.tensors import to_float
from vae_augment.model.conv_vae import ConvVAE
from vae_augment.model.latent import concatenate, describe, pooled_covariance
from vae_augment.model.layers import conv, group_norm
from vae_augment.model.samplers import draw
from vae_augment.model.vae import Loss, Params
from vae_augment.seeding import generator

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "photographs.json"
PERIOD = 4  # pixels between seams
FEATURE_STAGES, FEATURE_WEIGHT = 3, 1.0  # of a loss in features: nats a value of an image, for features all wrong
INTRODUCTION = """# Photographs

How hands come out of whole fits, and of VAEs of several sorts trained for one number of steps: test images decoded
again from their codes, and as many images drawn around the codes of training images. Frechet distance and precision are
in features of EfficientNet-Lite0 at 112 pixels, beside the test images; that of the training images is given for scale.
Made by `python -m tests.benchmarks.photographs`; raw results are in [results](results/photographs.json).

![Hands: test images, decoded again and drawn without components, decoded again and drawn as fit ships](photographs.png)

From above: test images, decoded again without components and as `fit` ships (30 a class, 64 pixels), and drawn by both.

- *seconds*: of a whole fit, the choice of a policy too, on one thread of a busy machine; of a way, of its
  training alone, on one thread.
- *sharpness*: squared differences of neighbouring pixels, over those of the test images.
- *seams*: absolute differences across the borders of patches, over those inside of patches.
- *components*: `FitConfig(components=...)`, principal components that the convolutions add to.
- *jittered images told from real ones*: the share that a network knows for such, the mean of two networks; 0.5 if they
  cannot tell (`python -m tests.benchmarks.jittered`). Jittered as far as the default does, and not moved.
- *own ...*: as `info` shows them, of a trial bank and held-out images, in features of its own classifier.
"""
JITTERED_PICTURE = """![Hands: as they are, and jittered in three ways](jittered.png)

From above: hands as they are, decoded anew, with their detail kept, and with the difference smoothed, as it is served.
"""
JITTERED = "jittered images told from real ones"
SHOWN = "whole fits of sign-digits, 30 a class, 64 pixels"
FITS = {"without components": 0, "as it ships": None}
OWN = ("precision", "recall", "coverage", "frechet", "near_duplicates", "generated")


@dataclass(frozen=True)
class Residual(ConvVAE):
    """A decoder with a residual 3x3 convolution after each upsampling, and patches of twice their stride."""

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        shapes = dict(ConvVAE.shapes.func(self))
        shapes["decoder.patch.weight"] = (self.width, self.image_shape[0], 2 * self.patch, 2 * self.patch)
        for i in range(self.stages):
            fine = self.channels[i]
            shapes |= {f"decoder.more.{i}.weight": (fine, fine, 3, 3), f"decoder.more.{i}.bias": (fine,)}
            shapes |= {f"decoder.more.{i}.norm.weight": (fine,), f"decoder.more.{i}.norm.bias": (fine,)}
        return shapes

    def render(self, params: Params, features: Tensor) -> Tensor:
        classes, batch = features.shape[:2]
        h = F.silu(features).view(classes, batch, self.channels[-1], *self.grid).transpose(0, 1).flatten(1, 2)
        for i in reversed(range(self.stages)):
            h = F.pixel_shuffle(conv(params, f"decoder.{i}", h), 2)
            more = F.silu(group_norm(params, f"decoder.{i}.norm", h))
            h = h + conv(params, f"decoder.more.{i}", more, padding=1)
            h = F.silu(group_norm(params, f"decoder.more.{i}.norm", h))
        weight, bias = params["decoder.patch.weight"].flatten(0, 1), params["decoder.patch.bias"].flatten()
        x = F.conv_transpose2d(h, weight, bias, self.patch, self.patch // 2, groups=classes).float().sigmoid()
        left, _, top, _ = self.padding
        _, height, width = self.image_shape
        x = x[:, :, top : top + height, left : left + width]
        return x.unflatten(1, (classes, -1)).transpose(0, 1)


@dataclass(frozen=True)
class InFeatures(ConvVAE):
    """Our VAE with a loss in features of a pretrained network too, those of its first layers.

    Johnson et al. (2016), "Perceptual Losses for Real-Time Style Transfer"; Hou et al. (2017), "Deep
    Feature Consistent Variational Autoencoder".
    """

    def in_training(self, params: Params, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, logvar, made = super().in_training(params, images, noise)
        self.__dict__["made"] = made
        return mean, logvar, made

    def loss(self, params: Params, images: Tensor, noise: Tensor) -> Loss:
        loss = super().loss(params, images, noise)
        errors = [
            (ours - theirs).square().mean() / theirs.var()
            for ours, theirs in zip(first_layers(self.made[0]), first_layers(images[0]), strict=True)
        ]
        more = math.prod(self.image_shape) * FEATURE_WEIGHT * torch.stack(errors).mean()
        return loss._replace(reconstruction=loss.reconstruction + more)


def first_layers(images: Tensor) -> list[Tensor]:
    """Outputs of the first stages of EfficientNet-Lite0 for images [B, 3, H, W], at a half to an eighth of the size."""
    pretrained = network()
    model, found = pretrained.model.requires_grad_(False), []
    h = model.bn1(model.conv_stem((images - pretrained.mean) / pretrained.std))
    for stage in model.blocks[:FEATURE_STAGES]:
        h = stage(h)
        found.append(h)
    return found


@dataclass(frozen=True)
class Way:
    """A VAE and how it is trained."""

    latent_dim: int
    components: int = 0
    vae: type[ConvVAE] = ConvVAE
    factor: float = 1.0  # of the learning rate
    batch_size: int = FitConfig.batch_size


WAYS = {
    "16 latents": Way(16),
    "64 latents": Way(64),
    "twice the learning rate": Way(16, factor=2.0),
    "residual convolutions, 64 latents": Way(64, vae=Residual),
    "16 components": Way(16, 16),
    "64 components": Way(64, 64),
    "64 components, batches of 32": Way(64, 64, batch_size=32),  # as it ships
    "64 components, batches of 32, twice the learning rate": Way(64, 64, factor=2.0, batch_size=32),
    "64 components, batches of 32, a loss in features too": Way(64, 64, InFeatures, batch_size=32),
    "128 components": Way(128, 128),
    "128 components, batches of 32, twice the learning rate": Way(128, 128, factor=2.0, batch_size=32),
}


def steepness(images: Tensor) -> float:
    """Mean squared difference of neighbouring pixels of images [N, C, H, W]."""
    return sum(images.diff(dim=dim).square().mean().item() for dim in (2, 3))


def seams(images: Tensor) -> float:
    """Mean absolute difference across the borders of patches over that inside, of images [N, C, H, W]."""
    found = []
    for dim in (2, 3):
        steps = images.diff(dim=dim).abs().movedim(dim, 0).flatten(1).mean(1)  # [side - 1]
        border = torch.arange(len(steps)) % PERIOD == PERIOD - 1
        found.append((steps[border].mean() / steps[~border].mean()).item())
    return sum(found) / len(found)


def measure(way: Way, cell: Cell, steps: int) -> dict[str, Any]:
    seen, test = cell.train(0), cell.test()
    vae = way.vae((seen.images.shape[1], cell.side, cell.side), way.latent_dim, 32, way.components)
    config, moves = FitConfig(), MOVES["elastic-colour"]
    assert moves is not None
    started = time.thread_time()
    params = vae.init(generator(0, "init"))
    begin_with_components(vae, params, seen.images, moves.draw, generator(0, "components"))
    params = train(
        vae,
        params,
        [Job(seen.images, generator(0, "warm start"), moves.draw)],
        steps=steps,
        batch_size=way.batch_size,
        learning_rate=config.learning_rate * WARM_FACTOR * way.factor,
        device=torch.device("cpu"),
    ).params
    seconds = time.thread_time() - started

    def codes(images: Tensor) -> Tensor:
        return torch.cat([vae.encode(params, block[None])[0][0] for block in to_float(images).split(64)])

    def decoded(z: Tensor) -> Tensor:
        return torch.cat([vae.decode(params, block[None])[0] for block in z.split(64)])

    known, classes = codes(seen.images), int(seen.targets.max()) + 1
    by_class = [known[seen.targets == label] for label in range(classes)]
    pooled, random = pooled_covariance(by_class), generator(0, "drawn")
    stats = concatenate([describe(each, pooled, 1_000, random) for each in by_class])
    noise, pick = (
        torch.randn(len(test.targets), vae.latent_dim, generator=random),
        torch.rand(len(test.targets), generator=random),
    )
    drawn = decoded(draw(stats, test.targets, noise, pick, method="exemplar", temperature=1.0))
    return {"seconds": round(seconds, 1), **figures(decoded(codes(test.images)), drawn, cell)}


def measure_fit(components: int | None, cell: Cell) -> tuple[dict[str, Any], Tensor]:
    """Figures of a bank, and some test images decoded again and drawn ones: [2 * K, C, H, W]."""
    seen, test = cell.train(0), cell.test()
    started = time.monotonic()
    bank = fit(seen, config=FitConfig(components=components, image_size=cell.side), progress=False)
    seconds = time.monotonic() - started
    torch.manual_seed(0)
    again, drawn = bank.reconstruct(to_float(test.images), test.targets), to_float(bank.sample(test.targets))
    own = {f"own {name}": round(bank.data["quality"][name], 3) for name in OWN}
    found = {"seconds": round(seconds, 1), **figures(again, drawn, cell), **own}
    some = firsts(test.targets)
    return found, torch.cat([again[some], drawn[some]])


def firsts(labels: Tensor) -> Tensor:
    """The place of the first image of each class."""
    return torch.stack([(labels == label).nonzero()[0, 0] for label in labels.unique()])


def figures(again: Tensor, drawn: Tensor, cell: Cell) -> dict[str, float]:
    """Figures of test images that were decoded again, and of drawn images, float32 [N, C, H, W] each."""
    real = to_float(cell.test().images)
    inside = {name: torch.from_numpy(features(x)) for name, x in (("real", real), ("again", again), ("drawn", drawn))}
    near = neighbourhoods(inside["real"], inside["drawn"])
    return {
        "rmse": round(math.sqrt((again - real).square().mean().item()), 4),
        "sharpness": round(steepness(again) / steepness(real), 3),
        "sharpness, drawn": round(steepness(drawn) / steepness(real), 3),
        "seams": round(seams(again), 3),
        "seams of the images": round(seams(real), 3),
        "distance": round(frechet_distance(inside["real"], inside["again"]), 1),
        "distance, drawn": round(frechet_distance(inside["real"], inside["drawn"]), 1),
        "distance of training images": round(
            frechet_distance(inside["real"], torch.from_numpy(features(to_float(cell.train(0).images)))), 1
        ),
        "precision, drawn": round(near.precision, 3),
        "coverage, drawn": round(near.coverage, 3),
    }


def page(content: dict[str, dict[str, Any]]) -> str:
    parts = [INTRODUCTION]
    for data, rows in content.items():
        table = [{"way": name, **row} for name, row in rows.items()]
        parts += [f"## {data}\n", tabulate(table, "keys", "github") + "\n"]
        parts += [JITTERED_PICTURE] if data == JITTERED else []
    return "\n".join(parts)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--way", nargs="*", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--per-class", type=int, default=30)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--fits", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cell = Cell(
        Kind("sign-digits", (options.per_class,), (options.side,), folder("sign-digits", 3)),
        options.side,
        options.per_class,
    )
    content = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    told = f"sign-digits, {options.per_class} a class, {options.side} pixels"
    if options.fits:
        told, pictures = f"whole fits of {told}", [to_float(cell.test().images[firsts(cell.test().targets)])]
        rows = content.setdefault(told, {})
        for name, components in FITS.items():
            with torch.enable_grad():
                rows[name], shown = measure_fit(components, cell)
            pictures.append(shown)
            print(name, rows[name], flush=True)
        if told == SHOWN:
            picture(*pictures).save(RESULTS.parents[1] / "photographs.png")
        finish(content)
        return
    rows = content.setdefault(told, {})
    steps = round((FitConfig().resolve(len(cell.train(0))).steps or 0) * WARM_SHARE)
    for name in options.way:
        if name not in rows:
            with torch.enable_grad():
                rows[name] = measure(WAYS[name], cell, steps)
            print(name, rows[name], flush=True)
            atomic_write(RESULTS, (json.dumps(content, indent=1) + "\n").encode())
    finish(content)


def picture(real: Tensor, before: Tensor, after: Tensor) -> Image.Image:
    """Rows of images, enlarged: test images, decoded again before and after, drawn before and after."""
    again, drawn = zip(before.chunk(2), after.chunk(2), strict=True)
    tiles = make_grid(torch.cat([real, *again, *drawn]), nrow=len(real), pad_value=1.0)
    return to_pil_image(F.interpolate(tiles[None], scale_factor=2)[0])


def finish(content: dict[str, dict[str, Any]]) -> None:
    """Write results and the page, whole fits first."""
    ordered = {data: content[data] for data in sorted(content, key=lambda data: (not data.startswith("whole"), data))}
    for data, found in ordered.items():
        if data != JITTERED:
            ordered[data] = {name: found[name] for name in (*FITS, *WAYS) if name in found}
    atomic_write(RESULTS, (json.dumps(ordered, indent=1) + "\n").encode())
    atomic_write(RESULTS.parents[1] / "photographs.md", page(ordered).encode())


if __name__ == "__main__":
    main()
