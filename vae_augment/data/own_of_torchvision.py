"""Datasets that torchvision itself reads: how they call their transforms is known, and that they keep no items."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torchvision
from PIL import Image
from torchvision.datasets import DatasetFolder
from torchvision.datasets.folder import default_loader

from vae_augment.data.pixel_cache import UPRIGHT, orientation
from vae_augment.data.readers.image_files import EncodedImages
from vae_augment.exceptions import DataWarning, warn


def is_torchvisions(dataset: Any) -> bool:
    """Say if torchvision or our MNIST sample reads the items, not a subclass that does more."""
    read = getattr(type(dataset), "__getitem__", None)
    if isinstance(dataset, DatasetFolder) and dataset.loader is not default_loader:
        return False
    plain = inspect.isfunction(read) and not hasattr(read, "__wrapped__")  # one that keeps items is another's
    return plain and str(getattr(read, "__module__", "")).startswith(("torchvision.datasets.", "vae_augment."))


def reads_files(folder: Any) -> bool:
    """Say if this is torchvision's folder of class folders with its default loader."""
    return (
        isinstance(folder, DatasetFolder)
        and type(folder).__getitem__ is DatasetFolder.__getitem__
        and folder.loader is default_loader
        and len(folder) == len(folder.samples)
        and torchvision.get_image_backend() == "PIL"
    )


def encoded(dataset: Any, index: int) -> Path | bytes | None:
    """File that the image of an item is read from, or its bytes; None for a dataset that does more than read one."""
    if isinstance(dataset, EncodedImages):
        return dataset.encoded(index)
    return Path(dataset.samples[index][0]) if reads_files(dataset) else None


def told_as_turned(image: Image.Image, file: str) -> bool:
    """Warn, and return True, if a file's EXIF says to turn it, which our own readers do and torchvision does not."""
    if orientation(image) in (None, UPRIGHT):
        return False
    warn(
        f"torchvision shows {file} as it is stored, though its EXIF says to turn it. A bank of the folder itself has "
        "upright images. Turn the files, or give the dataset a loader that does.",
        DataWarning,
    )
    return True
