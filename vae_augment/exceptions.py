"""Categories of the warnings that this package gives, for `warnings.filterwarnings`."""

from __future__ import annotations


class VAEAugmentWarning(UserWarning):
    """Any of them."""


class DataWarning(VAEAugmentWarning):
    """Data is not used as it stands: images left out, a sample in place of a dataset, transforms not set aside."""


class LeakageWarning(VAEAugmentWarning):
    """A bank was fitted on other data than it is used with, so that figures may look better than they are."""


class FitWarning(VAEAugmentWarning):
    """A class, or the warm start, was not fitted as it should have been."""


class PolicyWarning(VAEAugmentWarning):
    """The bank's policy is not to augment."""


class CacheWarning(VAEAugmentWarning):
    """Something could not be kept on disk, or what was kept is damaged; the work is done again."""
