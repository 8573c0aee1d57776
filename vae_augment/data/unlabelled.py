"""Images without labels beside a labelled dataset."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vae_augment.data.loading import load_some, range_beside
from vae_augment.data.source import Source
from vae_augment.images.tensors import digests
from vae_augment.seeding import generator

MOST_IMAGES, MOST_VALUES = 50_000, 2**29  # in memory


class Unlabelled:
    """Images without labels, of which as many are read as memory and a fit's steps have room for.

    Args:
        dataset: map-style; items are images alone, or hold labels, which are ignored.
        beside: the labelled dataset, whose values of black and white hold for these images too.
        seed: of the sample.
    """

    def __init__(self, dataset: Dataset[Any], beside: Source, seed: int) -> None:
        if not hasattr(dataset, "__len__") or isinstance(dataset, (str, Path)):
            raise TypeError(f"unlabelled must be a dataset with len() and indices, got {type(dataset).__name__}.")
        if not len(dataset):
            raise ValueError("unlabelled must hold at least one image, got none.")
        self.source = Source(dataset, torch.zeros(len(dataset), dtype=torch.long))
        self.source.value_range = range_beside(beside, self.source, "unlabelled")
        self._seed = seed

    def __len__(self) -> int:
        return len(self.source)

    def images(self, shape: tuple[int, int, int]) -> Tensor:
        """A sample at `shape` (C, H, W), uint8 [M, C, H, W]. Raises ValueError naming one that cannot be read."""
        most = max(1, min(MOST_IMAGES, MOST_VALUES // math.prod(shape)))
        order = torch.randperm(len(self), generator=generator(self._seed, "unlabelled"))
        return load_some(self.source, order[:most].sort().values.tolist(), shape)


def without(images: Tensor, known: Tensor) -> Tensor:
    """Images [M, C, H, W] less those that are copies of known ones, uint8 both."""
    marks = set(digests(known))
    return images[torch.tensor([mark not in marks for mark in digests(images)], dtype=torch.bool)]
