"""Contents of a bank's latent spaces: directions and their effects, planes, images nearest to generated ones.

Numbers only: `vae_augment.exploring.exploration` draws them. A class is given by its row, the position in
`bank.classes`. All results are on the CPU, and the same on any number of threads.

Shapes: D directions, S steps, N codes, K classes, C H W image, L latent.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.data.loading import FitData
from vae_augment.exploring.maps import chosen_of, posterior
from vae_augment.images.nearest import SEARCHED, Nearest, nearest, nearest_others
from vae_augment.model.devices import single_thread
from vae_augment.model.latent import ACTIVE_VARIANCE
from vae_augment.model.vae import kl_per_dim
from vae_augment.seeding import draw_items, generator

STEPS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)  # of a traversal, in standard deviations
KL_IMAGES = 1000  # per class at most, for a mean KL divergence
REAL_IMAGES = 200  # per class at most, for the median distance among training images


class Directions(NamedTuple):
    """Directions of a class's latent space.

    Args:
        names: D names: "z3" for an axis, "PC1" for a principal direction.
        vectors: float32 [D, L], unit vectors.
        variances: float32 [D], variances of the class's codes along them.
        shares: float32 [D], shares of the class's total variance.
    """

    names: tuple[str, ...]
    vectors: Tensor
    variances: Tensor
    shares: Tensor


def active_directions(bank: VAEBank, row: int, count: int | None = None) -> Directions:
    """Axes of a class's latent space, by decreasing variance of its codes.

    Example:
        >>> active_directions(bank, 0, 5).names
        ('z14', 'z4', 'z12', 'z2', 'z9')

    Args:
        bank: a fitted bank.
        row: the class.
        count: how many at most; None: all.
    """
    variances = bank.content.stats.cov[row].double().diagonal().float()
    order = variances.argsort(descending=True, stable=True)[:count]
    names = tuple(f"z{axis}" for axis in order.tolist())
    return Directions(names, torch.eye(bank.latent_dim)[order], variances[order], _shares(variances)[order])


def principal_directions(bank: VAEBank, row: int, count: int | None = None) -> Directions:
    """Eigenvectors of the covariance of a class's codes, by decreasing variance.

    A VAE's axes need not mean anything, because its prior is the same in all directions; in these directions the codes
    differ most. The largest component of each is positive.

    Args:
        bank: a fitted bank.
        row: the class.
        count: how many at most; None: all.
    """
    with single_thread():
        values, vectors = torch.linalg.eigh(bank.content.stats.cov[row].double())
    variances, vectors = values.flip(0).clamp_min(0).float(), vectors.flip(1).T
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    names = tuple(f"PC{place + 1}" for place in range(bank.latent_dim))[:count]
    vectors = (vectors * largest.sign()).float()
    return Directions(names, vectors[:count], variances[:count], _shares(variances)[:count])


def traversal(bank: VAEBank, row: int, directions: Directions, steps: tuple[float, ...] = STEPS) -> Tensor:
    """Latents [D, S, L] from a class's mean along each direction, in steps of its standard deviation; float32."""
    reach = directions.vectors * directions.variances.sqrt()[:, None]  # [D, L]
    return bank.content.stats.mean[row] + torch.tensor(steps)[:, None] * reach[:, None]


def manifold(bank: VAEBank, row: int, side: int) -> Tensor:
    """Latents [side, side, L] spread as the prior of two latent dimensions; float32.

    As in figure 4 of Kingma and Welling (2014): quantiles of N(0, 1), along the first axis from left to right, along
    the second from bottom to top.

    Raises:
        ValueError: the bank has another number of latent dimensions.
    """
    if bank.latent_dim != 2:
        raise ValueError(f"a manifold is drawn of 2 latent dimensions, the bank has {bank.latent_dim}; see plane.")
    return _grid(side)


def plane(bank: VAEBank, row: int, side: int) -> Tensor:
    """Latents [side, side, L] in the plane of a class's two leading principal directions, around its mean; float32.

    Spread as normal codes in that plane: quantiles as in `manifold`, in standard deviations of each direction.

    Raises:
        ValueError: the bank has a single latent dimension.
    """
    if bank.latent_dim < 2:
        raise ValueError("a plane needs 2 latent dimensions, the bank has 1.")
    two = principal_directions(bank, row, 2)
    return bank.content.stats.mean[row] + _grid(side) @ (two.vectors * two.variances.sqrt()[:, None])


@torch.no_grad()
def decoded(bank: VAEBank, row: int, latents: Tensor) -> Tensor:
    """Images [..., C, H, W] of latents [..., L] of a class: float32 in [0, 1]."""
    z = latents.reshape(-1, bank.latent_dim).to(bank.device)
    with single_thread():
        images = bank.models.decode(z, torch.full((len(z),), row, device=bank.device)).cpu()
    return images.view(*latents.shape[:-1], *bank.image_shape)


