"""Statistics of each class's latent space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from vae_augment.model.devices import half, single_thread

# A dimension is active if the posterior means vary by more than this over the images (Burda et al. 2016).
ACTIVE_VARIANCE = 0.01
VARIANCE_FLOOR = 1e-6  # added to variances before a Cholesky factor is taken

T = TypeVar("T")


@dataclass(frozen=True)
class LatentStats:
    """Statistics of the posterior means of K classes.

    Args:
        mean: [K, L].
        cov: [K, L, L], within-class covariance, shrunk toward the pooled one.
        exemplars: float16 [K, M, L], posterior means of training images; rows past `counts` are zero.
        counts: int64 [K], how many exemplars each class has.
        posterior_logvar: a function of codes [M, L] and a class position: the posterior log-variances [M, L] of what
            these are decoded to. A bank sets it, for samplers.
    """

    mean: Tensor
    cov: Tensor
    exemplars: Tensor
    counts: Tensor
    posterior_logvar: Callable[[Tensor, int], Tensor] | None = None

    @classmethod
    def of(cls, tensor: Callable[[str], Tensor]) -> LatentStats:
        """Statistics of four tensors, each found by its name."""
        return cls(tensor("mean"), tensor("cov"), tensor("exemplars"), tensor("counts"))

    def tensors(self) -> dict[str, Tensor]:
        """The four tensors by name."""
        return {"mean": self.mean, "cov": self.cov, "exemplars": self.exemplars, "counts": self.counts}

    def once(self, key: Any, made: Callable[[], T]) -> T:
        """A result of `made` that is kept for the next time, by a key: for what samplers compute of the statistics."""
        kept: dict[Any, T] = self.__dict__.setdefault("_kept", {})
        if key not in kept:
            with single_thread():  # the same bits whoever asks first
                kept[key] = made()
        return kept[key]

    @cached_property
    def scale_tril(self) -> Tensor:
        """Lower Cholesky factors of `cov`, [K, L, L]."""
        factors: Tensor
        factors, failed = torch.linalg.cholesky_ex(self._floored())
        if bool(failed.any()):  # variances so large that rounding outweighs the usual floor
            safe = torch.linalg.cholesky(self._floored(rounding=True))
            factors = torch.where(failed[:, None, None] > 0, safe, factors)
        return factors

    def usable(self) -> bool:
        """True if every covariance is positive definite, but for rounding."""
        return not bool(torch.linalg.cholesky_ex(self._floored(rounding=True)).info.any())

    def _floored(self, *, rounding: bool = False) -> Tensor:
        """Covariances with VARIANCE_FLOOR added to their variances, and with `rounding` at least the rounding error."""
        latent_dim, floor = self.cov.shape[-1], torch.tensor(VARIANCE_FLOOR)
        if rounding:
            largest = self.cov.diagonal(dim1=-2, dim2=-1).amax(1)  # [K]
            floor = (latent_dim * torch.finfo(self.cov.dtype).eps * largest).clamp_min(VARIANCE_FLOOR)[:, None, None]
        return self.cov + floor * torch.eye(latent_dim, dtype=self.cov.dtype, device=self.cov.device)

    def spread(self, rows: Tensor, noise: Tensor) -> Tensor:
        """Standard normal noise [B, L] coloured by the covariance of the class of each row [B]."""
        return torch.einsum("bij,bj->bi", self.scale_tril[rows], noise)

    def pick(self, rows: list[int]) -> LatentStats:
        return LatentStats.of(lambda name: getattr(self, name)[rows])

    def to(self, device: torch.device) -> LatentStats:
        return LatentStats.of(lambda name: getattr(self, name).to(device))


def concatenate(stats: Sequence[LatentStats]) -> LatentStats:
    """Join statistics along the class axis, padding to the largest number of exemplars."""
    most = max(s.exemplars.shape[1] for s in stats)
    padded = [torch.nn.functional.pad(s.exemplars, (0, 0, 0, most - s.exemplars.shape[1])) for s in stats]
    return LatentStats(
        torch.cat([s.mean for s in stats]),
        torch.cat([s.cov for s in stats]),
        torch.cat(padded),
        torch.cat([s.counts for s in stats]),
    )


def describe(means: Tensor, pooled: Tensor | None, exemplars: int, generator: torch.Generator) -> LatentStats:
    """Statistics of one class (K = 1) from the posterior means [N, L] of its images.

    Args:
        means: float32 [N, L], N >= 1.
        pooled: within-class covariance [L, L] over all classes, the target of the shrinkage; None: the class's own
            variances.
        exemplars: how many codes to keep; more images than that are subsampled.
        generator: chooses the subsample.
    """
    count, latent_dim = means.shape
    own = covariance(means)
    weight = shrinkage_intensity(means, pooled)
    pooled = own.diagonal().diag() if pooled is None else pooled
    cov = (1 - weight) * own + weight * pooled
    kept = means[torch.randperm(count, generator=generator)[:exemplars].sort().values]
    return LatentStats(
        means.mean(0)[None],
        cov[None],
        half(kept)[None] if len(kept) else torch.zeros(1, 0, latent_dim, dtype=torch.float16),
        torch.tensor([len(kept)]),
    )


def covariance(means: Tensor) -> Tensor:
    """Unbiased covariance [L, L] of [N, L]; zeros for a single row."""
    latent_dim = means.shape[1]
    return torch.cov(means.T).view(latent_dim, latent_dim) if len(means) > 1 else torch.zeros(latent_dim, latent_dim)


def pooled_covariance(means_by_class: list[Tensor]) -> Tensor:
    """Within-class covariance [L, L] over all classes, each image counting once."""
    scatter = sum((covariance(m) * (len(m) - 1) for m in means_by_class), torch.zeros(()))
    freedom = sum(len(m) - 1 for m in means_by_class)
    latent_dim = means_by_class[0].shape[1]
    return scatter / freedom if freedom else torch.eye(latent_dim)


def shrinkage_intensity(means: Tensor, target: Tensor | None) -> float:
    """Weight in [0, 1] of `target` (None: the own variances) in a shrunk covariance with the least expected error.

    The estimate of Ledoit and Wolf (2003) for a given target, in the form of Schaefer and Strimmer (2005): the summed
    variance of the entries of the sample covariance over their summed squared distance to the target.
    """
    count, latent_dim = means.shape
    if count < 3:
        return 1.0
    # With no more images than dimensions the sample covariance is singular and tells too little of its own noise.
    least = latent_dim / (latent_dim + count) if count <= latent_dim else 0.0
    centred = means - means.mean(0)
    own, square = covariance(means), centred.square()
    # sum over images of (x_i x_j - its mean)^2, for each entry i, j
    sum_of_squares = square.T @ square - count * (centred.T @ centred / count).square()
    variance = count / (count - 1) ** 3 * sum_of_squares
    if target is None:  # its diagonal is kept as it is, so only the rest counts
        variance, target = variance - variance.diagonal().diag(), own.diagonal().diag()
    distance = (own - target).square().sum()
    return float((variance.sum() / distance.clamp_min(1e-12)).clamp(least, 1))


def active_dims(means: Tensor) -> int:
    """Latent dimensions in use: those whose posterior means [N, L] vary over the images (Burda et al. 2016)."""
    return int((covariance(means).diagonal() > ACTIVE_VARIANCE).sum())
