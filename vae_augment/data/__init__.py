"""Datasets of any kind, opened by name or path; their raw items, and their transforms set aside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from vae_augment.config import MAX_PIXELS, MOST_PIXELS
from vae_augment.data.examined import Examined, examine
from vae_augment.data.opened import SAMPLE_SOURCE, OpenedData, Problem
from vae_augment.data.readers.arrays import open_npy, open_npz
from vae_augment.data.readers.arrow_tables import is_table_folder, open_parquet, open_table_folder
from vae_augment.data.readers.class_folders import open_folder, open_images
from vae_augment.data.readers.download import DEFAULT_TIMEOUT
from vae_augment.data.readers.listed_files import open_csv
from vae_augment.data.readers.torchvision_names import open_known, places, unknown
from vae_augment.data.readers.torchvision_table import KNOWN
from vae_augment.data.source import Source
from vae_augment.data.subsample import subsample
from vae_augment.data.unlabelled import Unlabelled

__all__ = [
    "KNOWN",
    "SAMPLE_SOURCE",
    "Examined",
    "OpenedData",
    "Problem",
    "examine",
    "open_data",
    "open_unlabelled",
    "places",
    "subsample",
]

PARTS = ("train", "test")
ON_ERROR = ("fail", "skip")
FILES: dict[str, Callable[[Path, str, str, int], OpenedData]] = {
    ".csv": open_csv,
    ".tsv": open_csv,
    ".npz": open_npz,
    ".npy": open_npy,
    ".parquet": open_parquet,
}


def open_unlabelled(images: Dataset[Any] | str | Path | None, beside: Source, seed: int) -> Unlabelled | None:
    """Images without labels beside a labelled dataset: a dataset of them, or what `open_data` opens; None: none."""
    if isinstance(images, (str, Path)):
        images = open_data(images, labelled=False).dataset
    return None if images is None else Unlabelled(images, beside, seed)


def open_data(
    name: str | Path,
    *,
    part: str = "train",
    root: str | Path | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    on_error: str = "fail",
    max_pixels: int = MAX_PIXELS,
    labelled: bool = True,
) -> OpenedData:
    """Open one part of a torchvision dataset by name, of a folder of class folders, or of a CSV, NumPy or Parquet file.

    A torchvision dataset is looked for in `root` only if that is given; else in $VAE_AUGMENT_DATA, ./data and
    torchvision's cache, and downloaded into the cache if it is in none of them. If MNIST cannot be downloaded, 5,000
    training and 1,000 test images that come with the package take its place, with a `DataWarning`.

    Example:
        >>> bank = fit(open_data("photos/labels.csv").dataset)

    Args:
        name: one of `KNOWN`, or a path. Of a folder whose "train" subfolder holds class folders, the parts are the
            subfolders "train" and "test" (or "val"); but without "test" and "val", and with another folder of images,
            "train" is a class. Of a table with a column "split", the parts are the rows of that split. Other folders
            and files are the same in both parts.
        part: "train" or "test".
        root: the folder that holds the dataset in torchvision's layout.
        timeout: seconds until a download is given up.
        on_error: "fail" to raise if anything cannot be opened, or "skip" to list it in the result's `problems`.
            Images are not decoded here: `examine` does that.
        max_pixels: largest width times height of an image that is decoded; torchvision's own datasets have no limit.
        labelled: False for images whose labels are not needed: then a folder may hold images in any folders, or in
            none.

    Raises:
        ValueError: an unknown name, part or kind of file; data that cannot be opened, wholly or, with "fail", in part;
            the test part of data that has none.
        FileNotFoundError: no such path; no data in `root`, or none that can be opened.
        ConnectionError: the data is not on this machine and cannot be downloaded.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(map(repr, PARTS))}, got {part!r}.")
    if on_error not in ON_ERROR:
        raise ValueError(f"on_error must be one of {', '.join(map(repr, ON_ERROR))}, got {on_error!r}.")
    if not 1 <= max_pixels <= MOST_PIXELS:
        raise ValueError(f"max_pixels must be in 1..{MOST_PIXELS:,}, got {max_pixels:,}.")
    if not str(name):
        raise ValueError("--data must name a dataset, a folder or a file, got ''.")
    key = str(name).lower()
    if key in KNOWN and not isinstance(name, Path):
        return open_known(key, part, root, timeout)
    path = Path(name)
    if path.is_dir() and not labelled and not is_table_folder(path):
        return open_images(path, on_error, max_pixels)
    if path.is_dir():
        opener = open_table_folder if is_table_folder(path) else open_folder
        return opener(path, part, on_error, max_pixels)
    reader = FILES.get(path.suffix.lower())
    if reader and path.is_file():
        return replace(reader(path, part, on_error, max_pixels), ending=path.suffix)
    if path.exists():
        option = "--data" if part == "train" else "--test"
        raise ValueError(
            f"{option} must be a folder of class folders, a file that ends in {', '.join(FILES)}, or a torchvision "
            f"name such as mnist; got the file {path}."
        )
    if reader or len(path.parts) > 1:
        raise FileNotFoundError(f"no {'file' if reader else 'folder'} at {path}.")
    raise ValueError(unknown(str(name)))
