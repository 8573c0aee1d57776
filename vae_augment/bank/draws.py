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

REAL, JITTERED, GENERATED = 0, 1, 2
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Draws:
    """The randomness of a batch of items.

    Args:
        kind: int64 [B], REAL, JITTERED or GENERATED.
        chosen: float32 [B] in [0, 1), picks an exemplar.
        noise: float32 [B, L], standard normal.
        moves: float32 [B, M] in [0, 1), for the policy's moves.
    """

    kind: Tensor
    chosen: Tensor
    noise: Tensor
    moves: Tensor

    def pick(self, items: Tensor) -> Draws:
        return Draws(self.kind[items], self.chosen[items], self.noise[items], self.moves[items])


def shares_of(bank: VAEBank, rows: Tensor, p_generate: float, p_jitter: float) -> Tensor:
    """Probabilities of each item to be generated and to be jittered, float32 [N, 2].

    Args:
        bank: items of its classes that failed to fit stay real.
        rows: int64 [N], the class position of each item.
        p_generate: probability to be generated, for the other classes.
        p_jitter: probability to be jittered, for the other classes.
    """
    failed = torch.tensor([info.status == "failed" for info in bank.class_infos])
    shares = torch.tensor([p_generate, p_jitter], dtype=torch.float32).repeat(len(rows), 1)
    shares[failed[rows]] = 0.0
    return shares


def draw_fresh(bank: VAEBank, count: int, shares: Tensor) -> Draws:
    """Draws from torch's global generator, which a DataLoader seeds afresh in each worker and epoch.

    Args:
        bank: its latent dimensions and policy say how many numbers an item takes.
        count: B.
        shares: float32 [B, 2], from `shares_of`. If all are zero nothing is drawn.
    """
    if not bool(shares.any()):
        return _all_real(count)
    uniform = torch.rand(count, 2 + _width_of_moves(bank), dtype=torch.float32)
    noise = torch.randn(count, bank.latent_dim, dtype=torch.float32)
    return Draws(_kinds(uniform[:, 0], shares), uniform[:, 1], noise, uniform[:, 2:])


def draw_seeded(bank: VAEBank, indices: Sequence[int], shares: Tensor, *, seed: int, epoch: int) -> Draws:
    """Draws that are a function of (seed, epoch, index) alone, whatever else is in the batch.

    A counter is hashed as in SplitMix64 (Steele et al. 2014, "Fast Splittable Pseudorandom Number Generators").
    """
    if not bool(shares.any()):
        return _all_real(len(indices))
    latent_dim = bank.latent_dim
    width = 2 + latent_dim + _width_of_moves(bank)
    key = np.uint64(derive(seed, "epoch", epoch))
    counter = np.asarray(indices, dtype=np.uint64)[:, None] * np.uint64(width) + np.arange(width, dtype=np.uint64)
    bits = _splitmix(key + (counter + np.uint64(1)) * GOLDEN)  # [B, 2 + L + M]
    flat = np.delete(bits, np.s_[2 : 2 + latent_dim], axis=1)
    uniform = torch.from_numpy((flat >> np.uint64(40)).astype(np.float32) * np.float32(2**-24))  # [0, 1)
    inside = (bits[:, 2 : 2 + latent_dim] >> np.uint64(11)).astype(np.float64) * 2**-53 + 2**-54  # (0, 1)
    noise = torch.special.ndtri(torch.from_numpy(inside)).float()
    return Draws(_kinds(uniform[:, 0], shares), uniform[:, 1], noise, uniform[:, 2:])


def _all_real(count: int) -> Draws:
    return Draws(torch.full((count,), REAL), torch.empty(0), torch.empty(0), torch.empty(0))


def _width_of_moves(bank: VAEBank) -> int:
    """Number M of uniform numbers that a move of the bank's policy takes."""
    return 0 if bank.policy.mover is None else bank.policy.mover.width


def _splitmix(z: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The mixing function of SplitMix64 on uint64, which wraps around."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray[Any, Any] = z ^ (z >> np.uint64(31))
    return mixed


def _kinds(uniform: Tensor, shares: Tensor) -> Tensor:
    generated = uniform < shares[:, 0]
    jittered = ~generated & (uniform < shares.sum(1))
    return torch.where(generated, GENERATED, torch.where(jittered, JITTERED, REAL))
