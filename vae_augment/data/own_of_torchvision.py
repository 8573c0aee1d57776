"""Datasets that torchvision itself reads: how they call their transforms is known, and that they keep no items."""

from __future__ import annotations

from typing import Any

import torchvision
from torchvision.datasets import DatasetFolder
from torchvision.datasets.folder import default_loader


def is_torchvisions(dataset: Any) -> bool:
    """Say if torchvision or our MNIST sample reads the items, not a subclass that does more."""
    read = getattr(type(dataset), "__getitem__", None)
    if isinstance(dataset, DatasetFolder) and dataset.loader is not default_loader:
        return False
    return str(getattr(read, "__module__", "")).startswith(("torchvision.datasets.", "vae_augment."))


def reads_files(folder: Any) -> bool:
    """Say if this is torchvision's folder of class folders with its default loader."""
    return (
        isinstance(folder, DatasetFolder)
        and type(folder).__getitem__ is DatasetFolder.__getitem__
        and folder.loader is default_loader
        and torchvision.get_image_backend() == "PIL"
    )
