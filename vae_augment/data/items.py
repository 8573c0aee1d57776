"""Where an item of a dataset holds its image and its label: (image, label, ...) or {"image": ..., "label": ...}."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

# Of a dict's keys the first of these that it has, in this order.
IMAGE_KEYS = ("image", "img", "pixel_values", "images")
LABEL_KEYS = ("label", "labels", "target", "targets", "fine_label", "class")
SOURCE_KEY = "source"


class Sample(NamedTuple):
    """An item taken apart.

    Args:
        image: of the item.
        target: its label, as the dataset gives it.
        whole: the item itself.
    """

    image: Any
    target: Any
    whole: Any


def taken_apart(item: Any) -> Sample:
    """Find an item's image and label. Raises TypeError if it has none."""
    if isinstance(item, Mapping):
        image_key, label_key = key_of(item, IMAGE_KEYS), key_of(item, LABEL_KEYS)
        if image_key is None or label_key is None:
            raise TypeError(
                f"dataset items that are dicts must hold an image under one of {', '.join(IMAGE_KEYS)} and a label "
                f"under one of {', '.join(LABEL_KEYS)}, got the keys {', '.join(map(str, item))}."
            )
        return Sample(item[image_key], item[label_key], item)
    if not isinstance(item, (tuple, list)) or len(item) < 2:
        raise TypeError(f"dataset items must be (image, label) pairs or dicts, got {type(item).__name__}.")
    return Sample(item[0], item[1], item)


def put_together(whole: Any, image: Any, target: Any) -> Any:
    """An item like `whole` with another image and label."""
    if isinstance(whole, Mapping):
        item: Any = copy.copy(whole)
        item.update({key_of(whole, IMAGE_KEYS): image, key_of(whole, LABEL_KEYS): target})
        return item
    parts = [image, target, *whole[2:]]
    return type(whole)(*parts) if hasattr(whole, "_fields") else type(whole)(parts)


def with_source(item: Any, source: int) -> Any:
    """An item that also says where its image came from: last in a tuple, under "source" in a dict."""
    if isinstance(item, Mapping):
        return {**item, SOURCE_KEY: source}
    return (*item, source)


def evenly(count: int, most: int) -> list[int]:
    """Up to `most` of `count` items, evenly spaced, the first and the last among them."""
    items: list[int] = np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)).tolist()
    return items


def key_of(item: Mapping[Any, Any], names: tuple[str, ...]) -> str | None:
    """The first of `names` that a dict has."""
    return next((name for name in names if name in item), None)
