"""Datasets under a `Subset` or `ConcatDataset`, and the place of each item in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import ConcatDataset, Subset

from vae_augment.data.huggingface import HuggingFaceDataset, is_huggingface
from vae_augment.data.raw_dataset import RawDataset

Places = np.ndarray[Any, np.dtype[np.int64]]


class Parts(NamedTuple):
    """Datasets that hold a composed dataset's images, and where each of its items lies in them.

    Args:
        datasets: each once, however often it is a part.
        owner: int64 [N], position of each item's dataset in `datasets`; None: there is only one.
        place: int64 [N], index of each item in its dataset.
        composed: False if the dataset holds its images itself.
    """

    datasets: list[RawDataset]
    owner: Places | None
    place: Sequence[int] | Places
    composed: bool


def parts_of(dataset: Any) -> Parts:
    """Take a dataset apart through all subsets and concatenations.

    Raises:
        ValueError: a `Subset` has an index that its dataset does not have.
    """
    if type(dataset) not in (Subset, ConcatDataset):
        own = _raw(dataset)
        return Parts([own], None, range(len(own)), False)
    found: dict[int, tuple[int, RawDataset]] = {}  # by id() of the caller's object

    def places(part: Any) -> tuple[Places, Places]:
        """Owner and place of each item of a part."""
        if type(part) is Subset:
            owner, place = places(part.dataset)
            indices = np.asarray(part.indices, dtype=np.int64)
            try:
                return owner[indices], place[indices]
            except IndexError:
                raise ValueError(
                    f"indices of a Subset must be within its dataset of {len(place)} items, got {indices.max()}."
                ) from None
        if type(part) is ConcatDataset:
            owners, several = zip(*map(places, part.datasets), strict=True)
            return np.concatenate(owners), np.concatenate(several)
        if id(part) not in found:
            found[id(part)] = (len(found), _raw(part))
        number, raw = found[id(part)]
        return np.full(len(raw), number, dtype=np.int64), np.arange(len(raw), dtype=np.int64)

    owner, place = places(dataset)
    datasets = [raw for _, raw in found.values()]
    return Parts(datasets, owner if len(datasets) > 1 else None, place, True)


def _raw(dataset: Any) -> RawDataset:
    if getattr(type(dataset), "serves_synthetic", False):
        raise TypeError(f"a {type(dataset).__name__} holds synthetic images: give the dataset that it was made from.")
    return HuggingFaceDataset(dataset) if is_huggingface(dataset) else RawDataset(dataset)
