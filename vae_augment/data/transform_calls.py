"""A dataset's transforms set aside: is it possible, and how does the dataset call them?"""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from torchvision.datasets import VisionDataset

from vae_augment.data.copies import OWN, copied
from vae_augment.data.items import Sample, taken_apart
from vae_augment.data.stand_ins import (
    NAMES,
    TARGET_TRANSFORM,
    TRANSFORMS,
    Call,
    NotSeparateError,
    StandIn,
    is_property,
    read,
    replace,
    same_pixels,
    stood_in,
)
from vae_augment.seeding import undrawn

logger = logging.getLogger(__name__)

READ_AGAIN = 12  # times that an item is read to tell a cache from a transform that is skipped at random
READ_OFTEN = 4  # times that two items are read, for datasets that keep what is read often


class SetAside(NamedTuple):
    """A dataset with its transforms set aside.

    Args:
        dataset: copy that returns raw items; None if its transforms cannot be set aside.
        unread: the same, of which no item was ever read: a read of it is from a new copy.
        keeps: True if it keeps in itself what it returned: each raw item is read from a new copy.
        always: True if it calls its transforms for every item that was tried.
        trouble: reason why synthetic images do not go through its transforms; "" if they do.
    """

    dataset: Any
    unread: Any = None
    keeps: bool = False
    always: bool = False
    trouble: str = ""

    def read(self, index: int) -> Sample:
        """Raw item `index`, and the calls of transforms that the dataset made for it."""
        if not self.keeps:
            sample = read(self.dataset, index)
            if not self.always or _called(sample.calls):
                return sample
        return read(copied(self.unread), index)  # else it may be one that was kept since


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
    try:
        if known:
            return SetAside(stood_in(dataset, given))
        with undrawn():
            return _looked_at(dataset, given, items)
    except NotSeparateError:
        return SetAside(None, trouble="it cannot be copied")


def _looked_at(dataset: Any, given: Sequence[str], items: Sequence[int]) -> SetAside:
    """Look how a dataset calls its transforms for some items, and set them aside if that can be done."""
    tried = stood_in(dataset, given, tries=True)
    reads: list[tuple[Call, ...] | None] = []
    kept = []
    for number, item in enumerate(items):
        own = [_tried(tried, item) for _ in range(READ_OFTEN if number < 2 else 2)]
        reads += own
        if _called(own[0]) and not _called(own[-1]):
            again = any(_called(_tried(tried, item)) for _ in range(READ_AGAIN))
            kept += [] if again else [item]
    if None in reads:
        return SetAside(None, trouble="it works on what they return, or calls one twice")
    calls = [call for each in reads for call in each or ()]
    styles = {name: {call.style for call in calls if call.name == name} for name in given}
    always, called = all(map(_called, reads)), _called(calls)
    results = [reference for call in calls if (reference := _reference(call)) is not None]
    blank = bool(kept) and _kept_in_blank(tried, dataset)
    if kept and not (blank and _called(_tried(stood_in(dataset, given, tries=True), kept[0]))):
        return SetAside(None, trouble="it keeps what they returned")
    del tried, reads, calls, own
    if _any_alive(results):  # in an object that its copies share
        return SetAside(None, trouble="it keeps what they returned")
    if any(len(found) > 1 for found in styles.values()):
        return SetAside(None, trouble="it calls them in several ways")
    chosen = {name: next(iter(found), None) for name, found in styles.items()}
    plain, unread = (stood_in(dataset, given, styles=chosen) for _ in range(2))
    trouble = "" if called or {*given} == {TARGET_TRANSFORM} else "it does not call them"
    aside = SetAside(plain, unread, bool(kept), always, trouble)
    return aside if all(_passes(aside, item) for item in items) else SetAside(None, trouble="it needs them")


def _kept_in_blank(tried: Any, dataset: Any) -> bool:
    """Say if what a copy keeps lies in containers of its own that hold nothing in the dataset itself."""
    before = getattr(dataset, "__dict__", {})
    changed = [
        before[name]
        for name, held in getattr(tried, "__dict__", {}).items()
        if isinstance(held, OWN) and name in before and _contents(held) != _contents(before[name])
    ]
    return bool(changed) and all(value is None for held in changed for value in held)


def _contents(held: Any) -> list[int]:
    return [id(value) for value in (held.values() if isinstance(held, dict) else held)]


def _reference(call: Call) -> weakref.ref[Any] | None:
    """Weak reference to a transform's result; None if that is what it was given, or cannot be referred to."""
    with suppress(Exception):  # of anybody's transforms
        if call.name != TARGET_TRANSFORM and call.image is not call.given[0]:
            return weakref.ref(call.image)
    return None


def _any_alive(references: Sequence[weakref.ref[Any]]) -> bool:
    if any(reference() is not None for reference in references):
        gc.collect()
    return any(reference() is not None for reference in references)


def _tried(dataset: Any, item: int) -> tuple[Call, ...] | None:
    """Calls of transforms while an item is read; None if it does not hold the image that they returned."""
    try:
        sample = read(dataset, item)
        made = [call.image for call in sample.calls if call.name != TARGET_TRANSFORM]
        held = taken_apart(sample.whole, labelled=False).image
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
        return same_pixels(sample.image, taken_apart(sample.whole, labelled=False).image)
    except OSError:  # reading the item later raises it again
        return True
    except Exception as error:  # of the dataset's own code, which may need what its transforms return
        logger.debug("without the transforms of %s: %s", type(aside.dataset).__name__, error)
        return False


def calls(dataset: Any, name: str, value: Any, items: Sequence[int]) -> bool:
    """Say if a dataset would call another transform of that name for any of these items."""
    other = copied(dataset)
    with undrawn():
        try:
            replace(other, name, StandIn(name, value, tries=True), of=dataset)
        except NotSeparateError:
            return False
        if isinstance(other, VisionDataset) and name != TRANSFORMS:
            replace(other, name, getattr(other, name))
        return any(call.name == name for item in items for call in _tried(other, item) or ())
