"""Codes as files keep them: in single or half precision, or as int8."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

DTYPES = {"float32": torch.float32, "float16": torch.float16, "int8": torch.int8}
LEVELS = 127  # of int8, on either side of a range's middle


class Quantized(NamedTuple):
    """Codes of N images of K classes.

    Args:
        values: [N, L], one of `DTYPES`.
        step: float32 [K, L], the size of a level in each class and dimension; None where values are floats.
        offset: float32 [K, L], the code at level 0; None where values are floats.
    """

    values: Tensor
    step: Tensor | None = None
    offset: Tensor | None = None


def quantized(codes: Tensor, rows: Tensor, classes: int, dtype: str, *, levels: int = LEVELS) -> Quantized:
    """Convert codes to another type.

    "int8" divides the range of each class and dimension into 254 equal steps: codes come back within half a step, 0.2 %
    of the range. Outliers of one class cost the others nothing.

    Args:
        codes: float32 [N, L].
        rows: int64 [N], the class of each as a position.
        classes: K.
        dtype: one of `DTYPES`.
        levels: of "int8", on either side of the middle; fewer are less exact and compress better.

    Raises:
        ValueError: an unknown dtype, or a code too large for it.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(map(repr, DTYPES))}, got {dtype!r}.")
    if dtype != "int8":
        values = codes.to(DTYPES[dtype])
        if not bool(torch.isfinite(values).all()):
            largest = codes.abs().max()
            raise ValueError(
                f"{dtype} holds numbers up to {torch.finfo(values.dtype).max:g}, got a code of {largest:g}."
            )
        return Quantized(values)
    low = torch.full((classes, codes.shape[1]), torch.inf, dtype=torch.float64)
    high = torch.full_like(low, -torch.inf)
    places = rows[:, None].expand_as(codes)
    low.scatter_reduce_(0, places, codes.double(), "amin")
    high.scatter_reduce_(0, places, codes.double(), "amax")
    empty = low > high
    low[empty] = high[empty] = 0.0
    step, offset = ((high - low) / (2 * levels)).float(), ((high + low) / 2).float()
    exact = (codes.double() - offset.double()[rows]) / step.double()[rows]
    values = exact.nan_to_num(0.0).round().clamp(-levels, levels)  # NaN, 0 / 0: a dimension that does not vary
    return Quantized(values.to(torch.int8), step, offset)


def restored(kept: Quantized, rows: Tensor) -> Tensor:
    """Codes, float32 [N, L], of images whose classes are at positions `rows` [N]."""
    if kept.step is None or kept.offset is None:
        return kept.values.float()
    return kept.offset[rows] + kept.step[rows] * kept.values.float()
