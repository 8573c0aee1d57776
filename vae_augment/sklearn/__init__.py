"""The same augmentation of arrays, as a sampler in imbalanced-learn's terms."""

from vae_augment.sklearn.sampler import VAESampler

__all__ = ["VAESampler"]
