"""A dataset's transforms set aside, and how it calls them: found by a transform in their place that changes nothing.

The dataset is the caller's own: only copies of it are changed, and its code may raise anything.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import VisionDataset
from torchvision.datasets.vision import StandardTransform

from vae_augment.data.items import LABEL_KEYS, taken_apart

logger = logging.getLogger(__name__)

TRANSFORMS = ("transform", "target_transform", "transforms")
# A dataset calls its transform with the image, with image and label, with the whole item, or by keywords.
OF_IMAGE, OF_PAIR, OF_ITEM, BY_KEYWORD = "image", "pair", "item", "keyword"


class Call:
    """The style in which a dataset calls its transform, found by watching one call."""

    def __init__(self) -> None:
        self.style = OF_IMAGE
        self.label_key: str | None = None
        self.made = False

    def observe(self, dataset: Any, name: str) -> Any:
        """Watch how `dataset`, which is not changed, calls its transform of that name.

        Returns:
            The image that the transform got, or None. It may be a view of the dataset's memory, which moves when it is
            pickled for a spawned worker, so the image must not be kept.
        """
        seen: list[Any] = []
        watched = _copied(dataset)
        try:
            for other in TRANSFORMS:
                if getattr(watched, other, None) is not None:
                    setattr(watched, other, None)
            replace(watched, name, partial(self._watch, seen))
            if len(watched):
                watched[0]
        except Exception as error:  # of the dataset's own code
            logger.debug("watching %s of %s: %s", name, type(dataset).__name__, error)
        return seen[-1] if seen else None

    def _watch(self, seen: list[Any], /, *args: Any, **keywords: Any) -> Any:
        self.made = True
        image = keywords.get("image", args[0] if args else None)
        if "image" in keywords:
            self.style = BY_KEYWORD
            self.label_key = next((key for key in LABEL_KEYS if key in keywords), None)
        elif len(args) == 2:
            self.style = OF_PAIR
        elif len(args) == 1 and isinstance(args[0], (Mapping, tuple)):
            self.style = OF_ITEM
            image = taken_apart(args[0]).image
        seen.append(image)
        return _passed_on(*args, **keywords)

    def __call__(self, transform: Any, image: Any, target: Any) -> Any:
        if self.style == BY_KEYWORD or _is_albumentations(transform):
            given = {"image": image} if self.label_key is None else {"image": image, self.label_key: target}
            return transform(**given)["image"]
        return transform(image)


def _passed_on(*args: Any, **keywords: Any) -> Any:
    """Transform that changes nothing, in any style of call."""
    if keywords:
        return keywords
    return args[0] if len(args) == 1 else args


def _copied(dataset: Any) -> Any:
    """Shallow copy with its own containers, in which a dataset may keep transformed items."""
    copied = copy.copy(dataset)
    for name, value in list(getattr(copied, "__dict__", {}).items()):
        if type(value) in (dict, list, set):
            copied.__dict__[name] = value.copy()
    return copied


def replace(dataset: Any, name: str, value: Any) -> None:
    setattr(dataset, name, value)
    if isinstance(dataset, VisionDataset) and name != "transforms":  # torchvision keeps both in it
        dataset.transforms = StandardTransform(dataset.transform, dataset.target_transform)


def is_property(dataset: Any, name: str) -> bool:
    return isinstance(getattr(type(dataset), name, None), property)


def set_aside(dataset: Any) -> tuple[Any, Call]:
    """Copy that returns raw items (None if transforms cannot be set aside), and how the dataset calls its transform."""
    given = [name for name in TRANSFORMS if getattr(dataset, name, None) is not None]
    call, image = Call(), None
    if any(is_property(dataset, name) or not callable(getattr(dataset, name)) for name in given):
        return None, call
    name = next((name for name in ("transform", "transforms") if name in given), None)
    if name is not None:
        image = call.observe(dataset, name)
    plain = _without_transforms(dataset, given)
    # If the dataset changes an image after its transform, that would now happen before it.
    if call.made and plain is not None and len(plain) and not same_pixels(image, taken_apart(plain[0]).image):
        return None, call
    return plain, call


def _without_transforms(dataset: Any, given: list[str]) -> Any:
    if not given:
        return _copied(dataset)
    for instead in (None, _passed_on):
        try:
            plain = _copied(dataset)
            for name in given:
                setattr(plain, name, instead)
            if len(plain):
                taken_apart(plain[0])
            return plain
        except OSError:  # reading the item will raise it
            return plain
        except Exception as error:  # of the dataset's own code, which may call even None
            logger.debug("without the transforms of %s: %s", type(dataset).__name__, error)
    return None


def same_pixels(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.dtype == second.dtype and torch.equal(first.nan_to_num(), second.nan_to_num())
    a, b = np.asarray(first), np.asarray(second)
    alike = isinstance(first, Image.Image) == isinstance(second, Image.Image)
    return alike and a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _is_albumentations(transform: Any) -> bool:
    return any(base.__module__.split(".")[0] == "albumentations" for base in type(transform).__mro__)
