"""Samplers: ways to draw the latents of new images from what is known of their classes."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from vae_augment.model.geometry import geometry
from vae_augment.model.latent import LatentStats
from vae_augment.model.mixture import mixture

# Kernel width of "exemplar" in units of the class's own spread: 0 repeats training codes, 1 is "gaussian".
EXEMPLAR_BANDWIDTH = 0.5


def prior(stats: LatentStats, rows: Tensor, noise: Tensor, pick: Tensor, temperature: float) -> Tensor:
    """Draws from N(0, I), whatever the class."""
    return temperature * noise


def gaussian(stats: LatentStats, rows: Tensor, noise: Tensor, pick: Tensor, temperature: float) -> Tensor:
    """Draws from one Gaussian per class."""
    return stats.mean[rows] + temperature * stats.spread(rows, noise)


def exemplar(stats: LatentStats, rows: Tensor, noise: Tensor, pick: Tensor, temperature: float) -> Tensor:
    """Draws around stored codes, pulled toward the mean so that mean and covariance stay the class's.

    The smoothed bootstrap with shrinkage of West (1993), "Approximating Posterior Distributions by Mixtures". The
    temperature is the width of the kernel, up to that of `gaussian`.
    """
    bandwidth = min(1.0, EXEMPLAR_BANDWIDTH * temperature)
    mean = stats.mean[rows]  # [B, L]
    code = stats.exemplars[rows, (pick * stats.counts[rows]).long()].float()  # [B, L]
    return mean + math.sqrt(1 - bandwidth**2) * (code - mean) + bandwidth * stats.spread(rows, noise)


# Anybody's own may be added: `SAMPLERS["mine"] = mine`, and then `bank.sample(labels, method="mine")`.
# A sampler maps statistics of K classes, the class position of each item (int64 [B]), standard normal noise [B, L],
# uniform numbers [B] in [0, 1) and a temperature to latents [B, L]. Randomness comes in from outside, so that an item's
# draw does not depend on its batch.
Sampler = Callable[[LatentStats, Tensor, Tensor, Tensor, float], Tensor]
SAMPLERS: dict[str, Sampler] = {
    "exemplar": exemplar,
    "gaussian": gaussian,
    "prior": prior,
    "mixture": mixture,
    "geometry": geometry,
}
OF_CODES = ("exemplar", "mixture", "geometry")


def check_method(counts: Tensor, method: str) -> None:
    """Raise ValueError for an unknown sampler, or one that needs exemplars where `counts` [K] is 0."""
    if method not in SAMPLERS:
        raise ValueError(f"method must be one of {', '.join(map(repr, SAMPLERS))}, got {method!r}.")
    if method in OF_CODES and not bool(counts.all()):
        raise ValueError(f"method={method!r} needs a bank fitted with exemplars > 0; use method='gaussian'.")


def draw(stats: LatentStats, rows: Tensor, noise: Tensor, pick: Tensor, *, method: str, temperature: float) -> Tensor:
    """New latents [B, L] of the classes at positions `rows` [B], by one of `SAMPLERS`."""
    check_method(stats.counts[rows], method)
    if not temperature >= 0 or not math.isfinite(temperature):
        raise ValueError(f"temperature must be a finite number of at least 0, got {temperature}.")
    return SAMPLERS[method](stats, rows, noise, pick, temperature)
