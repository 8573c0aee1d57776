"""Categories of the warnings that this package gives, for `warnings.filterwarnings`; and how they are given."""

from __future__ import annotations

import sys
import warnings

DECORATORS = ("contextlib", "torch.utils._contextlib")  # of functions of ours: they stand between those and the caller


class VAEAugmentWarning(UserWarning):
    """Any of them."""


class DataWarning(VAEAugmentWarning):
    """Data is not used as it stands: images or names left out, a sample in place of a dataset, transforms kept."""


class LeakageWarning(VAEAugmentWarning):
    """A bank has seen other images than it should have, or test images are trained on: figures may look too good."""


class FitWarning(VAEAugmentWarning):
    """A class, or the warm start, was not fitted as it should have been."""


class PolicyWarning(VAEAugmentWarning):
    """The bank's policy is not to augment."""


class CacheWarning(VAEAugmentWarning):
    """Something could not be kept on disk, or what was kept is damaged; the work is done again."""


def warn(message: str, category: type[VAEAugmentWarning]) -> None:
    """Give a warning that points to the user's line: the innermost one outside this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_passed_over(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_passed_over(module: str) -> bool:
    return module.split(".")[0] == __name__.split(".")[0] or module in DECORATORS
