"""SetEpoch: without it a seeded dataset repeats the same augmentation in each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from torch.utils.data import ConcatDataset, Subset

from vae_augment.wrapper import VAEAugmentedDataset, VAEAugmentedIterable


def _callback() -> Any:
    """Lightning's Callback, of whichever of its two packages is installed."""
    for package in ("lightning.pytorch", "pytorch_lightning"):
        try:
            return import_module(package).Callback
        except ModuleNotFoundError as error:
            if error.name not in ("lightning", package):
                raise
    raise ImportError("vae_augment.lightning needs Lightning: pip install lightning.")


if TYPE_CHECKING:
    Base = object
else:
    Base = _callback()


class SetEpoch(Base):
    """Tell the wrapped datasets and streams of the training loaders the Trainer's epoch, as epochs begin.

    Only one with a seed needs it. After a resume in the middle of training, batches that worker processes have
    fetched before the first epoch begins are those of epoch 0.

    Example:
        >>> trainer = Trainer(callbacks=[SetEpoch()])
    """

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        for dataset in _wrapped(trainer.train_dataloader):
            dataset.set_epoch(trainer.current_epoch)


def _wrapped(loaders: Any) -> Iterator[VAEAugmentedDataset | VAEAugmentedIterable]:
    """The wrapped datasets of a loader, or of several in lists, dicts or a CombinedLoader; in a Subset too."""
    if isinstance(loaders, (VAEAugmentedDataset, VAEAugmentedIterable)):
        yield loaders
    elif isinstance(loaders, Mapping):
        yield from _wrapped(list(loaders.values()))
    elif isinstance(loaders, (list, tuple)):
        for loader in loaders:
            yield from _wrapped(loader)
    elif isinstance(loaders, ConcatDataset):
        yield from _wrapped(loaders.datasets)
    elif hasattr(loaders, "flattened"):  # a CombinedLoader
        yield from _wrapped(loaders.flattened)
    elif isinstance(loaders, Subset) or hasattr(loaders, "dataset"):
        yield from _wrapped(loaders.dataset)
