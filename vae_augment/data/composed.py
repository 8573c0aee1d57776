"""What a dataset is made of: one that holds images, or a `Subset` or `ConcatDataset` of others."""

from __future__ import annotations

import bisect
import copy
from typing import Any, Protocol

import numpy as np
from torch.utils.data import ConcatDataset, Subset

from vae_augment.data.huggingface import HuggingFaceLeaf, is_huggingface
from vae_augment.data.items import Sample, evenly
from vae_augment.data.labels import as_array, joined
from vae_augment.data.raw_dataset import TRIED_ITEMS, Leaf


class Node(Protocol):
    """A dataset, or what it is made of, item by item."""

    def __len__(self) -> int: ...
    def copied(self) -> Node: ...
    def leaves(self) -> list[Leaf]: ...
    def raw(self, index: int) -> Sample: ...
    def blank(self, index: int) -> Sample: ...
    def items(self, indices: list[int]) -> list[Any]: ...
    def finish(self, index: int, sample: Sample, image: Any) -> Any: ...
    def whereabouts(self, index: int) -> str: ...
    def names(self) -> list[str]: ...
    def labels(self) -> Any: ...
    def tried(self) -> list[int]: ...
    def update_digest(self, digest: Any) -> bool: ...


class SubsetNode:
    """Some items of another dataset."""

    def __init__(self, dataset: Subset[Any]) -> None:
        self._inner = node(dataset.dataset)
        indices = np.asarray(dataset.indices, dtype=np.int64)  # an array, which workers share
        self._indices = np.where(indices < 0, indices + len(self._inner), indices)

    def copied(self) -> SubsetNode:
        node = copy.copy(self)
        node._inner = self._inner.copied()
        return node

    def __len__(self) -> int:
        return len(self._indices)

    def leaves(self) -> list[Leaf]:
        return self._inner.leaves()

    def raw(self, index: int) -> Sample:
        return self._inner.raw(int(self._indices[index]))

    def blank(self, index: int) -> Sample:
        return self._inner.blank(int(self._indices[index]))

    def items(self, indices: list[int]) -> list[Any]:
        return self._inner.items(self._indices[indices].tolist())

    def finish(self, index: int, sample: Sample, image: Any) -> Any:
        return self._inner.finish(int(self._indices[index]), sample, image)

    def whereabouts(self, index: int) -> str:
        return self._inner.whereabouts(int(self._indices[index]))

    def names(self) -> list[str]:
        names = self._inner.names()
        return [names[index] for index in self._indices.tolist()]

    def labels(self) -> Any:
        return as_array(self._inner.labels())[self._indices]

    def tried(self) -> list[int]:
        return evenly(len(self), 1 if all(leaf.uniform for leaf in self.leaves()) else TRIED_ITEMS)

    def update_digest(self, digest: Any) -> bool:
        digest.update(self._indices.tobytes())
        return self._inner.update_digest(digest)


class ConcatNode:
    """Several datasets one after the other."""

    def __init__(self, dataset: ConcatDataset[Any]) -> None:
        self._parts = [node(part) for part in dataset.datasets]
        self._ends = list(dataset.cumulative_sizes)

    def copied(self) -> ConcatNode:
        node = copy.copy(self)
        node._parts = [part.copied() for part in self._parts]
        return node

    def __len__(self) -> int:
        return int(self._ends[-1])

    def leaves(self) -> list[Leaf]:
        return [leaf for part in self._parts for leaf in part.leaves()]

    def _find(self, index: int) -> tuple[Node, int]:
        part = bisect.bisect_right(self._ends, index)
        return self._parts[part], index - (self._ends[part - 1] if part else 0)

    def raw(self, index: int) -> Sample:
        part, inner = self._find(index)
        return part.raw(inner)

    def blank(self, index: int) -> Sample:
        part, inner = self._find(index)
        return part.blank(inner)

    def items(self, indices: list[int]) -> list[Any]:
        found = [self._find(i) for i in indices]
        return [part.items([inner])[0] for part, inner in found]

    def finish(self, index: int, sample: Sample, image: Any) -> Any:
        part, inner = self._find(index)
        return part.finish(inner, sample, image)

    def whereabouts(self, index: int) -> str:
        part, inner = self._find(index)
        return part.whereabouts(inner)

    def names(self) -> list[str]:
        return [name for part in self._parts for name in part.names()]

    def labels(self) -> Any:
        return joined([as_array(part.labels()).reshape(len(part)) for part in self._parts])

    def tried(self) -> list[int]:
        starts = [0, *self._ends]
        return [start + i for start, part in zip(starts, self._parts, strict=False) for i in part.tried()]

    def update_digest(self, digest: Any) -> bool:
        done = [part.update_digest(digest) for part in self._parts]  # every part counts, whatever one answers
        return all(done)


def node(dataset: Any) -> Node:
    if type(dataset) is Subset:
        return SubsetNode(dataset)
    if type(dataset) is ConcatDataset:
        return ConcatNode(dataset)
    return HuggingFaceLeaf(dataset) if is_huggingface(dataset) else Leaf(dataset)
