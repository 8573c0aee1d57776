"""The same augmentation of arrays, as a sampler in imbalanced-learn's terms."""

from vae_augment.exceptions import check_extra

check_extra("report", "VAESampler", "sklearn")

from vae_augment.sklearn.sampler import VAESampler  # noqa: E402

__all__ = ["VAESampler"]
