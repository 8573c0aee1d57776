"""A dataset seen two ways: its raw images and labels, and the user's transforms to apply afterwards."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from vae_augment.data.composed import parts_of
from vae_augment.data.items import Sample, evenly
from vae_augment.data.labels import as_array, joined, numbered, renumbered
from vae_augment.data.raw_dataset import TRIED_ITEMS, RawDataset
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
        self._parts = parts_of(dataset)
        if not len(self):
            raise ValueError("dataset must hold at least one image, got an empty one.")
        image = self.raw(0).image
        conversion.as_tensor(image)  # raises if it is no image
        given = self._own_labels() if labels is None else labels
        self._labels = numbered(given, len(self), self.datasets[0].classes, self.whereabouts)
        twice = [name for name, count in Counter(self.classes.values()).items() if count > 1]
        if twice:
            raise ValueError(f"each class needs a name of its own, got {twice[0]!r} more than once in dataset.classes.")
        check_names(self.classes.values())
        self.value_range = self._value_range(image)

    def __len__(self) -> int:
        return len(self._parts.place)

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
        source._parts = self._parts._replace(datasets=[dataset.copied() for dataset in self.datasets])
        return source

    @property
    def datasets(self) -> list[RawDataset]:
        """The datasets underneath that hold images themselves."""
        return self._parts.datasets

    def _at(self, index: int) -> tuple[RawDataset, int]:
        """The dataset that holds item `index`, and the item's index there."""
        datasets, owner, place, composed = self._parts
        if not composed:
            return datasets[0], index
        return datasets[0 if owner is None else owner[index]], int(place[index])

    def _own_labels(self) -> Any:
        """The labels that the datasets have themselves, [N]."""
        if not self._parts.composed:
            return self.datasets[0].labels()
        place, owner = self._parts.place, self._parts.owner
        if owner is None:
            return as_array(self.datasets[0].labels())[place]
        held = [as_array(dataset.labels()).reshape(len(dataset)) for dataset in self.datasets]
        firsts = np.cumsum([0, *map(len, self.datasets)])
        return joined(held)[firsts[owner] + place]

    def _tried(self) -> list[int]:
        """Items that are read to see what each dataset is like."""
        owner = self._parts.owner
        tried = []
        for number, dataset in enumerate(self.datasets):
            own = range(len(self)) if owner is None else np.flatnonzero(owner == number)
            tried += [int(own[place]) for place in evenly(len(own), 1 if dataset.uniform else TRIED_ITEMS)]
        return tried

    @property
    def has_transforms(self) -> bool:
        """Whether any image goes through a transform once it is read."""
        return any(part.transform(name) is not None for part in self.datasets for name in ("transform", "transforms"))

    @property
    def stable(self) -> bool:
        """Whether a raw image is the same each time it is read."""
        return all(dataset.stable for dataset in self.datasets)

    @property
    def in_memory(self) -> bool:
        """Whether images are held as arrays, so that reading one takes next to no time."""
        return all(dataset.in_memory for dataset in self.datasets)

    def raw(self, index: int) -> Sample:
        """Item `index` before any transform. ValueError if it cannot be read."""
        dataset, place = self._at(index)
        try:
            return dataset.raw(place)
        except (OSError, UnreadableImageError) as error:
            raise self._unreadable(index, error) from error

    def blank(self, index: int) -> Sample:
        """`raw`, but for pixels that may be blank where reading them takes long."""
        dataset, place = self._at(index)
        try:
            return dataset.blank(place)
        except (OSError, UnreadableImageError) as error:
            raise self._unreadable(index, error) from error

    def _unreadable(self, index: int, error: Exception) -> ValueError:
        return ValueError(f"cannot read {self._of_class(index)}: {error}")

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

    def finish(self, index: int, sample: Sample, image: Any) -> Any:
        """A raw `sample` with another image, through the transforms of item `index`."""
        dataset, place = self._at(index)
        return dataset.finish(place, sample, image)

    def whereabouts(self, index: int) -> str:
        """How to call item `index` in a message: its file, if it has one."""
        dataset, place = self._at(index)
        return dataset.whereabouts(place)

    def names(self) -> list[str]:
        """The name of each item: its file's, without the folder, or its number in the dataset that holds it."""
        names = {id(dataset): dataset.names() for dataset in self.datasets}
        return [names[id(dataset)][place] for dataset, place in map(self._at, range(len(self)))]

    def items(self, indices: list[int]) -> list[Any]:
        """Items as the user's dataset gives them, by its own batched `__getitems__` where it has one."""
        if len(self.datasets) == 1:
            return self.datasets[0].items([self._at(index)[1] for index in indices])
        return [dataset.items([place])[0] for dataset, place in map(self._at, indices)]

    def set_transform(self, name: str, value: Any) -> None:
        """Replace a transform ("transform", "target_transform" or "transforms") of every dataset underneath."""
        for dataset in self.datasets:
            dataset.set_transform(name, value)

    def probe(self) -> Iterator[Any]:
        """Raw images of up to 1,000 evenly spaced items."""
        return (self.raw(index).image for index in self._probed())

    def fingerprint(self) -> str:
        """Hash of images and labels: bytes of arrays in memory; path, size and time of files; else a probe."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(self.labels.numpy().tobytes())
        if self._parts.composed:
            for places in (self._parts.owner, self._parts.place):
                digest.update(b"" if places is None else np.asarray(places).tobytes())
        known = [dataset.update_digest(digest) for dataset in self.datasets]  # each counts, whatever one answers
        if not all(known):
            for index in self._probed():
                pixels = self.pixels(index, self.raw(index).image)
                digest.update(f"{tuple(pixels.shape)}{pixels.dtype}".encode())
                digest.update(pixels.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _probed(self) -> list[int]:
        return evenly(len(self), PROBED_ITEMS)

    def _value_range(self, first: Any) -> Range | None:
        needed = conversion.needs_range(first) or any(self._needs_range(index) for index in self._tried() if index)
        return conversion.value_range_of(list(self.probe())) if needed else None

    def _needs_range(self, index: int) -> bool:
        with suppress(AttributeError, TypeError, ValueError):  # no image: for whoever reads it
            return conversion.needs_range(self.raw(index).image)
        return False


def listed(names: Iterable[str]) -> str:
    """The first of a bank's classes, for an error."""
    return ", ".join(map(repr, islice(names, LISTED_NAMES)))
