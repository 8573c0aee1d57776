"""A dataset that holds images itself: its raw items, its whole items, and its transforms applied to other images.

The caller's object is not changed: transforms are set aside on shallow copies (docs/design.md, decision 7).
"""

from __future__ import annotations

import copy
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor
from torch.utils.data import TensorDataset
from torchvision.datasets import DatasetFolder, VisionDataset
from torchvision.datasets.folder import default_loader
from torchvision.transforms import Compose, ToTensor

from vae_augment.data.items import Sample, evenly, put_together, taken_apart
from vae_augment.data.labels import agreeing
from vae_augment.data.pixel_cache import Pixels
from vae_augment.data.transform_calls import (
    OF_IMAGE,
    OF_ITEM,
    OF_PAIR,
    TRANSFORMS,
    Call,
    is_property,
    replace,
    same_pixels,
    set_aside,
)
from vae_augment.exceptions import DataWarning, warn

LABELS = ("targets", "labels", "_labels")
TRIED_ITEMS = 32  # read twice: a random transform that changes every tenth image is missed once in 1,000 datasets


class RawDataset:
    """A dataset that holds images itself.

    Args:
        dataset: map-style. Not changed.
    """

    _pixels: Pixels | None = None

    def __init__(self, dataset: Any) -> None:
        self._dataset = copy.copy(dataset)
        self._after: dict[str, Any] = {}  # transforms assigned later that the dataset does not call
        self._plain, self._call = set_aside(dataset)
        if self._plain is None:
            warn(
                f"the transforms of {type(dataset).__name__} cannot be set aside; working on what it returns.",
                DataWarning,
            )
        self.stable = self._is_stable() and self._plain is not None  # else a later transform would change items
        self._alike = self._first_of_alike()
        files = len(self._dataset) if _reads_files(self._plain) else 0
        self._sizes = torch.zeros(files, 2, dtype=torch.int32).share_memory_()  # width and height, 0 while unknown
        with suppress(OSError):  # reading the item will raise it
            self._pixels = Pixels(files, self._size(0)) if files else None

    def copied(self) -> RawDataset:
        other = copy.copy(self)
        other._dataset, other._after = copy.copy(self._dataset), dict(self._after)
        return other

    def __len__(self) -> int:
        return len(self._dataset)

    def raw(self, index: int) -> Sample:
        if self._pixels is not None:
            image, target = self._pixels.get(index), self._plain.samples[index][1]
            if image is None:
                image, target = self._plain[index]
                self._pixels.put(index, image)
            return Sample(image, target, (image, target))
        return taken_apart(self._dataset[index] if self._plain is None else self._plain[index])

    def blank(self, index: int) -> Sample:
        """`raw` item, but with blank or another item's pixels where reading its own takes time."""
        if self._alike is not None:
            image, labels = self._alike
            target = int(labels[index])
            return Sample(image, target, (image, target))
        folder = self._plain
        if not _reads_files(folder):
            return self.raw(index)
        image, target = Image.new("RGB", self._size(index)), folder.samples[index][1]
        return Sample(image, target, (image, target))

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
        batched = getattr(type(self._dataset), "__getitems__", None)
        if batched:
            items = list(batched(self._dataset, indices))
        elif self._pixels is not None and self._pixels.kept:
            items = [self._finished(sample, sample.image) for sample in map(self.raw, indices)]
        else:
            items = [self._dataset[i] for i in indices]
        return [self._followed(item) for item in items] if self._after else items

    def finish(self, index: int, sample: Sample, image: Any) -> Any:
        """Put another image into a raw `sample` and apply the dataset's transforms."""
        item = self._finished(sample, image)
        return self._followed(item) if self._after else item

    def _finished(self, sample: Sample, image: Any) -> Any:
        if self._plain is None:
            return put_together(sample.whole, image, sample.target)
        single, of_target, joint = (getattr(self._dataset, name, None) for name in TRANSFORMS)
        target, style = sample.target, self._call.style
        if single is None and of_target is None and joint is not None:
            single, style = joint, OF_PAIR if isinstance(self._dataset, VisionDataset) else style
        if single is not None and style == OF_ITEM:
            return single(put_together(sample.whole, image, target if of_target is None else of_target(target)))
        tail = self.after_to_tensor() if isinstance(image, Tensor) and isinstance(sample.image, Image.Image) else None
        if tail is not None:
            for step in tail:
                image = step(image)
        elif single is not None and style == OF_PAIR:
            image, target = single(image, target)
        elif single is not None:
            image = self._call(single, image, target)
        return put_together(sample.whole, image, target if of_target is None else of_target(target))

    def after_to_tensor(self) -> list[Any] | None:
        """Steps after torchvision's ToTensor if the transform begins with it; else None.

        A synthetic image, which is a tensor, can go on from there without becoming a PIL image first.
        """
        single = getattr(self._dataset, "transform", None)
        steps: list[Any] = [single]
        if single is not None and type(single) is Compose:  # a subclass may do more
            steps = single.transforms
        first = steps[0] if steps else None
        plain = self._plain is not None and self._call.style == OF_IMAGE
        return steps[1:] if type(first) is ToTensor and plain else None

    def _followed(self, item: Any) -> Any:
        image, target, whole = taken_apart(item)
        of_image, of_target = self._after.get("transform"), self._after.get("target_transform")
        return put_together(
            whole,
            image if of_image is None else self._call(of_image, image, target),
            target if of_target is None else of_target(target),
        )

    def transform(self, name: str) -> Any:
        """One of `TRANSFORMS`, or None."""
        return self._after.get(name, getattr(self._dataset, name, None))

    def set_transform(self, name: str, value: Any) -> None:
        """Replace one of `TRANSFORMS`. If the dataset never calls it, it is applied to what the dataset returns."""
        call = Call()
        if not is_property(self._dataset, name):  # setting it may change another object
            call.observe(self._dataset if self._plain is None else self._plain, name)
        if call.made:
            replace(self._dataset, name, value)
            if name != "target_transform":
                self._call = call
        elif value is None:
            self._after.pop(name, None)
        else:
            self._after[name] = value

    @property
    def in_memory(self) -> bool:
        return self._alike is not None or isinstance(self._dataset, TensorDataset)

    def labels(self) -> Any:
        """Labels [N], from an attribute if one agrees with the items; else every item is read."""
        if not len(self._dataset):
            return np.empty(0, dtype=np.int64)
        held = self._held_labels()
        return [self.raw(i).target for i in range(len(self._dataset))] if held is None else held

    def _held_labels(self) -> Any:
        """Labels from an attribute that agrees with some items, which are read; None if there is none."""
        held = [getattr(self._dataset, name, None) for name in LABELS]
        if isinstance(self._dataset, TensorDataset):
            held.append(self._dataset.tensors[1])
        return agreeing(
            held,
            len(self._dataset),
            {i: self.raw(i).target for i in evenly(len(self), 1 if self.uniform else TRIED_ITEMS)},
        )

    @property
    def uniform(self) -> bool:
        """True for torchvision's own datasets, whose images are all of one kind."""
        return _is_torchvisions(self._dataset)

    @property
    def classes(self) -> Any:
        """The dataset's own class names, if it has any."""
        return getattr(self._dataset, "classes", None)

    def whereabouts(self, index: int) -> str:
        files = self._files()
        return f"item {index}" if files is None else str(files[index])

    def names(self) -> list[str]:
        """Name of each item: of its file without the folder, or its number."""
        files = self._files()
        return [f"{i:06d}" for i in range(len(self._dataset))] if files is None else [Path(file).name for file in files]

    def _files(self) -> list[str | Path] | None:
        """File of each item, for a dataset with torchvision's `samples`."""
        samples = getattr(self._dataset, "samples", None)
        if not isinstance(samples, list):
            return None
        files = [s[0] if isinstance(s, tuple) and s else s for s in samples]
        return files if all(isinstance(file, (str, Path)) for file in files) else None

    def update_digest(self, digest: Any) -> bool:
        """Add the bytes of an array in memory, or names, sizes and times of files; False if there are neither."""
        data = getattr(self._dataset, "data", None)
        if isinstance(self._dataset, TensorDataset):
            data = self._dataset.tensors[0]
        if isinstance(data, Tensor):
            data = data.detach().cpu()
            data = (data.float() if data.dtype == torch.bfloat16 else data).numpy()
        if isinstance(data, np.ndarray) and data.ndim and data.dtype.kind in "biuf" and len(data) == len(self._dataset):
            digest.update(f"{data.shape}{data.dtype}".encode())
            digest.update(np.ascontiguousarray(data).data)
            return True
        files = self._files()
        if files is None or not all(Path(file).is_file() for file in files):
            return False
        root = str(getattr(self._dataset, "root", ""))  # left out: a folder may be named by several paths
        for path in files:
            stat = Path(path).stat()
            name = str(path).removeprefix(root)
            digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode(errors="surrogateescape"))
        return True

    def _first_of_alike(self) -> tuple[Any, np.ndarray[Any, Any]] | None:
        """First image and all labels of a torchvision dataset that holds its images in one array, all of one kind."""
        data = getattr(self._plain, "data", None)
        if not (
            _is_torchvisions(self._dataset)
            and isinstance(data, (np.ndarray, Tensor))
            and len(data) == len(self._dataset)
            and self.stable
        ):
            return None
        labels, first = self._held_labels(), self.raw(0)
        plain_pair = type(first.whole) is tuple and len(first.whole) == 2 and type(first.target) is int
        if labels is None or not plain_pair:
            return None
        # Copies: both may be views of the dataset's memory, which moves when it is pickled for a spawned worker.
        return copy.deepcopy(first.image), np.array(labels)

    def _is_stable(self) -> bool:
        """Say if items are the same each time they are read."""
        if self._plain is not None and _is_torchvisions(self._dataset):
            return True
        try:
            same = all(same_pixels(self.raw(i).image, self.raw(i).image) for i in evenly(len(self), TRIED_ITEMS))
        except (OSError, TypeError, ValueError):  # reading the item will raise it
            return False
        if not same:
            warn(
                f"items of {type(self._dataset).__name__} differ each time they are read: it transforms images at "
                "random in a way that cannot be set aside. Working on what it returns; better give it a `transform` "
                "attribute.",
                DataWarning,
            )
        return same


def _is_torchvisions(dataset: Any) -> bool:
    """Say if torchvision or our MNIST sample reads the items, not a subclass that does more."""
    read = getattr(type(dataset), "__getitem__", None)
    if isinstance(dataset, DatasetFolder) and dataset.loader is not default_loader:
        return False
    return str(getattr(read, "__module__", "")).startswith(("torchvision.datasets.", "vae_augment."))


def _reads_files(folder: Any) -> bool:
    """Say if this is torchvision's folder of class folders with its default loader."""
    return (
        isinstance(folder, DatasetFolder)
        and type(folder).__getitem__ is DatasetFolder.__getitem__
        and folder.loader is default_loader
        and torchvision.get_image_backend() == "PIL"
    )
