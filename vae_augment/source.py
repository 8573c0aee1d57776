"""A dataset seen two ways: its raw images and labels, and the user's transforms to apply afterwards.

The dataset itself is never changed: transforms are blanked on shallow copies (docs/design.md, decision 5). `Subset` and
`ConcatDataset` are walked down to the datasets that hold the images.
"""

from __future__ import annotations

import bisect
import copy
import hashlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset
from torchvision.datasets.vision import StandardTransform

from vae_augment import raw
from vae_augment.raw import Range

TRANSFORMS = ("transform", "target_transform", "transforms")
LABELS = ("targets", "labels", "_labels")
PROBED_ITEMS = 1000  # items that stand for the whole dataset in size, mode, range and, as a last resort, fingerprint


class Source:
    """Raw samples, labels and transforms of one dataset, whatever it is wrapped in.

    Args:
        dataset: a map-style dataset of (image, label, ...) samples.
        labels: integer labels [N], for a dataset that has none or to use others.

    Raises:
        TypeError: an iterable dataset, or samples that are not (image, label) pairs.
        ValueError: an empty dataset, or labels that are not one integer an item.
    """

    def __init__(self, dataset: Dataset[Any], labels: Sequence[int] | Tensor | None = None) -> None:
        if isinstance(dataset, IterableDataset):
            raise TypeError(
                f"dataset must have len() and indices, got the IterableDataset {type(dataset).__name__}. "
                "Collect its items into a list-like dataset first."
            )
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(f"dataset must have len() and indices, got {type(dataset).__name__}.")
        self._node = _node(dataset)
        if not len(self._node):
            raise ValueError("dataset must hold at least one image, got an empty one.")
        sample = self.raw(0)
        if not isinstance(sample, (tuple, list)) or len(sample) < 2:
            raise TypeError(f"dataset items must be (image, label) pairs, got {type(sample).__name__}.")
        raw.to_tensor(sample[0])  # raises if it is no image
        self.labels = _as_labels(labels if labels is not None else self._node.labels(), len(self._node))
        self.classes, self.has_names = _class_names(self._node.leaf, self.labels)
        self.value_range = self._value_range(sample[0])

    def __len__(self) -> int:
        return len(self._node)

    def raw(self, index: int) -> Any:
        """Item `index` before any transform: a tuple or list (image, label, ...). ValueError if it cannot be read."""
        try:
            return self._node.raw(index)
        except OSError as error:
            raise ValueError(f"cannot read {self._node.whereabouts(index)}: {error}") from error

    def finish(self, index: int, sample: Any, image: Any) -> Any:
        """A raw `sample` with another image, through the transforms of item `index`."""
        return self._node.finish(index, sample, image)

    def item(self, index: int) -> Any:
        """Item `index` as the user's dataset gives it."""
        return self._node.item(index)

    def whereabouts(self, index: int) -> str:
        """What to call item `index` in a message: its file, if it has one."""
        return self._node.whereabouts(index)

    def items(self, indices: list[int]) -> list[Any]:
        """Items as the user's dataset gives them, by its own batched `__getitems__` where it has one."""
        return self._node.items(indices)

    @property
    def transform_owner(self) -> Any:
        """The copy of the dataset that holds its transforms."""
        return self._node.leaf

    def set_transform(self, name: str, value: Any) -> None:
        """Replace a transform ("transform", "target_transform" or "transforms") of every dataset underneath."""
        for leaf in self._node.leaves():
            setattr(leaf, name, value)
            if isinstance(getattr(leaf, "transforms", None), StandardTransform):  # torchvision's pair of the two
                leaf.transforms = StandardTransform(leaf.transform, leaf.target_transform)

    def probe(self) -> Iterator[Any]:
        """Raw images of up to 1,000 evenly spaced items."""
        for index in np.unique(np.linspace(0, len(self) - 1, min(len(self), PROBED_ITEMS)).astype(int)).tolist():
            yield self.raw(index)[0]

    def fingerprint(self) -> str:
        """Hash of images and labels: bytes of arrays in memory; path, size and time of files; else a probe."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(self.labels.numpy().tobytes())
        if not self._node.update_digest(digest):
            for image in self.probe():
                pixels = raw.to_tensor(image, self.value_range)
                digest.update(f"{tuple(pixels.shape)}{pixels.dtype}".encode())
                digest.update(pixels.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _value_range(self, first: Any) -> Range | None:
        return raw.value_range_of(list(self.probe())) if raw.needs_range(first) else None


class _Node(Protocol):
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


class _Leaf:
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


class _Subset:
    """Some items of another dataset."""

    def __init__(self, dataset: Subset[Any]) -> None:
        self._inner = _node(dataset.dataset)
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


class _Concat:
    """Several datasets one after the other."""

    def __init__(self, dataset: ConcatDataset[Any]) -> None:
        self._parts = [_node(part) for part in dataset.datasets]
        self._ends = list(dataset.cumulative_sizes)
        self.leaf = self._parts[0].leaf

    def __len__(self) -> int:
        return int(self._ends[-1])

    def leaves(self) -> list[Any]:
        return [leaf for part in self._parts for leaf in part.leaves()]

    def _find(self, index: int) -> tuple[_Node, int]:
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


def _node(dataset: Any) -> _Node:
    if type(dataset) is Subset:
        return _Subset(dataset)
    if type(dataset) is ConcatDataset:
        return _Concat(dataset)
    return _Leaf(dataset)


def _as_labels(labels: Any, count: int) -> Tensor:
    array = labels.numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or len(array) != count:
        raise ValueError(f"labels must be one a dataset item ({count}), got shape {list(array.shape)}.")
    if array.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, got {array.dtype}.")
    return torch.from_numpy(array.astype(np.int64))


def _class_names(leaf: Any, labels: Tensor) -> tuple[dict[int, str], bool]:
    """The name of each label that occurs, verbatim from the dataset's `classes`, else the label itself; and which."""
    names: Any = getattr(leaf, "classes", None)
    present: list[int] = labels.unique().tolist()
    named = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
    if named and present[0] >= 0 and present[-1] < len(names):
        return {label: names[label] for label in present}, True
    return {label: str(label) for label in present}, False
