"""Categories of this package's warnings, for `warnings.filterwarnings`, and `warn`, which gives them."""

from __future__ import annotations

import sys
import warnings


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


def warn(message: str, category: type[VAEAugmentWarning]) -> None:
    """Warn, pointing to the user's line: the innermost one outside this package and its functions' decorators."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None:
        module = frame.f_globals.get("__name__", "")
        if module.split(".")[0] != "vae_augment" and module not in ("contextlib", "torch.utils._contextlib"):
            break
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
