"""VAEAugmentedDataset: which items become synthetic, and how a batch of them is made."""

from vae_augment.wrapper.dataset import VAEAugmentedDataset

__all__ = ["VAEAugmentedDataset"]
