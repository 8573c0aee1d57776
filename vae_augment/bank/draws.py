"""Random draws of a batch: the kind of each item, and the random numbers of its synthetic image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_augment.bank.bank import VAEBank
from vae_augment.seeding import derive

REAL, JITTERED, GENERATED, UNLABELLED = 0, 1, 2, 3
KINDS = torch.tensor([GENERATED, JITTERED, UNLABELLED, REAL])  # in the order of shares, and the rest
DRAWN_TOGETHER = 4_096  # items whose random numbers are in memory at once
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's increment


@dataclass(frozen=True)
class Draws:
    """The randomness of a batch of items.

    Args:
        kind: int64 [B], REAL, JITTERED, GENERATED or UNLABELLED.
        chosen: float32 [B] in [0, 1), picks an exemplar or an unlabelled image.
        noise: float32 [B, L], standard normal.
        moves: float32 [B, M] in [0, 1), for the policy's moves.
    """

    kind: Tensor
    chosen: Tensor
    noise: Tensor
    moves: Tensor

    def pick(self, items: Tensor) -> Draws:
        return Draws(self.kind[items], self.chosen[items], self.noise[items], self.moves[items])


def shares_of(bank: VAEBank, rows: Tensor, wanted: Tensor) -> Tensor:
    """Probabilities of each item to be generated, to be jittered and to be an unlabelled image, float32 [N, 3].

    Args:
        bank: items of its classes that failed to fit are not made with it.
        rows: int64 [N], the class position of each item.
        wanted: float32 [N, 3], those of items of other classes, or [3] for all.
    """
    failed = torch.tensor([info.status == "failed" for info in bank.class_infos])
    shares = wanted.expand(len(rows), 3).clone()
    shares[failed[rows], :2] = 0.0
    return shares


def draw_batch(bank: VAEBank, indices: Sequence[int], shares: Tensor, *, seed: int | None, epoch: int = 0) -> Draws:
    """Draws of a batch of items. If no item can become synthetic, nothing is drawn.

    Args:
        bank: its latent dimensions and its policy's moves say how many numbers an item takes.
        indices: [B], of the items.
        shares: float32 [B, 3], from `shares_of`.
        seed: None draws from torch's global generator, which a DataLoader seeds afresh in each worker and epoch. With a
            seed draws are a function of (seed, epoch, index) alone, whatever else is in the batch: a counter is hashed
            as in SplitMix64 (Steele et al. 2014, "Fast Splittable Pseudorandom Number Generators").
        epoch: of a seeded draw.
    """
    mover, latent_dim, count = bank.policy.mover, bank.latent_dim, len(indices)
    if not bool(shares.any()):
        return Draws(torch.full((count,), REAL), torch.empty(0), torch.empty(0), torch.empty(0))
    width = 2 + (0 if mover is None else mover.width)  # for the kind, the exemplar and the moves
    if seed is None:
        uniform = torch.rand(count, width, dtype=torch.float32)
        noise = torch.randn(count, latent_dim, dtype=torch.float32)
    else:
        bits = _hashed(indices, width + latent_dim, derive(seed, "epoch", epoch))  # [B, 2 + L + M]
        flat: np.ndarray[Any, Any] = np.delete(bits, np.s_[2 : 2 + latent_dim], axis=1)  # [B, 2 + M]
        uniform = torch.from_numpy((flat >> np.uint64(40)).astype(np.float32) * np.float32(2**-24))  # [0, 1)
        inside = (bits[:, 2 : 2 + latent_dim] >> np.uint64(11)).astype(np.float64) * 2**-53 + 2**-54  # (0, 1)
        noise = torch.special.ndtri(torch.from_numpy(inside)).float()  # [B, L]
    passed = (uniform[:, :1] >= shares.cumsum(1)).sum(1)  # [B], shares that end below an item's number
    return Draws(KINDS[passed], uniform[:, 1], noise, uniform[:, 2:])


def drawn_kinds(bank: VAEBank, shares: Tensor, *, seed: int | None, epoch: int = 0) -> Tensor:
    """Kinds of all N items of a dataset, int64 [N], as `draw_batch` draws them."""
    blocks = torch.arange(len(shares)).split(DRAWN_TOGETHER)
    drawn = (draw_batch(bank, block.tolist(), shares[block], seed=seed, epoch=epoch) for block in blocks)
    return torch.cat([draws.kind for draws in drawn])


def _hashed(indices: Sequence[int], width: int, key: int) -> np.ndarray[Any, Any]:
    """Random bits of each index, uint64 [B, width]: SplitMix64 of a counter. All sums and products wrap around."""
    counter = np.asarray(indices, dtype=np.uint64)[:, None] * np.uint64(width) + np.arange(width, dtype=np.uint64)
    z: np.ndarray[Any, Any] = np.uint64(key) + (counter + np.uint64(1)) * GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray[Any, Any] = z ^ (z >> np.uint64(31))
    return mixed
