"""Categories of this package's warnings, for `warnings.filterwarnings`, and what gives them; errors; checks."""

from __future__ import annotations

import reprlib
import sys
import warnings
from importlib.util import find_spec
from numbers import Integral, Real
from typing import Any


class VAEAugmentWarning(UserWarning):
    """Any warning of this package."""


class DataWarning(VAEAugmentWarning):
    """Data is not used as given: images or names left out, a sample in place of a dataset, transforms kept."""


class LeakageWarning(VAEAugmentWarning):
    """A bank has seen images that it should not have, or test images are trained on: results may look too good."""


class FitWarning(VAEAugmentWarning):
    """A class, or the warm start, was not fitted as it should have been."""


class PolicyWarning(VAEAugmentWarning):
    """The bank's policy is not to augment."""


class CacheWarning(VAEAugmentWarning):
    """A result could not be kept on disk, or the kept one is damaged: the work is done again."""


class MissingExtraError(ImportError):
    """A package that an extra of this one brings is not installed; the message says how to install it."""


def warn(message: str, category: type[VAEAugmentWarning]) -> None:
    """Warn, pointing to the user's line: the innermost one outside this package and its functions' decorators."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None:
        module = frame.f_globals.get("__name__", "")
        if module.split(".")[0] != "vae_augment" and module not in ("contextlib", "torch.utils._contextlib"):
            break
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def check_extra(extra: str, what: str, *modules: str) -> None:
    """Raise MissingExtraError unless modules that an extra of this package brings are installed."""
    for module in modules:
        found = find_spec(module)
        if found is None or found.origin is None:  # a folder of that name is no package
            install = f'pip install "vae-augment[{extra}]"'
            raise MissingExtraError(f"{what} needs {module}, which is not installed: {install}.", name=module)


def check_number(
    name: str, value: Any, wanted: str, low: float = -sys.float_info.max, high: float = sys.float_info.max
) -> float:
    """A number from low to high as a float. NumPy's numbers are numbers; booleans and text are not.

    Raises:
        TypeError: it is no number.
        ValueError: it is not in the range, or NaN.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be {wanted}, got {reprlib.repr(value)}.")
    number = float(value)
    if not low <= number <= high:
        raise ValueError(f"{name} must be {wanted}, got {value}.")
    return number


def check_whole(name: str, value: Any, low: int = 0, high: int = 2**63 - 1) -> int:
    """A whole number from `low` to `high` as an int. Raises TypeError or ValueError as `check_number`."""
    wanted = f"a whole number of at least {low}{f' and at most {high:,}' if high < 2**63 - 1 else ''}"
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be {wanted}, got {reprlib.repr(value)}.")
    if not low <= int(value) <= high:
        raise ValueError(f"{name} must be {wanted}, got {value}.")
    return int(value)


def check_type(name: str, value: Any, kinds: type | tuple[type, ...], wanted: str) -> None:
    """Raise TypeError unless a value is of one of these types; `wanted` says in words what it must be."""
    if not isinstance(value, kinds):
        raise TypeError(f"{name} must be {wanted}, got {reprlib.repr(value)}.")
