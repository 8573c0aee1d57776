"""Shared-memory tables of codes and reconstructions, which are computed once for each item of a dataset."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vae_augment.data.pixel_cache import room

MOST_BYTES = 32 * 2**20  # a table
TOGETHER = 32  # items of a class that are encoded in one pass


class Table:
    """A shared-memory table of rows of numbers, filled on first use.

    It needs no lock: a row is a function of its item alone, so that every process writes the same, and a row that is
    half written still holds NaN and counts as not known.

    Args:
        count: N items.
        width: numbers in a row.
        dtype: of the numbers.
        kept: False keeps nothing, for items that are not the same each time they are read.
    """

    def __init__(self, count: int, width: int, *, dtype: torch.dtype = torch.float32, kept: bool = True) -> None:
        size = count * width * dtype.itemsize
        kept = kept and room(size, MOST_BYTES)
        self._step = 1 if width < 1000 else 61  # long rows are written in order, so no gap falls between these
        self._rows = torch.full((count if kept else 0, width), torch.nan, dtype=dtype).share_memory_()

    @property
    def kept(self) -> bool:
        return len(self._rows) > 0

    @property
    def width(self) -> int:
        return int(self._rows.shape[1])

    def get(self, items: Tensor) -> Tensor:
        """Rows [B, width] of items [B]; all NaN if not known."""
        if not self.kept:
            return torch.full((len(items), self.width), torch.nan, dtype=self._rows.dtype)
        found: Tensor = self._rows[items]
        found[found[:, :: self._step].isnan().any(1)] = torch.nan
        return found

    def put(self, items: Tensor, rows: Tensor) -> None:
        if self.kept:
            self._rows[items] = rows.to(self._rows.dtype)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._rows.share_memory_()


class Codes(Table):
    """Posterior means [L] of items.

    Args:
        rows: int64 [N], the class position of each item.
        latent_dim: L.
        kept: as in `Table`.
        together: compute a missing code with its neighbours', for items that are read quickly.
    """

    def __init__(self, rows: Tensor, latent_dim: int, *, kept: bool = True, together: bool = False) -> None:
        super().__init__(len(rows), latent_dim, kept=kept)
        self._order = rows.argsort(stable=True) if self.kept and together else None  # class by class
        if self._order is not None:
            self._place = torch.empty_like(self._order)
            self._place[self._order] = torch.arange(len(rows))
            self._first = torch.searchsorted(rows[self._order], torch.arange(int(rows.max()) + 2))  # of each class

    def neighbours(self, item: int, row: int) -> Tensor | None:
        """Items to encode together with one of class position `row`, itself included; None: it is encoded alone."""
        if self._order is None:
            return None
        start, end = self._first[row : row + 2].tolist()
        first = int(self._place[item])
        if not start <= first < end:  # it has changed its class
            return None
        first -= (first - start) % TOGETHER
        return self._order[first : min(first + TOGETHER, end)]
