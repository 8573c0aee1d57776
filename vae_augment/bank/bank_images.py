"""The images of a dataset as a bank models them: its labels, its range of values, its size."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

from vae_augment.bank.bank import VAEBank
from vae_augment.bank.matching import number_by_name
from vae_augment.data.loading import common_shape
from vae_augment.data.source import Source
from vae_augment.images.conversion import common_range


def source_for(bank: VAEBank, dataset: Dataset[Any], *, resize: bool = False) -> Source:
    """A dataset's raw images and labels, numbered and scaled as the bank does; `load_images` reads them.

    Where the dataset has names of classes they are matched by name; see `matching.number_by_name`.

    Args:
        bank: what they are for.
        dataset: map-style, of (image, label) items.
        resize: take images of any size. By default only such as a fit with the bank's options would model at the
            bank's size: those that it was fitted on, and others of their size.

    Raises:
        TypeError: the dataset is iterable, or its items are not (image, label).
        ValueError: a class that the bank lacks, or images of another number of channels or of another size.
    """
    source = Source(dataset)
    number_by_name(bank, source)
    channels, height, width = common_shape(source, bank.config)
    own = "x".join(map(str, bank.image_shape[1:]))
    if channels != bank.image_shape[0]:
        raise ValueError(f"images must have {bank.image_shape[0]} channels as the bank's do, got {channels}.")
    if (height, width) != bank.image_shape[1:] and not resize:
        raise ValueError(
            f"images must be of the bank's size, {own}, or of one that a fit takes to that, got some that are modelled "
            f"at {height}x{width}. Resize them, or have it done with --resize (resize=True)."
        )
    source.value_range = common_range(source.value_range, bank.value_range)
    return source
