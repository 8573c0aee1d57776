"""Copies of a caller's dataset, which may be changed where the dataset itself may not."""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

OWN = (dict, list, set, deque, bytearray)
GENERATORS = (random.Random, np.random.Generator, np.random.RandomState)


def copied(dataset: Any) -> Any:
    """Shallow copy with its own containers, in which a dataset may keep items, and its own generators.

    The dataset itself if it cannot be copied.
    """
    other = _copied(dataset)
    for name, value in list(getattr(other, "__dict__", {}).items()) if other is not dataset else ():
        with suppress(Exception):  # of anybody's subclass
            if isinstance(value, OWN):
                other.__dict__[name] = copy.copy(value)
            elif isinstance(value, GENERATORS):
                other.__dict__[name] = copy.deepcopy(value)
    return other


def _copied(dataset: Any) -> Any:
    """Shallow copy without calling the dataset's own code, which may leave something out when it is copied."""
    kind = type(dataset)
    if not hasattr(kind, "__copy__"):
        with suppress(TypeError):  # a class made in C, such as a list
            other = object.__new__(kind)
            for name in {name for base in kind.__mro__ for name in _slots(base)}:
                with suppress(AttributeError):
                    object.__setattr__(other, name, object.__getattribute__(dataset, name))
            if hasattr(dataset, "__dict__"):
                other.__dict__.update(dataset.__dict__)
            return other
    with suppress(Exception):  # of the dataset's own code
        return copy.copy(dataset)
    return dataset


def _slots(kind: type) -> Sequence[str]:
    slots = kind.__dict__.get("__slots__", ())
    names = [slots] if isinstance(slots, str) else slots
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def without(dataset: Any, names: Sequence[str]) -> Any:
    """Copy of one of torchvision's datasets whose attributes of these names are None."""
    other = copied(dataset)
    for name in names:
        if getattr(other, name, None) is not None:
            object.__setattr__(other, name, None)
    return other
