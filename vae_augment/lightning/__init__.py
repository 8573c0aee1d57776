"""The epoch of a Trainer of Lightning for wrapped datasets."""

from vae_augment.lightning.epochs import SetEpoch

__all__ = ["SetEpoch"]
