"""A dataset's transforms set aside: is it possible, and how does the dataset call them?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from vae_augment.data.items import Sample, taken_apart
from vae_augment.data.stand_ins import (
    NAMES,
    TARGET_TRANSFORM,
    Call,
    StandIn,
    copied,
    is_property,
    read,
    replace,
    same_pixels,
    stood_in,
)
from vae_augment.seeding import undrawn

logger = logging.getLogger(__name__)

READ_AGAIN = 8  # times that an item is read to tell a cache from a transform that is skipped at random ...
ITEMS_READ_AGAIN = 3  # ... and of how many items


class SetAside(NamedTuple):
    """A dataset with its transforms set aside.

    Args:
        dataset: copy that returns raw items; None if its transforms cannot be set aside.
        keeps: True if it keeps what it returned once, in itself: each raw item is read from a new copy.
        trouble: reason why synthetic images do not go through its transforms; "" if they do.
    """

    dataset: Any
    keeps: bool = False
    trouble: str = ""

    def read(self, index: int) -> Sample:
        """Raw item `index`, and the calls of transforms that the dataset made for it."""
        return read(copied(self.dataset) if self.keeps else self.dataset, index)


def set_aside(dataset: Any, items: Sequence[int], *, known: bool) -> SetAside:
    """Set a dataset's transforms aside.

    Items are read with transforms in place first: what a dataset keeps of them, in memory or on disk, is what it would
    have kept anyway.

    Args:
        dataset: the caller's, which is not changed.
        items: indices to try it on.
        known: True for torchvision's own datasets, which call their transforms for each item and keep nothing.
    """
    given = [name for name in NAMES if getattr(dataset, name, None) is not None]
    if not given or not items:
        return SetAside(copied(dataset))
    if any(is_property(dataset, name) or not callable(getattr(dataset, name)) for name in given):
        return SetAside(None, trouble="they are no functions that it holds")
    if known:
        return SetAside(stood_in(dataset, given))
    with undrawn():
        tried = stood_in(dataset, given, tries=True)
        twice = {item: [_tried(tried, item), _tried(tried, item)] for item in items}
        calls = [call for pair in twice.values() for each in pair for call in each or ()]
        if any(each is None for pair in twice.values() for each in pair):
            return SetAside(None, trouble="it works on what they return, or calls one twice")
        once = [item for item, (first, second) in twice.items() if _called(first) and not _called(second)]
        kept = [i for i in once[:ITEMS_READ_AGAIN] if not any(_called(_tried(tried, i)) for _ in range(READ_AGAIN))]
        if kept and not _called(_tried(stood_in(dataset, given, tries=True), kept[0])):
            return SetAside(None, trouble="it keeps what they returned")
        styles = {name: {call.style for call in calls if call.name == name} for name in given}
        if any(len(found) > 1 for found in styles.values()):
            return SetAside(None, trouble="it calls them in several ways")
        plain = stood_in(dataset, given, styles={name: next(iter(found), None) for name, found in styles.items()})
        aside = SetAside(plain, bool(kept), "" if _called(calls) else "it does not call them")
        return aside if all(_passes(aside, item) for item in items) else SetAside(None, trouble="it needs them")


def _tried(dataset: Any, item: int) -> tuple[Call, ...] | None:
    """Calls of transforms while an item is read; None if it does not hold the image that they returned."""
    try:
        sample = read(dataset, item)
        made = [call.image for call in sample.calls if call.name != TARGET_TRANSFORM]
        held = taken_apart(sample.whole).image
        return sample.calls if not made or (len(made) == 1 and same_pixels(made[0], held)) else None
    except Exception as error:  # of the dataset's own code; reading the item later raises it again
        logger.debug("item %d of %s: %s", item, type(dataset).__name__, error)
        return ()


def _called(calls: Sequence[Call] | None) -> bool:
    """Say if the image went through a transform."""
    return any(call.name != TARGET_TRANSFORM for call in calls or ())


def _passes(aside: SetAside, item: int) -> bool:
    """Say if an item without transforms holds the image that they would get."""
    try:
        sample = aside.read(item)
        return same_pixels(sample.image, taken_apart(sample.whole).image)
    except OSError:  # reading the item later raises it again
        return True
    except Exception as error:  # of the dataset's own code, which may need what its transforms return
        logger.debug("without the transforms of %s: %s", type(aside.dataset).__name__, error)
        return False


def calls(dataset: Any, name: str, value: Any, items: Sequence[int]) -> bool:
    """Say if a dataset would call another transform of that name for any of these items."""
    other = copied(dataset)
    with undrawn():
        replace(other, name, StandIn(name, value, tries=True))
        return any(call.name == name for item in items for call in _tried(other, item) or ())
