"""A dataset's raw images and labels, and the user's transforms to apply to them afterwards."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from vae_augment.data.composed import parts_of
from vae_augment.data.items import ItemError, Sample, evenly, taken_apart
from vae_augment.data.labels import as_array, joined, names_by_label, namings, numbered, renumbered
from vae_augment.data.own_labels import OwnLabels
from vae_augment.data.part_labels import labelled_parts, numbered_parts
from vae_augment.data.raw_dataset import TRIED_ITEMS, RawDataset
from vae_augment.files.class_names import check_names
from vae_augment.images import conversion
from vae_augment.images.conversion import Range
from vae_augment.images.image_file import UnreadableImageError

PROBED_ITEMS = 1000  # items that tell the size, mode and range of all, and as a last resort the fingerprint
LISTED_NAMES = 20  # in an error
NAMED = ("class_to_idx", "classes")


class Source:
    """Raw samples, labels and transforms of one dataset, whatever it is wrapped in.

    Args:
        dataset: a map-style dataset of (image, label, ...) items, or of dicts (see vae_augment.data.items).
        labels: integers or names [N], in place of the dataset's own: then items need hold none.

    Raises:
        TypeError: an iterable dataset, or items that hold no image and label.
        ValueError: an empty dataset, labels that are not one integer or name per item, or class names that no bank
            can have.
    """

    def __init__(self, dataset: Dataset[Any], labels: Sequence[int | str] | Tensor | None = None) -> None:
        if isinstance(dataset, IterableDataset) and type(dataset).__getitem__ is Dataset.__getitem__:
            raise TypeError(
                f"dataset must have len() and indices, got the IterableDataset {type(dataset).__name__}. "
                "Collect its items into a list-like dataset first, or wrap it by VAEAugmentedIterable."
            )
        if isinstance(dataset, (str, Path)):
            raise TypeError(
                f"dataset must be a dataset, got {str(dataset)!r}. Open it: vae_augment.data.open_data(...)"
            )
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(f"dataset must have len() and indices, got {type(dataset).__name__}.")
        if isinstance(dataset, type):
            raise TypeError(f"dataset must be an object of the class {dataset.__name__}, got the class itself.")
        if isinstance(dataset, Mapping):
            raise TypeError(f"dataset must be one split of the {type(dataset).__name__}, for example data['train'].")
        self._parts = parts_of(dataset)
        if not len(self):
            raise ValueError("dataset must hold at least one image, got an empty one.")
        first = self.raw(0)
        conversion.as_tensor(first.image)  # raises if it is no image
        if labels is None:
            taken_apart(first.whole)  # raises if it holds no label
        # Names that a Subset or ConcatDataset was given by hand.
        declared = namings(*(vars(dataset).get(name) for name in NAMED)) if self._parts.composed else []
        given = self._own_labels() if labels is None else labels
        self._parts, given = labelled_parts(self._parts, given, declared)
        if labels is None:
            self._labels, unsure = numbered_parts(self._parts, given, declared, self.whereabouts)
        else:
            every = [*declared, *self.datasets[0].namings]
            self._labels, unsure = numbered(given, len(self), every, self.whereabouts), True
        names = {} if unsure or all(dataset.labels_are_items for dataset in self.datasets) else self._every_name()
        self._own = OwnLabels({name if self.by_name else label: name for label, name in names.items()})
        twice = [name for name, count in Counter(self.classes.values()).items() if count > 1]
        if twice:
            raise ValueError(f"each class needs a name of its own, got {twice[0]!r} more than once in dataset.classes.")
        check_names(self.classes.values())
        self.value_range = self._value_range(first.image)

    def __len__(self) -> int:
        return len(self._parts.place)

    @property
    def labels(self) -> Tensor:
        """int64 [N]."""
        return self._labels.values

    @property
    def classes(self) -> dict[int, str]:
        """Name of each label that occurs, in label order: the dataset's own name, else the label as text."""
        return self._labels.names

    @property
    def has_names(self) -> bool:
        """True if classes have names of their own."""
        return self._labels.have_names

    @property
    def all_classes(self) -> list[str]:
        """The dataset's own `classes`, those without images too; else the name of each label, in label order."""
        own = self.datasets[0].classes if len(self.datasets) == 1 and not self.by_name else None
        if isinstance(own, (list, tuple)) and own and all(isinstance(name, str) for name in own):
            return list(own)
        return [name for _, name in sorted(self._every_name().items())]

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Label of each class name, those without images too."""
        if self.by_name or not self._labels.naming:
            return {name: label for label, name in self._every_name().items()}
        return {name: label for label, name in self._labels.naming}

    def _every_name(self) -> dict[int, str]:
        declared = {} if self.by_name else names_by_label(self._labels.naming)
        return dict(sorted({**declared, **self.classes}.items()))

    @property
    def by_name(self) -> bool:
        """True if labels are names: then a class is known by its name, whatever its number."""
        return self._labels.are_names

    def number_as(self, known: Mapping[str, int], *, by_name: bool = False) -> None:
        """If labels are names, or `by_name`, number classes as a bank does; classes that it lacks follow its last."""
        if self.by_name or by_name:
            self._labels = renumbered(self._labels, known)

    def lacking_in(self, known: Mapping[str, int]) -> tuple[str, str] | None:
        """Text for a message on the first class that a bank lacks, and on the bank's classes; None if it has all."""
        lacking = sorted(set(self.classes) - set(known.values()))
        if not lacking:
            return None
        if self.by_name:
            return repr(self.classes[lacking[0]]), listed(known)
        return f"for label {lacking[0]} ({self.classes[lacking[0]]!r})", f"labels {sorted(known.values())}"

    def relabel(self, items: Sequence[int], targets: Iterable[Any]) -> list[int]:
        """Go by the labels that items themselves give where the dataset's list of labels says others.

        Args:
            items: indices.
            targets: label of each as it was read.

        Returns:
            Items whose labels changed.

        Raises:
            ValueError: an item has a label that no item has in the list.
        """
        read = zip(items, self.labels[list(items)].tolist(), targets, strict=True)
        changes = self._own.changes(read, self.classes, self.whereabouts)
        for item, label in changes.items():
            self.labels[item] = label
        return list(changes)

    def copied(self) -> Source:
        """Copy with transforms of its own."""
        source = copy.copy(self)
        source._parts = self._parts._replace(datasets=[dataset.copied() for dataset in self.datasets])
        return source

    @property
    def datasets(self) -> list[RawDataset]:
        """Datasets underneath, which hold the images."""
        return self._parts.datasets

    def _at(self, index: int) -> tuple[RawDataset, int]:
        """Dataset that holds item `index`, and the item's index in it."""
        datasets, owner, place, composed = self._parts
        if not composed:
            return datasets[0], index
        return datasets[0 if owner is None else owner[index]], int(place[index])

    def _own_labels(self) -> Any:
        """Labels [N] of the datasets underneath."""
        if not self._parts.composed:
            return self.datasets[0].labels()
        place, owner = self._parts.place, self._parts.owner
        if owner is None:
            return as_array(self.datasets[0].labels())[place]
        held = [as_array(dataset.labels()).reshape(len(dataset)) for dataset in self.datasets]
        firsts = np.cumsum([0, *map(len, self.datasets)])
        return joined(held)[firsts[owner] + place]

    def _tried(self) -> list[int]:
        """Items that are read to tell what each dataset is like."""
        owner = self._parts.owner
        tried = []
        for number, dataset in enumerate(self.datasets):
            own = range(len(self)) if owner is None else np.flatnonzero(owner == number)
            tried += [int(own[place]) for place in evenly(len(own), 1 if dataset.uniform else TRIED_ITEMS)]
        return tried

    @property
    def has_transforms(self) -> bool:
        """True if any image goes through a transform after it is read."""
        return any(part.transform(name) is not None for part in self.datasets for name in ("transform", "transforms"))

    @property
    def stable(self) -> bool:
        """True if a raw image is the same each time it is read."""
        return all(dataset.stable for dataset in self.datasets)

    @property
    def in_memory(self) -> bool:
        """True if images are arrays, which take next to no time to read."""
        return all(dataset.in_memory for dataset in self.datasets)

    def raw(self, index: int, *, blank: bool = False) -> Sample:
        """Item `index` without transforms; if `blank`, its pixels may be blank where reading them takes long.

        Raises:
            ItemError: the item holds no image.
        ValueError: the item cannot be read.
        """
        dataset, place = self._at(index)
        try:
            sample = dataset.blank(place) if blank else dataset.raw(place)
        except (OSError, UnreadableImageError) as error:
            raise ValueError(f"cannot read {self._of_class(index)}: {error}") from error
        except ItemError as error:
            raise ItemError(f"{self.whereabouts(index)}: {error}") from None
        if not isinstance(sample.image, conversion.IMAGES):
            kind = type(sample.image).__name__
            raise ItemError(
                f"{self.whereabouts(index)}: an image must be a PIL image, numpy array or tensor, got {kind}."
            )
        return sample

    def _of_class(self, index: int) -> str:
        """Name of an item in messages: its file, and its class once labels are known."""
        labels = getattr(self, "_labels", None)
        of_class = "" if labels is None else f" of class {labels.names[int(labels.values[index])]!r}"
        return f"{self.whereabouts(index)}{of_class}"

    def pixels(self, index: int, image: Any) -> Tensor:
        """Convert the raw image of item `index` by `to_tensor`. Raises ValueError that names item and class."""
        try:
            return conversion.to_tensor(image, self.value_range)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self._of_class(index)}: {error}") from error

    def finish(self, index: int, sample: Sample, image: Any) -> Any:
        """Put another image into the raw `sample` of item `index` and apply the item's transforms."""
        dataset, place = self._at(index)
        return dataset.finish(place, sample, image)

    def whereabouts(self, index: int) -> str:
        """Name of item `index` in messages: its file, if it has one."""
        dataset, place = self._at(index)
        return dataset.whereabouts(place)

    def names(self) -> list[str]:
        """Name of each item: of its file without the folder, or its number in the dataset that holds it."""
        names = {id(dataset): dataset.names() for dataset in self.datasets}
        return [names[id(dataset)][place] for dataset, place in map(self._at, range(len(self)))]

    def items(self, indices: list[int]) -> list[Any]:
        """Items as the user's dataset gives them, by its batched `__getitems__` if it has one."""
        if len(self.datasets) == 1:
            return self.datasets[0].items([self._at(index)[1] for index in indices])
        return [dataset.items([place])[0] for dataset, place in map(self._at, indices)]

    def batch_of_one(self) -> Any:
        """First item as the dataset gives it in a batch. Raises what the dataset raises if it gives none."""
        return self.datasets[0].dataset[[self._at(0)[1]]]

    @property
    def kind_of_targets(self) -> type | None:
        """Type of the `targets` of the dataset underneath, None if it has none."""
        targets = getattr(self.datasets[0].dataset, "targets", None)
        return next((kind for kind in (list, np.ndarray, Tensor) if isinstance(targets, kind)), None)

    def samples(self, items: Iterable[int]) -> list[Any]:
        """File and label of items, of a dataset with torchvision's `samples`. Raises AttributeError for others."""
        return [dataset.dataset.samples[place] for dataset, place in map(self._at, items)]

    def set_transform(self, name: str, value: Any) -> None:
        """Replace the "transform", "target_transform" or "transforms" of every dataset underneath."""
        for dataset in self.datasets:
            dataset.set_transform(name, value)

    def probe(self) -> Iterator[Any]:
        """Raw images of up to 1,000 evenly spaced items."""
        return (self.raw(index).image for index in evenly(len(self), PROBED_ITEMS))

    def fingerprint(self) -> str:
        """Hash of labels and images: of arrays in memory, of files' paths, sizes and times, or of some images."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(self.labels.numpy().tobytes())
        if self._parts.composed:
            for places in (self._parts.owner, self._parts.place):
                digest.update(b"" if places is None else np.asarray(places).tobytes())
        known = [dataset.update_digest(digest) for dataset in self.datasets]  # a list: each dataset must add its own
        if not all(known):
            for index in evenly(len(self), PROBED_ITEMS):
                pixels = self.pixels(index, self.raw(index).image)
                digest.update(f"{tuple(pixels.shape)}{pixels.dtype}".encode())
                digest.update(pixels.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _value_range(self, first: Any) -> Range | None:
        needed = conversion.needs_range(first) or any(self._needs_range(index) for index in self._tried() if index)
        return conversion.value_range_of(list(self.probe())) if needed else None

    def _needs_range(self, index: int) -> bool:
        with suppress(AttributeError, TypeError, ValueError):  # no image: reading it will raise
            return conversion.needs_range(self.raw(index).image)
        return False


def listed(names: Iterable[str]) -> str:
    """First classes of a bank, for an error."""
    return ", ".join(map(repr, islice(names, LISTED_NAMES)))
