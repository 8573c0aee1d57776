"""Random draws of a batch of items: real, jittered or generated, and everything that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

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


def no_draws(count: int) -> Draws:
    """Real items alone."""
    return Draws(torch.zeros(count, dtype=torch.long), torch.empty(0), torch.empty(0), torch.empty(0))


def draw_fresh(count: int, latent_dim: int, shares: Tensor, moves: int = 0) -> Draws:
    """Draws from torch's global generator, which a DataLoader seeds afresh in each worker and epoch.

    Args:
        count: B.
        latent_dim: L.
        shares: float [B, 2], each item's probabilities of being generated and of being jittered.
        moves: M, uniform numbers of a move.
    """
    uniform = torch.rand(count, 2 + moves, dtype=torch.float32)
    noise = torch.randn(count, latent_dim, dtype=torch.float32)
    return Draws(_kinds(uniform[:, 0], shares), uniform[:, 1], noise, uniform[:, 2:])


def draw_seeded(
    indices: Sequence[int], latent_dim: int, shares: Tensor, moves: int = 0, *, seed: int, epoch: int
) -> Draws:
    """Draws that are a pure function of (seed, epoch, index).

    A counter is hashed as in SplitMix64 (Steele et al. 2014, "Fast Splittable Pseudorandom Number Generators").
    """
    width = 2 + latent_dim + moves
    key = np.uint64(derive(seed, "epoch", epoch))
    counter = np.asarray(indices, dtype=np.uint64)[:, None] * np.uint64(width) + np.arange(width, dtype=np.uint64)
    bits = _splitmix(key + (counter + np.uint64(1)) * GOLDEN)  # [B, 2 + L + M]
    flat = np.delete(bits, np.s_[2 : 2 + latent_dim], axis=1)
    uniform = torch.from_numpy((flat >> np.uint64(40)).astype(np.float32) * np.float32(2**-24))  # [0, 1)
    inside = (bits[:, 2 : 2 + latent_dim] >> np.uint64(11)).astype(np.float64) * 2**-53 + 2**-54  # (0, 1)
    noise = torch.special.ndtri(torch.from_numpy(inside)).float()
    return Draws(_kinds(uniform[:, 0], shares), uniform[:, 1], noise, uniform[:, 2:])


def _splitmix(z: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """SplitMix64's mixing of 64-bit integers; they wrap around."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray[Any, Any] = z ^ (z >> np.uint64(31))
    return mixed


def _kinds(uniform: Tensor, shares: Tensor) -> Tensor:
    generated = uniform < shares[:, 0]
    jittered = ~generated & (uniform < shares.sum(1))
    return torch.where(generated, GENERATED, torch.where(jittered, JITTERED, REAL))
