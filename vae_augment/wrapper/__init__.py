"""VAEAugmentedDataset: choose which items become synthetic, and make a batch of them."""

from vae_augment.wrapper.dataset import VAEAugmentedDataset

__all__ = ["VAEAugmentedDataset"]
