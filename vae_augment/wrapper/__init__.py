"""VAEAugmentedDataset: which of a dataset's items become synthetic, and where its bank comes from."""

from vae_augment.wrapper.dataset import VAEAugmentedDataset
from vae_augment.wrapper.iterable import VAEAugmentedIterable

__all__ = ["VAEAugmentedDataset", "VAEAugmentedIterable"]
