"""A dataset that holds images itself: its items raw, whole, and finished by its own transforms.

Nothing is changed in the caller's object: transforms are set aside on shallow copies (docs/design.md, decision 7).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
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
from torchvision.datasets.vision import StandardTransform
from torchvision.transforms import Compose, ToTensor

from vae_augment.sample import LABEL_KEYS, Sample, put_together, taken_apart

TRANSFORMS = ("transform", "target_transform", "transforms")
LABELS = ("targets", "labels", "_labels")
TRIED_ITEMS = 32  # are read twice: of a transform at random that changes one in ten, all but one in a thousand are seen
# How a dataset calls its transform: with the image, with the whole item, or as albumentations are called.
OF_IMAGE, OF_ITEM, BY_KEYWORD = "image", "item", "keyword"


class Leaf:
    """A dataset that holds images itself.

    Args:
        dataset: map-style. Not changed.
    """

    def __init__(self, dataset: Any) -> None:
        self.leaf = copy.copy(dataset)
        self._after: dict[str, Any] = {}  # transforms assigned later that the dataset itself does not call
        self._plain = _without_transforms(dataset)
        self._call = _Call(dataset)
        if self._plain is None:
            _warn(f"the transforms of {type(dataset).__name__} cannot be set aside; working on what it returns.")
        self.stable = self._is_stable()
        self._alike = self._first_of_alike()
        files = len(self.leaf) if _reads_files(self._plain) else 0
        self._sizes = torch.zeros(files, 2, dtype=torch.int32).share_memory_()  # width and height, 0 while not known

    def copied(self) -> Leaf:
        node = copy.copy(self)
        node.leaf, node._after = copy.copy(self.leaf), dict(self._after)
        return node

    def __len__(self) -> int:
        return len(self.leaf)

    def leaves(self) -> list[Leaf]:
        return [self]

    def raw(self, index: int) -> Sample:
        return taken_apart(self.leaf[index] if self._plain is None else self._plain[index])

    def blank(self, index: int) -> Sample:
        """Item `index` raw, but for its pixels where reading them takes time; another item's, or none."""
        if self._alike is not None:
            image, labels = self._alike
            target = int(labels[index])
            return Sample(image, target, (image, target))
        folder = self._plain
        if not _reads_files(folder):
            return self.raw(index)
        path, target = folder.samples[index]
        width, height = self._sizes[index].tolist()
        if not (width and height):
            with Image.open(path) as opened:
                width, height = opened.size
            self._sizes[index] = torch.tensor([width, height])
        image = Image.new("RGB", (width, height))
        return Sample(image, target, (image, target))

    def items(self, indices: list[int]) -> list[Any]:
        """Whole items, by the dataset's `__getitems__` where it has one."""
        batched = getattr(type(self.leaf), "__getitems__", None)
        items = list(batched(self.leaf, indices)) if batched else [self.leaf[i] for i in indices]
        return [self._followed(item) for item in items] if self._after else items

    def finish(self, index: int, sample: Sample, image: Any) -> Any:
        """A raw `sample` with another image, through the dataset's transforms."""
        item = self._finished(sample, image)
        return self._followed(item) if self._after else item

    def _finished(self, sample: Sample, image: Any) -> Any:
        if self._plain is None:
            return put_together(sample.whole, image, sample.target)
        tail = self.after_to_tensor() if isinstance(image, Tensor) and isinstance(sample.image, Image.Image) else None
        if tail is not None:
            for step in tail:
                image = step(image)
            of_target = getattr(self.leaf, "target_transform", None)
            return put_together(sample.whole, image, sample.target if of_target is None else of_target(sample.target))
        target, single = sample.target, getattr(self.leaf, "transform", None)
        if single is not None and self._call.style == OF_ITEM:
            return single(put_together(sample.whole, image, target))
        return put_together(sample.whole, *self._transformed(image, target))

    def after_to_tensor(self) -> list[Any] | None:
        """What follows torchvision's ToTensor, where the transform begins with one; else None.

        An image that is made as a tensor can go on from there, instead of becoming a PIL image first.
        """
        single = getattr(self.leaf, "transform", None)
        steps: list[Any] = single.transforms if isinstance(single, Compose) else [single]
        first = steps[0] if steps else None
        plain = self._plain is not None and self._call.style == OF_IMAGE
        return steps[1:] if type(first) is ToTensor and plain else None

    def _transformed(self, image: Any, target: Any) -> tuple[Any, Any]:
        single, of_target, joint = (getattr(self.leaf, name, None) for name in TRANSFORMS)
        if single is None and of_target is None and joint is not None:
            if isinstance(self.leaf, VisionDataset):  # torchvision's own takes both
                image, target = joint(image, target)
                return image, target
            single = joint
        if single is not None:
            image = self._call(single, image, target)
        return image, target if of_target is None else of_target(target)

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
        return self._after.get(name, getattr(self.leaf, name, None))

    def set_transform(self, name: str, value: Any) -> None:
        """Replace one of `TRANSFORMS`. The dataset calls it, or if it never would, it is called on what it returns."""
        called: list[bool] = []

        def watch(*args: Any, **keywords: Any) -> Any:
            called.append(True)
            return _passed_on(*args, **keywords)

        watched = copy.copy(self.leaf if self._plain is None else self._plain)
        _replace(watched, name, watch)
        with suppress(TypeError, AttributeError, KeyError, ValueError, OSError):  # what follows the call is no matter
            watched[0]
        if called:
            _replace(self.leaf, name, value)
        elif value is None:
            self._after.pop(name, None)
        else:
            self._after[name] = value

    @property
    def in_memory(self) -> bool:
        return self._alike is not None or isinstance(self.leaf, TensorDataset)

    def labels(self) -> Any:
        """The attribute that holds them, if it agrees with the first item; else every item is read."""
        held = self._held_labels()
        return [self.raw(i).target for i in range(len(self.leaf))] if held is None else held

    def _held_labels(self) -> Any:
        count, first = len(self.leaf), _as_int(self.raw(0).target)
        held = [getattr(self.leaf, name, None) for name in LABELS]
        if isinstance(self.leaf, TensorDataset):
            held.append(self.leaf.tensors[1])
        for labels in held:
            one_each = hasattr(labels, "__len__") and np.asarray(labels).size == count  # not QMNIST's eight columns
            if one_each and first is not None and _as_int(labels) == first:
                return labels
        return None

    @property
    def classes(self) -> Any:
        """The dataset's own class names, if it has any."""
        return getattr(self.leaf, "classes", None)

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
        """Add the bytes of an array in memory, or name, size and time of files; False if there are neither."""
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
        root = str(getattr(self.leaf, "root", ""))  # so that a folder is the same by whatever path it is named
        for path in files:
            stat = Path(path).stat()
            name = str(path).removeprefix(root)
            digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        return True

    def _first_of_alike(self) -> tuple[Any, np.ndarray[Any, Any]] | None:
        """An image of a torchvision dataset that holds all of them in one array, so alike in kind; and all labels."""
        data = getattr(self._plain, "data", None)
        if not (
            _is_torchvisions(self.leaf)
            and isinstance(data, (np.ndarray, Tensor))
            and len(data) == len(self.leaf)
            and self.stable
        ):
            return None
        labels, first = self._held_labels(), self.raw(0)
        plain_pair = type(first.whole) is tuple and len(first.whole) == 2 and type(first.target) is int
        if labels is None or not plain_pair:
            return None
        return first.image, np.asarray(labels).reshape(-1)

    def _is_stable(self) -> bool:
        """Whether an item is the same each time it is read."""
        if self._plain is not None and _is_torchvisions(self.leaf):
            return True
        count = len(self.leaf)
        try:
            tried = sorted({i * count // TRIED_ITEMS for i in range(TRIED_ITEMS)}) if count else []
            same = all(_same_pixels(self.raw(i).image, self.raw(i).image) for i in tried)
        except (OSError, TypeError, ValueError):  # for whoever reads the item to tell
            return False
        if not same:
            _warn(
                f"items of {type(self.leaf).__name__} differ each time they are read: it transforms images at random "
                "in a way that cannot be set aside. Working on what it returns; better give it a `transform` attribute."
            )
        return same


class _Call:
    """How a dataset calls its transform, found by watching it do so once."""

    def __init__(self, dataset: Any) -> None:
        self.style = OF_IMAGE
        self.label_key: str | None = None
        name = next((n for n in ("transform", "transforms") if getattr(dataset, n, None) is not None), None)
        if name is None or isinstance(getattr(type(dataset), name, None), property):
            return
        watched = copy.copy(dataset)
        for other in TRANSFORMS:
            if getattr(watched, other, None) is not None:
                setattr(watched, other, self._watch if other == name else None)
        with suppress(TypeError, AttributeError, KeyError, ValueError, OSError):  # what follows the call is no matter
            if len(watched):
                watched[0]

    def _watch(self, *args: Any, **keywords: Any) -> Any:
        if "image" in keywords:
            self.style = BY_KEYWORD
            self.label_key = next((key for key in LABEL_KEYS if key in keywords), None)
        elif len(args) == 1 and isinstance(args[0], (Mapping, tuple)):
            self.style = OF_ITEM
        return _passed_on(*args, **keywords)

    def __call__(self, transform: Any, image: Any, target: Any) -> Any:
        if self.style == BY_KEYWORD or _is_albumentations(transform):
            given = {"image": image} if self.label_key is None else {"image": image, self.label_key: target}
            return transform(**given)["image"]
        return transform(image)


def _passed_on(*args: Any, **keywords: Any) -> Any:
    """A transform that changes nothing, whichever way it is called."""
    if keywords:
        return keywords
    return args[0] if len(args) == 1 else args


def _replace(dataset: Any, name: str, value: Any) -> None:
    setattr(dataset, name, value)
    if isinstance(dataset, VisionDataset) and name != "transforms":  # torchvision's pair of the two
        dataset.transforms = StandardTransform(dataset.transform, dataset.target_transform)


def _without_transforms(dataset: Any) -> Any:
    """A copy that returns raw items, or None if its transforms cannot be told apart from it."""
    given = [name for name in TRANSFORMS if getattr(dataset, name, None) is not None]
    if any(isinstance(getattr(type(dataset), name, None), property) for name in given):
        return None  # setting it may reach into another object
    for instead in (None, _passed_on):
        plain = copy.copy(dataset)
        for name in given:
            setattr(plain, name, instead)
        try:
            if len(plain):
                taken_apart(plain[0])
            return plain
        except (TypeError, AttributeError):  # it calls its transform whatever that is
            if not given:
                return plain  # for whoever reads the item to tell
        except OSError:
            return plain
    return None


def _is_torchvisions(dataset: Any) -> bool:
    """Whether torchvision reads its items, or our own sample does: not a subclass that does more."""
    read = getattr(type(dataset), "__getitem__", None)
    return str(getattr(read, "__module__", "")).startswith(("torchvision.datasets.", "vae_augment."))


def _reads_files(folder: Any) -> bool:
    """Whether it is torchvision's folder of class folders, opened as torchvision does by default."""
    return (
        isinstance(folder, DatasetFolder)
        and type(folder).__getitem__ is DatasetFolder.__getitem__
        and folder.loader is default_loader
        and torchvision.get_image_backend() == "PIL"
    )


def _same_pixels(first: Any, second: Any) -> bool:
    a, b = np.asarray(first), np.asarray(second)
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def _is_albumentations(transform: Any) -> bool:
    return any(base.__module__.split(".")[0] == "albumentations" for base in type(transform).__mro__)


def _as_int(label: Any) -> int | None:
    """A label, or the first of several, as an integer if it is one."""
    array = np.asarray(label)
    return int(array.reshape(-1)[0]) if array.dtype.kind in "iu" and array.size else None


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=6)
