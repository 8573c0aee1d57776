"""Folders with a folder of images for each class, as a whole or divided into parts."""

from __future__ import annotations

import logging
from pathlib import Path

from vae_augment.data.opened import OpenedData

TEST_FOLDERS = ("test", "val")  # beside "train"; the first that there is

logger = logging.getLogger(__name__)


def open_folder(path: Path, part: str) -> OpenedData:
    from torchvision.datasets import ImageFolder

    folder = _part_of(path, part)
    if folder != path:
        logger.info("using the part %s", folder)
    try:
        return OpenedData(ImageFolder(str(folder)), path.resolve().name, "folder")
    except FileNotFoundError as error:
        reason = str(error).split(". Supported")[0].rstrip(".")
        raise ValueError(f"{folder} must hold one folder of images per class: {reason}.") from None


def _part_of(path: Path, part: str) -> Path:
    """The subfolder that is a part of the data; the folder itself if it is not divided into parts."""
    if not _holds_folders(path / "train"):
        return path
    if part == "train":
        return path / "train"
    for name in TEST_FOLDERS:
        if _holds_folders(path / name):
            return path / name
    raise ValueError(f"{path} must hold a folder {' or '.join(TEST_FOLDERS)} of class folders beside train, got none.")


def _holds_folders(path: Path) -> bool:
    return path.is_dir() and any(child.is_dir() for child in path.iterdir())
