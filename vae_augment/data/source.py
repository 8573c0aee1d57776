"""A dataset seen two ways: its raw images and labels, and the user's transforms to apply afterwards."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from vae_augment.data.composed import node
from vae_augment.data.items import Sample, evenly
from vae_augment.data.labels import numbered, renumbered
from vae_augment.data.raw_dataset import Leaf
from vae_augment.files.class_names import check_names
from vae_augment.images import conversion
from vae_augment.images.conversion import Range
from vae_augment.images.image_file import UnreadableImageError

PROBED_ITEMS = 1000  # items that stand for the whole dataset in size, mode, range and, as a last resort, fingerprint
LISTED_NAMES = 20  # of a bank, in an error


class Source:
    """Raw samples, labels and transforms of one dataset, whatever it is wrapped in.

    Args:
        dataset: a map-style dataset of (image, label, ...) items, or of dicts (see vae_augment.data.items).
        labels: integers or names [N], for a dataset that has none or to use others.

    Raises:
        TypeError: an iterable dataset, or items that hold no image and label.
        ValueError: an empty dataset, labels that are not one integer or name an item, or class names that no bank can
            have.
    """

    def __init__(self, dataset: Dataset[Any], labels: Sequence[int | str] | Tensor | None = None) -> None:
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
        conversion.as_tensor(image)  # raises if it is no image
        given = self._node.labels() if labels is None else labels
        self._labels = numbered(given, len(self._node), self.leaves[0].classes, self.whereabouts)
        twice = [name for name, count in Counter(self.classes.values()).items() if count > 1]
        if twice:
            raise ValueError(f"each class needs a name of its own, got {twice[0]!r} more than once in dataset.classes.")
        check_names(self.classes.values())
        self.value_range = self._value_range(image)

    def __len__(self) -> int:
        return len(self._node)

    @property
    def labels(self) -> Tensor:
        """int64 [N]."""
        return self._labels.values

    @property
    def classes(self) -> dict[int, str]:
        """The name of each label that occurs, in the order of labels: the dataset's own, else the label itself."""
        return self._labels.names

    @property
    def has_names(self) -> bool:
        """Whether the classes have names of their own."""
        return self._labels.has_names

    @property
    def by_name(self) -> bool:
        """Whether the dataset's labels are names: then a class is known by its name, whatever its number."""
        return self._labels.are_names

    def number_as(self, known: Mapping[str, int], *, by_name: bool = False) -> None:
        """Where labels are names, or `by_name`: number classes as a bank does; those that it lacks follow its last."""
        if self.by_name or by_name:
            self._labels = renumbered(self._labels, known)

    def lacking_in(self, known: Mapping[str, int]) -> tuple[str, str] | None:
        """How to call the first class that a bank lacks, and what it has, in a message; None if it has all."""
        lacking = sorted(set(self.classes) - set(known.values()))
        if not lacking:
            return None
        if self.by_name:
            return repr(self.classes[lacking[0]]), listed(known)
        return f"for label {lacking[0]} ({self.classes[lacking[0]]!r})", f"labels {sorted(known.values())}"

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
        labels = getattr(self, "_labels", None)
        of_class = "" if labels is None else f" of class {labels.names[int(labels.values[index])]!r}"
        return f"{self.whereabouts(index)}{of_class}"

    def pixels(self, index: int, image: Any) -> Tensor:
        """The raw image of item `index` by `conversion.to_tensor`. Raises ValueError that names item and class."""
        try:
            return conversion.to_tensor(image, self.value_range)
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

    def names(self) -> list[str]:
        """The name of each item: its file's, without the folder, or its number in the dataset that holds it."""
        return self._node.names()

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
        return evenly(len(self), PROBED_ITEMS)

    def _value_range(self, first: Any) -> Range | None:
        needed = conversion.needs_range(first) or any(self._needs_range(index) for index in self._node.tried() if index)
        return conversion.value_range_of(list(self.probe())) if needed else None

    def _needs_range(self, index: int) -> bool:
        with suppress(AttributeError, TypeError, ValueError):  # no image: for whoever reads it
            return conversion.needs_range(self.raw(index).image)
        return False


def listed(names: Iterable[str]) -> str:
    """The first of a bank's classes, for an error."""
    return ", ".join(map(repr, islice(names, LISTED_NAMES)))
