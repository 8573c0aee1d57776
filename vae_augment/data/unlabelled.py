"""Images without labels beside a labelled dataset."""

from __future__ import annotations

import hashlib
import math
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vae_augment.data.items import evenly
from vae_augment.data.loading import load_some, range_beside
from vae_augment.data.source import Source
from vae_augment.images.conversion import as_tensor
from vae_augment.images.tensors import digests
from vae_augment.seeding import generator

MOST_IMAGES, MOST_VALUES = 50_000, 2**29  # in memory
COMPARED = 20  # images that tell a dataset from another one


class _OfNoClass(Source):
    """A source whose items are named in messages without a class."""

    def _of_class(self, index: int) -> str:
        return self.whereabouts(index)


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
        self.dataset = dataset
        self.source = _OfNoClass(dataset, torch.zeros(len(dataset), dtype=torch.long))
        self._own_range = self.source.value_range
        self._seed = seed
        self.beside(beside)

    def __len__(self) -> int:
        return len(self.source)

    @cached_property
    def content(self) -> str:
        """Hash of the number of images and of the pixels of a few of them, whatever holds them, and wherever."""
        digest = hashlib.blake2b(str(len(self)).encode(), digest_size=16)
        for index in evenly(len(self), COMPARED):
            pixels = as_tensor(self.source.raw(index).image)
            digest.update(f"{tuple(pixels.shape)}{pixels.dtype}".encode())
            digest.update(pixels.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def beside(self, labelled: Source) -> Unlabelled:
        """These images, read with a labelled dataset's values of black and white."""
        self.source.value_range = self._own_range
        self.source.value_range = range_beside(labelled, self.source, "unlabelled")
        return self

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the whole dataset, as `Source.fingerprint`."""
        return self.source.fingerprint()

    def sample(self, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
        """Images at `shape` (C, H, W), uint8 [M, C, H, W], and their places in the dataset, int64 [M].

        Raises ValueError naming one that cannot be read.
        """
        most = max(1, min(MOST_IMAGES, MOST_VALUES // math.prod(shape)))
        order = torch.randperm(len(self), generator=generator(self._seed, "unlabelled"))
        places = order[:most].sort().values
        return load_some(self.source, places.tolist(), shape), places


def others_than(known: Tensor, images: Tensor) -> Tensor:
    """Places of the images [M, C, H, W] that are no copies of known ones, uint8 both: int64."""
    marks = set(digests(known))
    return torch.tensor([place for place, mark in enumerate(digests(images)) if mark not in marks], dtype=torch.long)
