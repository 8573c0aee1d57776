"""A sampler: walks from the codes of a class where the metric that its posteriors make says that space is large."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vae_augment.model.latent import LatentStats

LEAST_METRIC = 1e-2  # far from all codes; the paper's lambda
TRANSITIONS, LEAPS = 10, 5  # of the walk, and of leapfrog in each: a quarter of a turn about a code
MOST_CODES = 2_048  # of a class, so that distances between all of them fit into memory
STEP = 0.3  # of a leap, in standard deviations of the posteriors' kernels


class Metric(NamedTuple):
    """The metric of a class: M codes, and the inverse variances of their posteriors.

    G(z) = sum over codes of diag(precision) exp(-d^2 / reach^2), and LEAST_METRIC; d is the distance of z from the code
    in units of its posterior's standard deviations.

    Args:
        codes: [M, L].
        precision: [M, L].
        reach: the largest distance of a code from the nearest other.
    """

    codes: Tensor
    precision: Tensor
    reach: float

    def log_volume(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Half the log-determinant of the metric at each of z [B, L], [B], and its gradient [B, L]."""
        away = z[:, None] - self.codes  # [B, M, L]
        pulled = away * self.precision
        weight = (-(away * pulled).sum(2) / self.reach**2).exp()  # [B, M]
        metric = (weight[:, :, None] * self.precision).sum(1) + LEAST_METRIC  # [B, L], of a diagonal
        felt = weight * (self.precision / metric[:, None]).sum(2)  # [B, M]
        return metric.log().sum(1) / 2, -(felt[:, :, None] * pulled).sum(1) / self.reach**2


def geometry(stats: LatentStats, rows: Tensor, noise: Tensor, pick: Tensor, temperature: float) -> Tensor:
    """Draws from the uniform distribution of latent space under the metric of the posteriors, by Hamiltonian walks.

    Chadebec and Allassonniere (2022), "A Geometric Perspective on Variational Autoencoders". A walk begins at a stored
    code; the temperature scales its way.
    """
    z = torch.empty_like(noise)
    for row in rows.unique().tolist():
        metric = stats.once(("geometry", row), lambda row=row: metric_of(stats, row))  # type: ignore[misc]
        for item in (rows == row).nonzero()[:, 0].split(1):  # one by one: the same bits whatever the others are
            start = metric.codes[(pick[item] * len(metric.codes)).long()]
            z[item] = start + temperature * (walked(metric, start, noise[item], pick[item]) - start)
    return z


def metric_of(stats: LatentStats, row: int) -> Metric:
    """The metric of a class, from what its codes are decoded to, encoded again. Raises ValueError without networks."""
    if stats.posterior_logvar is None:
        raise ValueError("method='geometry' needs a bank's networks: draw by bank.sample.")
    codes = stats.exemplars[row, : stats.counts[row]][:MOST_CODES].to(stats.mean)
    precision = (-stats.posterior_logvar(codes, row)).exp()
    apart = torch.cdist(codes, codes).fill_diagonal_(torch.inf)
    reach = apart.amin(1).amax().item()
    return Metric(codes, precision, reach if 0 < reach < math.inf else math.sqrt(codes.shape[1]))


def walked(metric: Metric, start: Tensor, noise: Tensor, pick: Tensor) -> Tensor:
    """The end [1, L] of a Hamiltonian walk from `start` [1, L], which `noise` [1, L] and `pick` [1] decide."""
    seed = (noise.double().sum() + pick.double()).view(1).view(torch.int64).item()
    draws = torch.Generator().manual_seed(int(seed) % 2**63)
    momenta = torch.randn(TRANSITIONS, *start.shape, generator=draws).to(start)
    momenta[0] = noise
    luck = torch.rand(TRANSITIONS, generator=draws).log().tolist()
    # The metric alone makes a code's kernel a Gaussian of this spread.
    spread = (1 / metric.precision).mean(0).sqrt() * metric.reach / math.sqrt(start.shape[1])  # [L]
    z = start
    volume, gradient = metric.log_volume(z)
    for momentum, chance in zip(momenta, luck, strict=True):
        at, push, speed = z, gradient, momentum + STEP / 2 * spread * gradient
        for leap in range(LEAPS):
            at = at + STEP * spread * speed
            there, push = metric.log_volume(at)
            speed = speed + (STEP if leap < LEAPS - 1 else STEP / 2) * spread * push
        gained = there - volume + (momentum.square().sum() - speed.square().sum()) / 2
        if chance < gained.item():
            z, volume, gradient = at, there, push
    return z
