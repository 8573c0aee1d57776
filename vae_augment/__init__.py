"""Augment small image datasets with one variational autoencoder per class.

Names resolve on first use (PEP 562), so ``import vae_augment`` loads neither torch nor anything else heavy.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "FitConfig",
    "VAEAugmentedDataset",
    "VAEAugmentedIterable",
    "VAEBank",
    "augment",
    "evaluate",
    "export",
    "fit",
]

if TYPE_CHECKING:
    from vae_augment.bank import VAEBank
    from vae_augment.config import FitConfig
    from vae_augment.evaluation import evaluate
    from vae_augment.exporting import augment, export
    from vae_augment.fitting import fit
    from vae_augment.wrapper import VAEAugmentedDataset, VAEAugmentedIterable

_HOME = {
    "FitConfig": "config",
    "VAEAugmentedDataset": "wrapper",
    "VAEAugmentedIterable": "wrapper",
    "VAEBank": "bank",
    "augment": "exporting",
    "evaluate": "evaluation",
    "export": "exporting",
    "fit": "fitting",
}

logging.getLogger(__name__).addHandler(logging.NullHandler())  # quiet, unless whoever uses it asks for its log


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'vae_augment' has no attribute {name!r}")
    return getattr(import_module(f"vae_augment.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
