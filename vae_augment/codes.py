"""Posterior means of a dataset's items, worked out once and shared by all workers of a DataLoader."""

from __future__ import annotations

import torch
from torch import Tensor

MOST_BYTES = 16 * 2**20  # of shared memory; containers often have 64 MB in all


class Codes:
    """A table of codes that are not known at first.

    It lives in shared memory, without a lock: a code is a function of its item alone, so whoever writes one writes the
    same, and a row that is half written still holds NaN and counts as not known.

    Args:
        count: N items.
        latent_dim: L.
        kept: False forgets everything, for items that are not the same each time they are read.
    """

    def __init__(self, count: int, latent_dim: int, *, kept: bool = True) -> None:
        kept = kept and 4 * count * latent_dim <= MOST_BYTES
        self._table = torch.full((count if kept else 0, latent_dim), torch.nan).share_memory_()

    def get(self, items: Tensor) -> Tensor:
        """Codes [B, L] of items [B]; NaN throughout where one is not known."""
        if not len(self._table):
            return torch.full((len(items), self._table.shape[1]), torch.nan)
        found: Tensor = self._table[items]
        found[found.isnan().any(1)] = torch.nan
        return found

    def put(self, items: Tensor, codes: Tensor) -> None:
        if len(self._table):
            self._table[items] = codes

    def __setstate__(self, state: dict[str, Tensor]) -> None:
        self.__dict__.update(state)
        self._table.share_memory_()
