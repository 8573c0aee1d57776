"""VAEBank: what it holds, its file, its policy, and how it is matched with a dataset."""

from vae_augment.bank.bank import VAEBank

__all__ = ["VAEBank"]
