"""Which items become what, and the images of those that do not stay real."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.images import resize, to_float
from vae_augment.raw import match_channels
from vae_augment.seeding import derive

REAL, JITTERED, GENERATED = 0, 1, 2
# Images a pass through a model. A few of one class is what a shuffled batch holds, and one fixed number makes a result
# the same in every batch: matrix products of different sizes round differently.
SERVE_BLOCK = 4


@dataclass(frozen=True)
class Draws:
    """The randomness of a batch of items.

    Args:
        kind: int64 [B], REAL, JITTERED or GENERATED.
        chosen: float32 [B] in [0, 1), picks an exemplar.
        noise: float32 [B, L], standard normal.
    """

    kind: Tensor
    chosen: Tensor
    noise: Tensor

    def pick(self, items: Tensor) -> Draws:
        return Draws(self.kind[items], self.chosen[items], self.noise[items])


def draw_fresh(count: int, latent_dim: int, shares: Tensor) -> Draws:
    """Draws from torch's global generator, which a DataLoader seeds afresh in each worker and epoch.

    Args:
        count: B.
        latent_dim: L.
        shares: float [B, 2], each item's probabilities of being generated and of being jittered.
    """
    uniform = torch.rand(count, 2)
    return Draws(_kinds(uniform[:, 0], shares), uniform[:, 1], torch.randn(count, latent_dim))


def draw_seeded(indices: Sequence[int], latent_dim: int, shares: Tensor, *, seed: int, epoch: int) -> Draws:
    """Draws that are a pure function of (seed, epoch, index), by a counter-based generator (Salmon et al. 2011)."""
    epoch_key = derive(seed, "epoch", epoch)
    uniform = np.empty((len(indices), 2), dtype=np.float32)
    noise = np.empty((len(indices), latent_dim), dtype=np.float32)
    for row, index in enumerate(indices):
        rng = np.random.Generator(np.random.Philox(key=[epoch_key, index]))
        uniform[row] = rng.random(2, dtype=np.float32)
        noise[row] = rng.standard_normal(latent_dim, dtype=np.float32)
    both = torch.from_numpy(uniform)
    return Draws(_kinds(both[:, 0], shares), both[:, 1], torch.from_numpy(noise))


def _kinds(uniform: Tensor, shares: Tensor) -> Tensor:
    generated = uniform < shares[:, 0]
    jittered = ~generated & (uniform < shares.sum(1))
    return torch.where(generated, GENERATED, torch.where(jittered, JITTERED, REAL))


@torch.no_grad()
def synthesise(
    bank: VAEBank, pixels: Sequence[Tensor], rows: Tensor, draws: Draws, *, scale: float | None
) -> list[Tensor]:
    """Jittered and generated images in place of real ones.

    Args:
        bank: on the CPU.
        pixels: the real images, [C', H', W'] each, uint8 or float in [0, 1], of any size and number of channels.
        rows: int64 [B], each image's class position in the bank.
        draws: JITTERED or GENERATED for each image.
        scale: of the jitter; None: the policy's.

    Returns:
        Float images in about [0, 1] (not clipped), of each real image's own size, and of its channels or the bank's.
    """
    channels, *size = bank.image_shape
    scale = bank.policy.scale if scale is None else scale
    whole = [to_float(p) for p in pixels]
    real = [match_channels(p, channels) for p in whole]
    jittered = (draws.kind == JITTERED).nonzero()[:, 0]
    generated = (draws.kind == GENERATED).nonzero()[:, 0]
    z = torch.empty(len(real), bank.latent_dim)
    with single_thread():
        if len(generated):
            z[generated] = bank.draw(rows[generated], draws.noise[generated], draws.chosen[generated])
        if len(jittered):
            small = torch.stack([resize(real[i][None], (size[0], size[1]))[0] for i in jittered.tolist()])
            mean = bank.encode_rows(small, rows[jittered], block=SERVE_BLOCK)[0]
            z[jittered] = mean + scale * bank.stats.spread(rows[jittered], draws.noise[jittered])
        decoded = bank.decode_rows(z, rows, block=SERVE_BLOCK)
        keep = bank.policy.keep_detail and len(jittered) > 0
        if keep:
            decoded[jittered] -= bank.decode_rows(mean, rows[jittered], block=SERVE_BLOCK)
        made = [resize(d[None], (r.shape[1], r.shape[2]))[0] for d, r in zip(decoded, real, strict=True)]
    if keep:
        for i in jittered.tolist():
            made[i] = whole[i] + match_channels(made[i], len(whole[i]), alpha=0.0)
    return made


@contextmanager
def single_thread() -> Iterator[None]:
    """One thread, as in a DataLoader's worker, so that the main process computes the same bits as a worker does."""
    threads = torch.get_num_threads()
    if threads > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if threads > 1:
            torch.set_num_threads(threads)
