"""VAEBank: what it holds, its file, its policy, how it is matched with a dataset, and how items are made with it."""

from vae_augment.bank.bank import VAEBank

__all__ = ["VAEBank"]
