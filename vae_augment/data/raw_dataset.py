"""A dataset that holds images itself: its raw items, its whole items, and its transforms applied to other images."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import TensorDataset

from vae_augment.data.copies import copied, without
from vae_augment.data.items import Sample, evenly, put_together, taken_apart
from vae_augment.data.labels import Naming, agreeing, as_array, differing, namings
from vae_augment.data.own_of_torchvision import encoded, is_torchvisions, reads_files, told_as_turned
from vae_augment.data.pixel_cache import Pixels
from vae_augment.data.stand_ins import (
    NAMES,
    TARGET_TRANSFORM,
    Call,
    finished,
    is_albumentations,
    is_property,
    read,
    replace,
    same_pixels,
)
from vae_augment.data.transform_calls import calls, set_aside
from vae_augment.exceptions import DataWarning, warn
from vae_augment.processes import callers_defaults

LABELS = ("targets", "labels", "_labels")
LOOKED_AT = 1_000  # files whose EXIF is looked at
TRIED_ITEMS = 32  # read twice: a random transform that changes every tenth image is missed once in 1,000 datasets


class RawDataset:
    """A dataset that holds images itself.

    Args:
        dataset: map-style. Not changed: the attribute `dataset` is a copy of it.
    """

    _pixels: Pixels | None = None
    _bare: Any = None  # copy without transforms, of a dataset that holds its images in one array
    _looked_at = 0  # files that were looked at for being turned

    def __init__(self, dataset: Any) -> None:
        self.dataset, self._unread = copied(dataset), copied(dataset)
        self._after: dict[str, Any] = {}  # transforms assigned later that the dataset does not call
        self._set_aside()
        if self._aside.trouble:
            warn(
                f"the transforms of {type(dataset).__name__} cannot be set aside; working on what it returns: "
                f"{self._aside.trouble}.",
                DataWarning,
            )
        self.stable = self._is_stable() and self._plain is not None  # else a later transform would change items
        self._alike = self._first_of_alike()
        self._bare = without(self.dataset, NAMES) if self._alike else None
        files = len(self.dataset) if reads_files(self._plain) else 0
        self._sizes = torch.zeros(files, 2, dtype=torch.int32).share_memory_()  # width and height, 0 while unknown
        with suppress(OSError):  # reading the item will raise it
            self._pixels = Pixels(files, self._size(0)) if files else None

    def _set_aside(self) -> None:
        known = is_torchvisions(self.dataset)
        self._aside = set_aside(self.dataset, self._tried_items(), known=known)
        self._plain = self._aside.dataset
        # Calls for each item of torchvision's datasets; None: not known.
        self._usual: tuple[Call, ...] | None = None if any(map(self.transform, NAMES)) else ()
        read_directly = known and (reads_files(self._plain) or hasattr(self._plain, "data"))
        for item in self._tried_items() if self._usual is None and read_directly else ():
            with suppress(OSError):  # reading the item will raise it
                made = self._aside.read(item).calls
                self._usual = tuple(call._replace(args=(None,) * len(call.args), result=None) for call in made)
                break

    def _tried_items(self) -> list[int]:
        """Items that are read to tell how the dataset calls its transforms: some of each class that a list tells of."""
        items = set(evenly(len(self), TRIED_ITEMS // 4)) if len(self) else set()
        for held in () if self.uniform else self._label_lists():
            with suppress(TypeError, ValueError, RuntimeError):  # no labels
                if len(held) == len(self):
                    items.update(np.unique(as_array(held), return_index=True)[1][: 2 * TRIED_ITEMS].tolist())
                    break
        return sorted(items)

    def copied(self) -> RawDataset:
        other = copy.copy(self)
        other.dataset, other._after = copied(self.dataset), dict(self._after)
        return other

    def __len__(self) -> int:
        return len(self.dataset)

    def raw(self, index: int) -> Sample:
        if self._bare is not None:
            return self._sample(*self._bare[index])
        if self._pixels is not None:
            image, target = self._pixels.get(index), self._plain.samples[index][1]
            if image is None:
                image, target = self._plain[index]
                self._pixels.put(index, image)
                if self._looked_at < LOOKED_AT:
                    self._looked_at = (
                        LOOKED_AT if told_as_turned(image, self.whereabouts(index)) else self._looked_at + 1
                    )
            return self._sample(image, target)
        return self._aside.read(index) if self._plain is not None else read(self.dataset, index)

    def blank(self, index: int) -> Sample:
        """`raw` item, but with blank or another item's pixels where reading its own takes time."""
        if self._alike is not None:
            image, labels = self._alike
            return self._sample(image, int(getattr(self._plain, labels)[index]))
        if not reads_files(self._plain) or self._usual is None:
            return self.raw(index)
        return self._sample(Image.new("RGB", self._size(index)), self._plain.samples[index][1])

    def _sample(self, image: Any, target: Any) -> Sample:
        """An item of torchvision's datasets, with the calls of transforms that it makes for any of them."""
        whole, calls = (image, target), []
        for name, transform, style, args, *_ in self._usual or ():
            calls.append(Call(name, transform, style, (target,) if name == TARGET_TRANSFORM else whole[: len(args)]))
        return Sample(image, target, whole, tuple(calls))

    def _size(self, index: int) -> tuple[int, int]:
        """Width and height of the image in a file."""
        width, height = self._sizes[index].tolist()
        if not (width and height):
            with Image.open(self._plain.samples[index][0]) as opened:
                width, height = opened.size
            self._sizes[index] = torch.tensor([width, height])
        return width, height

    def items(self, indices: list[int]) -> list[Any]:
        """Whole items, by the dataset's `__getitems__` if it has one. Files with cached pixels are not opened."""
        with callers_defaults():
            return self._items(indices)

    def _items(self, indices: list[int]) -> list[Any]:
        batched = getattr(type(self.dataset), "__getitems__", None)
        if batched:
            items = list(batched(self.dataset, indices))
        elif self._pixels is not None and self._pixels.kept:
            items = [finished(sample, sample.image) for sample in map(self.raw, indices)]
        else:
            items = [self.dataset[i] for i in indices]
        return [self._followed(item) for item in items] if self._after else items

    def finish(self, index: int, sample: Sample, image: Any) -> Any:
        """Put another image into a raw `sample`, through the transforms that its own image goes through."""
        item = finished(sample, image)
        return self._followed(item) if self._after else item

    def _followed(self, item: Any) -> Any:
        image, target, whole, _ = taken_apart(item, labelled=False)
        of_image, of_target = self._after.get("transform"), self._after.get("target_transform")
        if of_image is not None:
            image = of_image(image=image)["image"] if is_albumentations(of_image) else of_image(image)
        return put_together(whole, image, target if of_target is None else of_target(target))

    def transform(self, name: str) -> Any:
        """One of `NAMES`, or None."""
        return self._after.get(name, getattr(self.dataset, name, None))

    def set_transform(self, name: str, value: Any) -> None:
        """Replace one of `NAMES`. If the dataset never calls it, it is applied to what the dataset returns."""
        if value is not None and not callable(value):
            raise TypeError(f"{name} must be a function or None, got {value!r}.")
        held = getattr(self.dataset, name, None)
        # Setting a property may change another object.
        if not is_property(self.dataset, name) and calls(
            self.dataset, name, held if value is None else value, self._tried_items()
        ):
            self.dataset = copied(self._unread)  # without items that it has kept
            replace(self.dataset, name, value)
            self._unread = copied(self.dataset)
            self._set_aside()
        elif value is None:
            self._after.pop(name, None)
        else:
            self._after[name] = value

    @property
    def in_memory(self) -> bool:
        return self._alike is not None or isinstance(self.dataset, TensorDataset)

    def labels(self) -> Any:
        """Labels [N], from an attribute if one agrees with the items; else every item is read."""
        if not len(self.dataset):
            return np.empty(0, dtype=np.int64)
        held = self._held_labels()
        return [self.raw(i).target for i in range(len(self.dataset))] if held is None else held

    @property
    def labels_are_items(self) -> bool:
        """True if items cannot have other labels when they are read than those listed."""
        return isinstance(self.dataset, TensorDataset) or reads_files(self._plain)

    def _held_labels(self) -> Any:
        """Labels from an attribute that agrees with some items, which are read; None if there is none."""
        lists = self._label_lists()
        if reads_files(self._plain):
            return [target for _, target in self._plain.samples]  # torchvision's folders read these alone
        tried = evenly(len(self), 1 if self.uniform else TRIED_ITEMS)
        disputed = differing(lists, len(self), TRIED_ITEMS)
        return agreeing(lists, len(self), {i: self.raw(i).target for i in sorted({*tried, *disputed})})

    def _label_lists(self) -> list[Any]:
        """Attributes of the dataset that may hold its labels."""
        lists = [getattr(self.dataset, name, None) for name in LABELS]
        if isinstance(self.dataset, TensorDataset):
            lists += self.dataset.tensors[1:2]
        samples = getattr(self.dataset, "samples", None)
        if isinstance(samples, list) and all(isinstance(each, (tuple, list)) and len(each) == 2 for each in samples):
            lists.append([each[1] for each in samples])
        return [held for held in lists if hasattr(held, "__len__") and not isinstance(held, (str, bytes, Mapping))]

    @property
    def uniform(self) -> bool:
        """True for torchvision's own datasets, whose images are all of one kind."""
        return is_torchvisions(self.dataset)

    @property
    def classes(self) -> Any:
        """The dataset's own class names, if it has any."""
        return self._declared("classes")

    @property
    def namings(self) -> list[Naming]:
        """Names of labels that the dataset declares."""
        return namings(self._declared("class_to_idx"), self.classes)

    def _declared(self, name: str) -> Any:
        """An attribute of the dataset; None if it has none, or one that raises."""
        with suppress(Exception):  # of the dataset's own code
            return getattr(self.dataset, name, None)
        return None

    def whereabouts(self, index: int) -> str:
        files = self._files()
        return f"item {index}" if files is None else str(files[index])

    def file(self, index: int) -> Path | bytes | None:
        """File that an item's image is read from, or its bytes; None where the dataset does more than read one."""
        return encoded(self._plain, index)

    def names(self) -> list[str]:
        """Name of each item: of its file without the folder, or its number."""
        files = self._files()
        return [f"{i:06d}" for i in range(len(self.dataset))] if files is None else [Path(file).name for file in files]

    def _files(self) -> list[str | Path] | None:
        """File of each item, for a dataset with torchvision's `samples`."""
        samples = getattr(self.dataset, "samples", None)
        if not isinstance(samples, list) or len(samples) != len(self.dataset):  # some are repeated, or left out
            return None
        files = [each[0] if isinstance(each, tuple) and each else each for each in samples]
        return files if all(isinstance(file, (str, Path)) for file in files) else None

    def update_digest(self, digest: Any) -> bool:
        """Add the bytes of an array in memory, or names, sizes and times of files; False if there are neither."""
        in_tensors = isinstance(self.dataset, TensorDataset)
        data = self.dataset.tensors[0] if in_tensors else getattr(self.dataset, "data", None)
        if isinstance(data, Tensor):
            data = data.detach().cpu()
            data = (data.float() if data.dtype == torch.bfloat16 else data).numpy()
        if isinstance(data, np.ndarray) and data.ndim and data.dtype.kind in "biuf" and len(data) == len(self.dataset):
            digest.update(f"{data.shape}{data.dtype}".encode())
            digest.update(np.ascontiguousarray(data).data)
            return True
        files = self._files()
        if files is None or not all(Path(file).is_file() for file in files):
            return False
        root = str(getattr(self.dataset, "root", ""))  # left out: a folder may be named by several paths
        for path in files:
            stat, name = Path(path).stat(), str(path).removeprefix(root)
            digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode(errors="surrogateescape"))
        return True

    def _first_of_alike(self) -> tuple[Any, str] | None:
        """First image of torchvision's dataset of one array, whose images are all of one kind, and its labels' name."""
        data = getattr(self._plain, "data", None)
        if not (
            is_torchvisions(self.dataset)
            and isinstance(data, (np.ndarray, Tensor))
            and len(data) == len(self.dataset)
            and self.stable
        ):
            return None
        first, held = self.raw(0), [name for name in LABELS if hasattr(self._plain, name)]
        plain_pair = type(first.whole) is tuple and len(first.whole) == 2 and type(first.target) is int
        if not plain_pair or self._usual is None or len(held) != 1 or self._held_labels() is None:
            return None
        # A copy: it may be a view of the dataset's memory, which moves when it is pickled for a spawned worker.
        return copy.deepcopy(first.image), held[0]

    def _is_stable(self) -> bool:
        """Say if items are the same each time they are read."""
        if self._plain is not None and is_torchvisions(self.dataset):
            return True
        try:
            same = all(same_pixels(self.raw(i).image, self.raw(i).image) for i in evenly(len(self), TRIED_ITEMS))
        except (OSError, TypeError, ValueError):  # reading the item will raise it
            return False
        if not same:
            warn(
                f"items of {type(self.dataset).__name__} differ each time they are read: it transforms images at "
                "random in a way that cannot be set aside. Working on what it returns; better give it a `transform` "
                "attribute.",
                DataWarning,
            )
        return same