def change(bank: VAEBank, row: int, directions: Directions) -> Tensor:
    """Change of a class's images along each direction: float32 [D].

    The mean absolute difference of pixels, in 0..1, between one standard deviation below a class's mean and one above.
    """
    below, above = decoded(bank, row, traversal(bank, row, directions, (-1.0, 1.0))).unbind(1)
    return (above - below).abs().flatten(1).mean(1)


@torch.no_grad()
def kl_of_dimensions(bank: VAEBank, data: FitData, *, seed: int = 0) -> Tensor:
    """Mean KL divergence [K, L] of the posterior from the prior in each dimension, in nats; NaN without images.

    The mean is over up to 1,000 images of each class, chosen by `seed`.
    """
    found = torch.full((len(bank.classes), bank.latent_dim), torch.nan)
    for row, chosen in enumerate(chosen_of(bank, data.labels, KL_IMAGES, seed, "kl")):
        if len(chosen):
            found[row] = kl_per_dim(*posterior(bank, data.images[chosen], row)).mean(0)
    return found


class Dimension(NamedTuple):
    """An axis of a class's latent space.

    Args:
        dimension: its number, from 0.
        variance: variance of the class's codes along it.
        share: its share of the class's total variance.
        active: True if the variance is more than 0.01 (Burda et al. 2016).
        kl: mean KL divergence of the posterior from the prior in it, in nats; NaN where no images are given.
        kl_share: its share of the divergence in all dimensions; NaN where no images are given.
        change: change of pixels along it (see the function `change`).
    """

    dimension: int
    variance: float
    share: float
    active: bool
    kl: float
    kl_share: float
    change: float


def dimensions(bank: VAEBank, row: int, kl: Tensor | None = None) -> list[Dimension]:
    """The axes of a class's latent space, the most active first; `kl` is a row [L] of `kl_of_dimensions`."""
    axes = active_directions(bank, row)
    numbers, active = axes.vectors.argmax(1), axes.variances > ACTIVE_VARIANCE
    kl = torch.full((bank.latent_dim,), torch.nan) if kl is None else kl[numbers]
    columns = (numbers, axes.variances, axes.shares, active, kl, _shares(kl), change(bank, row, axes))
    return [Dimension(*line) for line in zip(*(column.tolist() for column in columns), strict=True)]


class Copies(NamedTuple):
    """Generated images of a class and the training images nearest to them, as positions in the data.

    Args:
        images: uint8 [N, C, H, W], generated.
        in_pixels: the nearest by their pixels, in 0..1.
        in_latents: the nearest by their codes; generated images are encoded as real ones are.
        real_in_pixels: median distance of training images to their nearest other one, in pixels.
        real_in_latents: the same distance in codes.
    """

    images: Tensor
    in_pixels: Nearest
    in_latents: Nearest
    real_in_pixels: float
    real_in_latents: float


def copies(bank: VAEBank, data: FitData, row: int, *, images: int = 3, neighbours: int = 3, seed: int = 0) -> Copies:
    """Find the training images nearest to generated ones of a class, to see if a bank copies.

    Args:
        bank: a fitted bank.
        data: the images that it was fitted on, at least one of them of the class.
        row: the class.
        images: how many to generate, by the bank's policy.
        neighbours: how many to find for each; fewer where there are fewer.
        seed: of the draws, and of the choice of up to 10,000 images that are searched.
    """
    label = bank.class_infos[row].label
    random = generator(seed, "copies", label)
    searched = draw_items(data.labels, label, random, SEARCHED)
    with single_thread():
        made = bank.sample(torch.full((images,), label), generator=random).cpu()
        pixels = nearest(made, data.images, among=searched, count=neighbours)
        codes = posterior(bank, data.images[searched], row)[0]
        latents = nearest(posterior(bank, made, row)[0], codes, count=neighbours)
        some = torch.arange(min(REAL_IMAGES, len(searched)))
        usual = nearest_others(data.images, searched[some], among=searched), nearest_others(codes, some)
    latents = Nearest(latents.distances, searched[latents.items])
    return Copies(made, pixels, latents, *(distances.median().item() for distances in usual))


def _shares(variances: Tensor) -> Tensor:
    return variances / variances.sum().clamp_min(torch.finfo(variances.dtype).tiny)


def _grid(side: int) -> Tensor:
    """Standard normal quantiles [side, side, 2] at the middles of equal cells: x grows to the right, y upward."""
    quantiles = torch.special.ndtri((torch.arange(side, dtype=torch.float64) + 0.5) / side).float()
    y, x = torch.meshgrid(quantiles.flip(0), quantiles, indexing="ij")
    return torch.stack([x, y], dim=2)
