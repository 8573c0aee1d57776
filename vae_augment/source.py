"""A dataset seen two ways: its raw images and labels, and the user's transforms to apply afterwards."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from vae_augment import raw
from vae_augment.image_file import UnreadableImageError
from vae_augment.leaf import Leaf
from vae_augment.nodes import node
from vae_augment.raw import Range
from vae_augment.sample import Sample

PROBED_ITEMS = 1000  # items that stand for the whole dataset in size, mode, range and, as a last resort, fingerprint


class Source:
    """Raw samples, labels and transforms of one dataset, whatever it is wrapped in.

    Args:
        dataset: a map-style dataset of (image, label, ...) items, or of dicts (see vae_augment.sample).
        labels: integer labels [N], for a dataset that has none or to use others.

    Raises:
        TypeError: an iterable dataset, or items that hold no image and label.
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
        if isinstance(dataset, Mapping):
            raise TypeError(f"dataset must be one split of the {type(dataset).__name__}, for example data['train'].")
        self._node = node(dataset)
        if not len(self._node):
            raise ValueError("dataset must hold at least one image, got an empty one.")
        image = self.raw(0).image
        raw.as_tensor(image)  # raises if it is no image
        self.labels = _as_labels(labels if labels is not None else self._node.labels(), len(self._node))
        self.classes, self.has_names = _class_names(self.leaves[0].classes, self.labels)
        twice = [name for name, count in Counter(self.classes.values()).items() if count > 1]
        if twice:
            raise ValueError(f"each class needs a name of its own, got {twice[0]!r} more than once in dataset.classes.")
        self.value_range = self._value_range(image)

    def __len__(self) -> int:
        return len(self._node)

    def copied(self) -> Source:
        """One whose transforms can be changed without changing these."""
        source = copy.copy(self)
        source._node = self._node.copied()
        return source

    @property
    def leaves(self) -> list[Leaf]:
        """The datasets underneath that hold images themselves."""
        return self._node.leaves()

    @property
    def has_transforms(self) -> bool:
        """Whether any image goes through a transform once it is read."""
        return any(leaf.transform(name) is not None for leaf in self.leaves for name in ("transform", "transforms"))

    @property
    def stable(self) -> bool:
        """Whether a raw image is the same each time it is read."""
        return all(leaf.stable for leaf in self.leaves)

    @property
    def in_memory(self) -> bool:
        """Whether images are held as arrays, so that reading one takes next to no time."""
        return all(leaf.in_memory for leaf in self.leaves)

    def raw(self, index: int) -> Sample:
        """Item `index` before any transform. ValueError if it cannot be read."""
        try:
            return self._node.raw(index)
        except (OSError, UnreadableImageError) as error:
            raise ValueError(f"cannot read {self._of_class(index)}: {error}") from error

    def _of_class(self, index: int) -> str:
        """What to call an item in a message: its file, and its class as soon as that is known."""
        known = getattr(self, "classes", None)
        of_class = "" if known is None else f" of class {known[int(self.labels[index])]!r}"
        return f"{self.whereabouts(index)}{of_class}"

    def pixels(self, index: int, image: Any) -> Tensor:
        """`raw.to_tensor` of the raw image of item `index`. Raises ValueError that names the item and its class."""
        try:
            return raw.to_tensor(image, self.value_range)
        except ValueError as error:
            raise ValueError(f"{self._of_class(index)}: {error}") from error

    def blank(self, index: int) -> Sample:
        """`raw`, but for pixels that may be blank where reading them takes long."""
        try:
            return self._node.blank(index)
        except (OSError, UnreadableImageError) as error:
            raise ValueError(f"cannot read {self._of_class(index)}: {error}") from error

    def finish(self, index: int, sample: Sample, image: Any) -> Any:
        """A raw `sample` with another image, through the transforms of item `index`."""
        return self._node.finish(index, sample, image)

    def whereabouts(self, index: int) -> str:
        """What to call item `index` in a message: its file, if it has one."""
        return self._node.whereabouts(index)

    def items(self, indices: list[int]) -> list[Any]:
        """Items as the user's dataset gives them, by its own batched `__getitems__` where it has one."""
        return self._node.items(indices)

    def set_transform(self, name: str, value: Any) -> None:
        """Replace a transform ("transform", "target_transform" or "transforms") of every dataset underneath."""
        for leaf in self.leaves:
            leaf.set_transform(name, value)

    def probe(self) -> Iterator[Any]:
        """Raw images of up to 1,000 evenly spaced items."""
        return (self.raw(index).image for index in self._probed())

    def fingerprint(self) -> str:
        """Hash of images and labels: bytes of arrays in memory; path, size and time of files; else a probe."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(self.labels.numpy().tobytes())
        if not self._node.update_digest(digest):
            for index in self._probed():
                pixels = self.pixels(index, self.raw(index).image)
                digest.update(f"{tuple(pixels.shape)}{pixels.dtype}".encode())
                digest.update(pixels.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _probed(self) -> list[int]:
        places: list[int] = np.unique(np.linspace(0, len(self) - 1, min(len(self), PROBED_ITEMS)).astype(int)).tolist()
        return places

    def _value_range(self, first: Any) -> Range | None:
        return raw.value_range_of(list(self.probe())) if raw.needs_range(first) else None


def _as_labels(labels: Any, count: int) -> Tensor:
    array = labels.numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or len(array) != count:
        raise ValueError(f"labels must be one a dataset item ({count}), got shape {list(array.shape)}.")
    if array.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, got {array.dtype}.")
    return torch.from_numpy(array.astype(np.int64))


def _class_names(names: Any, labels: Tensor) -> tuple[dict[int, str], bool]:
    """The name of each label that occurs, verbatim from the dataset's `classes`, else the label itself; and which."""
    present: list[int] = labels.unique().tolist()
    named = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
    if named and present[0] >= 0 and present[-1] < len(names):
        return {label: names[label] for label in present}, True
    return {label: str(label) for label in present}, False
