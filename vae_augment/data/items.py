"""Image and label of a dataset's item, which is (image, label, ...) or {"image": ..., "label": ...}.

Where labels are given beside the dataset, or none are wanted, an item may also be an image alone, or hold no label.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vae_augment.config import MIN_SIDE
from vae_augment.images.conversion import IMAGES

# The first of these keys that a dict has holds its image or label.
IMAGE_KEYS = ("image", "img", "pixel_values", "images", "jpg", "jpeg", "png", "webp")  # the last are webdataset's
LABEL_KEYS = ("label", "labels", "target", "targets", "fine_label", "class", "cls")


class ItemError(TypeError):
    """An item that holds no image, or no label where one is needed."""


class Sample(NamedTuple):
    """An item taken apart.

    Args:
        image: the item's image.
        target: the item's label, as the dataset gives it; None if it holds none.
        whole: the item itself.
        calls: calls of transforms that the dataset made for it (vae_augment.data.transform_calls), in order.
    """

    image: Any
    target: Any
    whole: Any
    calls: tuple[Any, ...] = ()


def taken_apart(item: Any, *, labelled: bool = True) -> Sample:
    """Find an item's image and label. Raises ItemError if it lacks the image, or, where it is `labelled`, the label."""
    if isinstance(item, Mapping):
        image_key, label_key = key_of(item, IMAGE_KEYS), key_of(item, LABEL_KEYS)
        if image_key is not None and label_key is None and not labelled:
            return Sample(item[image_key], None, item)
        if image_key is None or label_key is None:
            raise ItemError(
                f"dataset items that are dicts must hold an image under one of {', '.join(IMAGE_KEYS)} and a label "
                f"under one of {', '.join(LABEL_KEYS)}, got the keys {', '.join(map(str, item))}."
            )
        return Sample(item[image_key], item[label_key], item)
    if not labelled and isinstance(item, IMAGES):
        return Sample(item, None, item)
    if not labelled and isinstance(item, tuple) and len(item) == 1 and isinstance(item[0], Tensor):
        return Sample(item[0], None, item)  # of a TensorDataset of images alone
    if not isinstance(item, (tuple, list)) or len(item) < 2:
        raise ItemError(f"dataset items must be (image, label) pairs or dicts, got {type(item).__name__}.")
    return Sample(item[0], item[1], item)


def put_together(whole: Any, image: Any, target: Any) -> Any:
    """Make an item like `whole` with another image and, if it holds one, another label."""
    if isinstance(whole, Mapping):
        item: Any = copy.copy(whole)
        item.update({key_of(whole, IMAGE_KEYS): image})
        if label := key_of(whole, LABEL_KEYS):
            item.update({label: target})
        return item
    if isinstance(whole, IMAGES):
        return image
    parts = [image, target, *whole[2:]][: len(whole)]
    return type(whole)(*parts) if hasattr(whole, "_fields") else type(whole)(parts)


def with_source(item: Any, source: int) -> Any:
    """Add the source of its image to an item: last in a tuple, under "source" in a dict."""
    if isinstance(item, Mapping):
        return {**item, "source": source}
    if isinstance(item, IMAGES):
        return item, source
    return (*item, source)


def holds_other_images(sample: Sample) -> bool:
    """Say if an item holds another image beside its own, such as a mask or a second view."""
    whole = () if isinstance(sample.whole, IMAGES) else sample.whole
    own = (key_of(whole, IMAGE_KEYS), key_of(whole, LABEL_KEYS)) if isinstance(whole, Mapping) else ()
    others = [whole[key] for key in whole if key not in own] if isinstance(whole, Mapping) else whole[2:]
    return any(
        isinstance(part, Image.Image)
        or (isinstance(part, (np.ndarray, Tensor)) and part.ndim >= 2 and min(part.shape[-2:]) >= MIN_SIDE)
        for part in others
    )


def batched(items: list[Any], like: Any) -> Any:
    """Items as one batch, in which each part is a tensor, an array or a list, as in the batch `like`."""
    if isinstance(like, Mapping):
        return {key: _column([item[key] for item in items], like.get(key, [])) for key in (items or [like])[0]}
    if not isinstance(like, (tuple, list)):
        raise TypeError(f"items must be read one by one, since base_ds gives no batch but {type(like).__name__}.")
    parts = list(zip(*items, strict=True)) or [()] * len(like)
    likes = [*like, *[like[-1]] * (len(parts) - len(like))]  # further parts, as return_source adds one
    return type(like)(_column(list(part), each) for part, each in zip(parts, likes, strict=True))


def _column(values: list[Any], like: Any) -> Any:
    if isinstance(like, Tensor):
        return torch.stack([torch.as_tensor(value) for value in values]) if values else like[:0]
    return np.stack(values) if isinstance(like, np.ndarray) and values else values


def evenly(count: int, most: int) -> list[int]:
    """Indices of up to `most` of `count` items, evenly spaced from the first to the last."""
    items: list[int] = np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)).tolist()
    return items


def key_of(item: Mapping[Any, Any], names: tuple[str, ...]) -> str | None:
    """First of `names` that is a key of a dict."""
    return next((name for name in names if name in item), None)
