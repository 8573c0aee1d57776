"""Nearest images or latent codes, by root mean squared difference."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vae_augment.images.tensors import to_float

SEARCHED = 10_000  # images of a class that are searched at most
CHUNK = 2**24  # numbers that are compared at once


class Nearest(NamedTuple):
    """Nearest items of each of N items, the nearest first.

    Args:
        distances: float32 [N, count], root mean squared differences per pixel or latent dimension.
        items: int64 [N, count], positions among the items searched.
    """

    distances: Tensor
    items: Tensor


def nearest(x: Tensor, y: Tensor, *, among: Tensor | None = None, count: int = 1) -> Nearest:
    """Find the `count` items of y (or as many as there are) that are nearest to each of x.

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
        # quick but inexact (copies are not quite at 0), so only the order counts
        rough = torch.cdist(x, closer, compute_mode="use_mm_for_euclid_dist")
        found = rough.topk(min(count, len(some)), dim=1, largest=False).indices
        exact = torch.stack([(x - closer[column]).square().mean(1).sqrt() for column in found.unbind(1)], dim=1)
        distances, items = torch.cat([distances, exact], dim=1), torch.cat([items, some[found]], dim=1)
        distances, order = distances.sort(dim=1, stable=True)
        distances, items = distances[:, :count], items.gather(1, order)[:, :count]
    return Nearest(distances, items)


def nearest_others(y: Tensor, chosen: Tensor, *, among: Tensor | None = None) -> Tensor:
    """Distance [N] from the items of y at some positions [N] to the nearest other item; infinite if there is none."""
    distances, items = nearest(y[chosen], y, among=among, count=2)
    others: Tensor = distances.masked_fill(items == chosen[:, None], math.inf).amin(1)
    return others


def _flat(x: Tensor) -> Tensor:
    return (to_float(x) if x.dtype == torch.uint8 else x).flatten(1)
