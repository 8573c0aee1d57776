"""Codes of images, and maps of them in a plane."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.bank.inference import Models
from vae_augment.bank.packed_weights import Stored
from vae_augment.data.loading import FitData
from vae_augment.exceptions import check_extra
from vae_augment.model.devices import single_thread
from vae_augment.seeding import draw_items, generator

PERPLEXITY = 30.0  # of t-SNE; a third of the number of points where they are few
LEAST_FOR_TSNE = 5  # points
MOST_POINTS = 1_500  # of a map
METHODS = {"pca": "PCA", "tsne": "t-SNE"}
SEEDS = 2**32  # t-SNE takes seeds below


class Codes(NamedTuple):
    """Posterior means of images.

    Args:
        latents: float32 [N, L].
        rows: int64 [N], the class of each.
        items: int64 [N], the position of each image in the data; None for codes that the bank keeps.
    """

    latents: Tensor
    rows: Tensor
    items: Tensor | None


class LatentMaps(NamedTuple):
    """Maps of the same codes.

    Args:
        codes: the codes of the points.
        shared: True: all points are placed by the VAE of the warm start; False: each class by its own VAE.
        points: float32 [N, 2], by method.
    """

    codes: Codes
    shared: bool
    points: dict[str, Tensor]


def latent_maps(bank: VAEBank, data: FitData | None = None, *, seed: int = 0) -> LatentMaps:
    """Maps of up to 1,500 codes by each method: in one latent space, where there are images and a warm start.

    Args:
        bank: a fitted bank.
        data: images of the bank's size; None: the codes that the bank keeps.
        seed: of the choice of codes, and of t-SNE.

    Raises:
        ValueError: no data is given, and the bank was fitted with exemplars=0.
    """
    codes = codes_of(bank, data, most=max(1, MOST_POINTS // len(bank.classes)), seed=seed)
    latents, shared = codes.latents, False
    if data is not None and codes.items is not None and bank.content.start is not None:
        latents, shared = start_codes(bank, data.images[codes.items]), True
    return LatentMaps(codes, shared, {method: latent_map(latents, method=method, seed=seed) for method in METHODS})


def codes_of(bank: VAEBank, data: FitData | None = None, *, most: int | None = None, seed: int = 0) -> Codes:
    """Codes of images, or those of training images that a bank keeps, class by class.

    Each class has a VAE of its own. With a warm start their latent spaces are alike but not the same; with
    sharing="none" they have nothing in common.

    Args:
        bank: a fitted bank.
        data: images of the bank's size; None: the codes that the bank keeps.
        most: number of codes of each class at most, chosen by `seed`; None: all.
        seed: of the choice.

    Raises:
        ValueError: no data is given, and the bank was fitted with exemplars=0.
    """
    if data is not None:
        chosen = chosen_of(bank, data.labels, most, seed, "codes")
        parts = [posterior(bank, data.images[some], row)[0] for row, some in enumerate(chosen)]
    else:
        stats = bank.content.stats
        if not bool(stats.counts.any()):
            raise ValueError("the bank keeps no codes of images, it was fitted with exemplars=0: give the images.")
        kept = torch.cat([row[:count] for row, count in zip(stats.exemplars, stats.counts.tolist(), strict=True)])
        labels = torch.tensor([info.label for info in bank.class_infos]).repeat_interleave(stats.counts)
        chosen = chosen_of(bank, labels, most, seed, "codes")
        parts = [kept[some].float() for some in chosen]
    rows = torch.repeat_interleave(torch.arange(len(parts)), torch.tensor([len(part) for part in parts]))
    return Codes(torch.cat(parts), rows, None if data is None else torch.cat(chosen))


@torch.no_grad()
def start_codes(bank: VAEBank, images: Tensor) -> Tensor:
    """Posterior means [N, L] of uint8 images [N, C, H, W] of any class under the VAE of the warm start.

    They lie in one latent space, so that a map of them shows how classes lie to each other.

    Raises:
        ValueError: the bank was fitted without a warm start.
    """
    start = bank.content.start
    if start is None:
        raise ValueError("the bank has no shared start: it was fitted with sharing='none'.")
    models = Models(bank.vae, Stored.pack(bank.vae, start.params, None), torch.device("cpu"))
    with single_thread():
        return models.encode(images, torch.zeros(len(images), dtype=torch.long))[0]


def latent_map(latents: Tensor, *, method: str = "pca", seed: int = 0) -> Tensor:
    """Codes [N, L] as points of a plane [N, 2], by scikit-learn; float32.

    Args:
        latents: one a row.
        method: "pca", or "tsne" (van der Maaten and Hinton 2008), which keeps neighbours together; distances, sizes and
            densities of groups mean nothing. It begins with PCA, and is PCA for fewer than 5 points.
        seed: of t-SNE.

    Raises:
        ValueError: another method.
    """
    if method not in METHODS:
        raise ValueError(f"method must be {' or '.join(map(repr, METHODS))}, got {method!r}.")
    check_extra("report", "a map of latents", "sklearn")
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    x = torch.nn.functional.pad(latents.float(), (0, max(0, 2 - latents.shape[1]))).numpy()
    if len(x) < 2 or not x.std(0).any():
        return torch.zeros(len(x), 2)
    with threadpool_limits(1):  # sums over threads round differently
        found = PCA(2, svd_solver="full").fit_transform(x)
        if method == "tsne" and len(x) >= LEAST_FOR_TSNE:
            perplexity = min(PERPLEXITY, (len(x) - 1) / 3)
            found = TSNE(2, perplexity=perplexity, init="pca", random_state=seed % SEEDS, n_jobs=1).fit_transform(x)
    return torch.from_numpy(found).float()


@torch.no_grad()
def posterior(bank: VAEBank, images: Tensor, row: int) -> tuple[Tensor, Tensor]:
    """Posterior mean and log-variance [N, L] of images [N, C, H, W] of a class, on the CPU, by one thread."""
    with single_thread():
        mean, logvar = bank.models.encode(images, torch.full((len(images),), row, device=bank.device))
    return mean.cpu(), logvar.cpu()


def chosen_of(bank: VAEBank, labels: Tensor, most: int | None, seed: int, stream: str) -> list[Tensor]:
    """Positions of each class's items among labels [N], in order, at most `most` of them."""
    classes = [info.label for info in bank.class_infos]
    return [draw_items(labels, label, generator(seed, stream, label), most).sort().values for label in classes]
