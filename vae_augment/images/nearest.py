"""The nearest of some images or codes to others, by root mean squared difference."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vae_augment.images.tensors import to_float

SEARCHED = 10_000  # images a class among which the nearest is looked for
CHUNK = 2**24  # numbers compared with at once


class Nearest(NamedTuple):
    """The nearest ones of each of N items, the nearest first.

    Args:
        distances: float32 [N, count], root mean squared differences: of images per pixel, of codes per dimension.
        items: int64 [N, count], positions in what was searched.
    """

    distances: Tensor
    items: Tensor


def nearest(x: Tensor, y: Tensor, *, among: Tensor | None = None, count: int = 1) -> Nearest:
    """The `count` of y that are nearest to each of x; fewer where there are not as many.

    Example:
        >>> nearest(bank.sample(torch.tensor([3])), training_images, count=5).items

    Args:
        x: [N, ...] of any shape: images as uint8 or float in [0, 1], or float codes.
        y: [M, ...] of the same shape and kind.
        among: int64 positions in y to search; None: all.
        count: how many, at least 1.
    """
    among = torch.arange(len(y)) if among is None else among
    x = _flat(x)
    distances, items = torch.empty(len(x), 0), torch.empty(len(x), 0, dtype=torch.long)
    for some in among.split(max(1, CHUNK // max(1, x.shape[1]))) if len(among) else ():
        closer = _flat(y[some])
        # quick, but copies are not quite at 0
        rough = torch.cdist(x, closer, compute_mode="use_mm_for_euclid_dist")
        found = rough.topk(min(count, len(some)), dim=1, largest=False).indices
        exact = torch.stack([(x - closer[column]).square().mean(1).sqrt() for column in found.unbind(1)], dim=1)
        distances, items = torch.cat([distances, exact], dim=1), torch.cat([items, some[found]], dim=1)
        distances, order = distances.sort(dim=1, stable=True)
        distances, items = distances[:, :count], items.gather(1, order)[:, :count]
    return Nearest(distances, items)


def nearest_others(y: Tensor, chosen: Tensor, *, among: Tensor | None = None) -> Tensor:
    """Distance [N] of some of y, by position [N], to the nearest other one; infinite where there is none."""
    distances, items = nearest(y[chosen], y, among=among, count=2)
    others: Tensor = distances.masked_fill(items == chosen[:, None], math.inf).amin(1)
    return others


def _flat(x: Tensor) -> Tensor:
    return (to_float(x) if x.dtype == torch.uint8 else x).flatten(1)
