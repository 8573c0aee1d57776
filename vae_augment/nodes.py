"""What a dataset is made of: one that holds images, or a `Subset` or `ConcatDataset` of others.

Each kind gives an item raw, whole, and finished by the user's transforms. Nothing is changed in the caller's objects:
transforms are blanked on shallow copies (docs/design.md, decision 7).
"""

from __future__ import annotations

import bisect
import copy
import warnings
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset, TensorDataset

TRANSFORMS = ("transform", "target_transform", "transforms")
LABELS = ("targets", "labels", "_labels")


class Node(Protocol):
    """A dataset, or what it is made of, item by item."""

    leaf: Any

    def __len__(self) -> int: ...
    def leaves(self) -> list[Any]: ...
    def raw(self, index: int) -> Any: ...
    def item(self, index: int) -> Any: ...
    def items(self, indices: list[int]) -> list[Any]: ...
    def whereabouts(self, index: int) -> str: ...
    def finish(self, index: int, sample: Any, image: Any) -> Any: ...
    def labels(self) -> Any: ...
    def update_digest(self, digest: Any) -> bool: ...


class Leaf:
    """A dataset that holds images itself."""

    def __init__(self, dataset: Any) -> None:
        self.leaf = copy.copy(dataset)
        self._plain = copy.copy(dataset)
        for name in TRANSFORMS:
            if getattr(self._plain, name, None) is not None:
                try:
                    setattr(self._plain, name, None)
                except AttributeError:
                    warnings.warn(
                        f"{type(dataset).__name__}.{name} cannot be set aside; working on what it returns.",
                        UserWarning,
                        stacklevel=4,
                    )

    def __len__(self) -> int:
        return len(self.leaf)

    def leaves(self) -> list[Any]:
        return [self.leaf]

    def raw(self, index: int) -> Any:
        return self._plain[index]

    def item(self, index: int) -> Any:
        return self.leaf[index]

    def items(self, indices: list[int]) -> list[Any]:
        batched = getattr(type(self.leaf), "__getitems__", None)
        return list(batched(self.leaf, indices)) if batched else [self.leaf[i] for i in indices]

    def finish(self, index: int, sample: Any, image: Any) -> Any:
        target, rest = sample[1], sample[2:]
        single = [getattr(self.leaf, name, None) for name in TRANSFORMS[:2]]
        joint = getattr(self.leaf, "transforms", None)
        if any(single):
            image = single[0](image) if single[0] else image
            target = single[1](target) if single[1] else target
        elif joint is not None:
            image, target = joint(image, target)
        parts = [image, target, *rest]
        return type(sample)(*parts) if hasattr(sample, "_fields") else type(sample)(parts)

    def labels(self) -> Any:
        for name in LABELS:
            labels = getattr(self.leaf, name, None)
            if hasattr(labels, "__len__") and np.asarray(labels).size == len(self.leaf):  # not QMNIST's eight columns
                return labels
        if isinstance(self.leaf, TensorDataset):
            return self.leaf.tensors[1]
        return [self._plain[i][1] for i in range(len(self._plain))]

    def whereabouts(self, index: int) -> str:
        files = self._files()
        return f"item {index}" if files is None else str(files[index])

    def _files(self) -> list[str | Path] | None:
        """The file of each item, for a dataset with torchvision's `samples`."""
        samples = getattr(self.leaf, "samples", None)
        if not isinstance(samples, list) or not all(isinstance(s[0], (str, Path)) for s in samples):
            return None
        return [s[0] for s in samples]

    def update_digest(self, digest: Any) -> bool:
        data = getattr(self.leaf, "data", None)
        if isinstance(self.leaf, TensorDataset):
            data = self.leaf.tensors[0]
        if isinstance(data, Tensor):
            data = data.numpy()
        if isinstance(data, np.ndarray):
            digest.update(f"{data.shape}{data.dtype}".encode())
            digest.update(np.ascontiguousarray(data).data)
            return True
        files = self._files()
        if files is None:
            return False
        for path in files:
            stat = Path(path).stat()
            digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        return True


class SubsetNode:
    """Some items of another dataset."""

    def __init__(self, dataset: Subset[Any]) -> None:
        self._inner = node(dataset.dataset)
        self._indices = [int(i) for i in dataset.indices]
        self.leaf = self._inner.leaf

    def __len__(self) -> int:
        return len(self._indices)

    def leaves(self) -> list[Any]:
        return self._inner.leaves()

    def raw(self, index: int) -> Any:
        return self._inner.raw(self._indices[index])

    def item(self, index: int) -> Any:
        return self._inner.item(self._indices[index])

    def items(self, indices: list[int]) -> list[Any]:
        return self._inner.items([self._indices[i] for i in indices])

    def finish(self, index: int, sample: Any, image: Any) -> Any:
        return self._inner.finish(self._indices[index], sample, image)

    def whereabouts(self, index: int) -> str:
        return self._inner.whereabouts(self._indices[index])

    def labels(self) -> Any:
        return np.asarray(self._inner.labels())[self._indices]

    def update_digest(self, digest: Any) -> bool:
        digest.update(np.asarray(self._indices, dtype=np.int64).tobytes())
        return self._inner.update_digest(digest)


class ConcatNode:
    """Several datasets one after the other."""

    def __init__(self, dataset: ConcatDataset[Any]) -> None:
        self._parts = [node(part) for part in dataset.datasets]
        self._ends = list(dataset.cumulative_sizes)
        self.leaf = self._parts[0].leaf

    def __len__(self) -> int:
        return int(self._ends[-1])

    def leaves(self) -> list[Any]:
        return [leaf for part in self._parts for leaf in part.leaves()]

    def _find(self, index: int) -> tuple[Node, int]:
        part = bisect.bisect_right(self._ends, index)
        return self._parts[part], index - (self._ends[part - 1] if part else 0)

    def raw(self, index: int) -> Any:
        part, inner = self._find(index)
        return part.raw(inner)

    def item(self, index: int) -> Any:
        part, inner = self._find(index)
        return part.item(inner)

    def items(self, indices: list[int]) -> list[Any]:
        return [self.item(i) for i in indices]

    def finish(self, index: int, sample: Any, image: Any) -> Any:
        part, inner = self._find(index)
        return part.finish(inner, sample, image)

    def whereabouts(self, index: int) -> str:
        part, inner = self._find(index)
        return part.whereabouts(inner)

    def labels(self) -> Any:
        return np.concatenate([np.asarray(part.labels()).reshape(len(part)) for part in self._parts])

    def update_digest(self, digest: Any) -> bool:
        done = [part.update_digest(digest) for part in self._parts]  # every part counts, whatever one answers
        return all(done)


def node(dataset: Any) -> Node:
    if type(dataset) is Subset:
        return SubsetNode(dataset)
    if type(dataset) is ConcatDataset:
        return ConcatNode(dataset)
    return Leaf(dataset)
