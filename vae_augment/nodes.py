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
from torchvision.datasets import VisionDataset

TRANSFORMS = ("transform", "target_transform", "transforms")
LABELS = ("targets", "labels", "_labels")


class Node(Protocol):
    """A dataset, or what it is made of, item by item."""

    @property
    def leaf(self) -> Any: ...
    def __len__(self) -> int: ...
    def copied(self) -> Node: ...
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
        self._plain = _without_transforms(dataset)
        if self._plain is None:
            warnings.warn(
                f"the transforms of {type(dataset).__name__} cannot be set aside; working on what it returns.",
                UserWarning,
                stacklevel=5,
            )

    def copied(self) -> Leaf:
        node = copy.copy(self)
        node.leaf = copy.copy(self.leaf)
        return node

    def __len__(self) -> int:
        return len(self.leaf)

    def leaves(self) -> list[Any]:
        return [self.leaf]

    def raw(self, index: int) -> Any:
        return self.leaf[index] if self._plain is None else self._plain[index]

    def item(self, index: int) -> Any:
        return self.leaf[index]

    def items(self, indices: list[int]) -> list[Any]:
        batched = getattr(type(self.leaf), "__getitems__", None)
        return list(batched(self.leaf, indices)) if batched else [self.leaf[i] for i in indices]

    def finish(self, index: int, sample: Any, image: Any) -> Any:
        target, rest = sample[1], sample[2:]
        if self._plain is not None:
            image, target = self._transformed(image, target)
        parts = [image, target, *rest]
        return type(sample)(*parts) if hasattr(sample, "_fields") else type(sample)(parts)

    def _transformed(self, image: Any, target: Any) -> tuple[Any, Any]:
        single, of_target, joint = (getattr(self.leaf, name, None) for name in TRANSFORMS)
        if single is None and of_target is None and joint is not None:
            if isinstance(self.leaf, VisionDataset):  # torchvision's own takes both
                image, target = joint(image, target)
                return image, target
            single = joint
        if single is not None:
            image = single(image=image)["image"] if _is_albumentations(single) else single(image)
        return image, target if of_target is None else of_target(target)

    def labels(self) -> Any:
        """The attribute that holds them, if it agrees with the first item; else every item is read."""
        count, first = len(self.leaf), _as_int(self.raw(0)[1])
        held = [getattr(self.leaf, name, None) for name in LABELS]
        if isinstance(self.leaf, TensorDataset):
            held.append(self.leaf.tensors[1])
        for labels in held:
            one_each = hasattr(labels, "__len__") and np.asarray(labels).size == count  # not QMNIST's eight columns
            if one_each and first is not None and _as_int(labels) == first:
                return labels
        return [self.raw(i)[1] for i in range(count)]

    def whereabouts(self, index: int) -> str:
        files = self._files()
        return f"item {index}" if files is None else str(files[index])

    def _files(self) -> list[str | Path] | None:
        """The file of each item, for a dataset with torchvision's `samples`."""
        samples = getattr(self.leaf, "samples", None)
        if not isinstance(samples, list):
            return None
        files = [s[0] if isinstance(s, tuple) and s else s for s in samples]
        return files if all(isinstance(file, (str, Path)) for file in files) else None

    def update_digest(self, digest: Any) -> bool:
        data = getattr(self.leaf, "data", None)
        if isinstance(self.leaf, TensorDataset):
            data = self.leaf.tensors[0]
        if isinstance(data, Tensor):
            data = data.numpy()
        if isinstance(data, np.ndarray) and data.dtype.kind in "biuf" and len(data) == len(self.leaf):
            digest.update(f"{data.shape}{data.dtype}".encode())
            digest.update(np.ascontiguousarray(data).data)
            return True
        files = self._files()
        if files is None or not all(Path(file).is_file() for file in files):
            return False
        for path in files:
            stat = Path(path).stat()
            digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        return True


def _without_transforms(dataset: Any) -> Any:
    """A copy that returns raw items, or None if its transforms cannot be told apart from it."""
    plain = copy.copy(dataset)
    for name in TRANSFORMS:
        if getattr(plain, name, None) is None:
            continue
        if isinstance(getattr(type(dataset), name, None), property):  # setting it may reach into another object
            return None
        setattr(plain, name, None)
    try:
        if len(plain):
            plain[0]
    except (TypeError, AttributeError):  # it calls its transform whatever that is
        return None
    except OSError:  # for whoever reads the item to tell
        pass
    return plain


def _is_albumentations(transform: Any) -> bool:
    return any(base.__module__.split(".")[0] == "albumentations" for base in type(transform).__mro__)


def _as_int(label: Any) -> int | None:
    """A label, or the first of several, as an integer if it is one."""
    array = np.asarray(label)
    return int(array.reshape(-1)[0]) if array.dtype.kind in "iu" and array.size else None


class SubsetNode:
    """Some items of another dataset."""

    def __init__(self, dataset: Subset[Any]) -> None:
        self._inner = node(dataset.dataset)
        self._indices = [int(i) for i in dataset.indices]

    @property
    def leaf(self) -> Any:
        return self._inner.leaf

    def copied(self) -> SubsetNode:
        node = copy.copy(self)
        node._inner = self._inner.copied()
        return node

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

    @property
    def leaf(self) -> Any:
        return self._parts[0].leaf

    def copied(self) -> ConcatNode:
        node = copy.copy(self)
        node._parts = [part.copied() for part in self._parts]
        return node

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
