"""Anybody's dataset, opened by name or path, seen raw, its transforms set aside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vae_augment.config import MAX_PIXELS, MOST_PIXELS
from vae_augment.data.examined import Examined, examine
from vae_augment.data.opened import SAMPLE_SOURCE, OpenedData, Problem
from vae_augment.data.readers.arrays import open_npy, open_npz
from vae_augment.data.readers.arrow_tables import is_table_folder, open_parquet, open_table_folder
from vae_augment.data.readers.class_folders import open_folder
from vae_augment.data.readers.download import DEFAULT_TIMEOUT
from vae_augment.data.readers.listed_files import open_csv
from vae_augment.data.readers.torchvision_names import open_known, places, unknown
from vae_augment.data.readers.torchvision_table import KNOWN
from vae_augment.data.subsample import subsample

__all__ = [
    "KNOWN",
    "SAMPLE_SOURCE",
    "Examined",
    "OpenedData",
    "Problem",
    "examine",
    "open_data",
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


def open_data(
    name: str | Path,
    *,
    part: str = "train",
    root: str | Path | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    on_error: str = "fail",
    max_pixels: int = MAX_PIXELS,
) -> OpenedData:
    """Open one part of a torchvision dataset by name; a folder of class folders; or a CSV, NumPy or Parquet file.

    A name is looked up in `root` alone if it is given; else in $VAE_AUGMENT_DATA, ./data and torchvision's cache, and
    then downloaded into the last. MNIST that cannot be downloaded is replaced by a sample of 5,000 training and 1,000
    test images that comes with the package, with a `DataWarning`.

    Example:
        >>> bank = fit(open_data("photos/labels.csv").dataset)

    Args:
        name: one of `KNOWN`, or a path. A folder whose "train" subfolder holds class folders stands for that, and as
            the test part for its "test" or "val" subfolder; a table with a column "split" for the rows of a part. Other
            folders and files are the same in both parts.
        part: "train" or "test".
        root: the folder that holds the dataset in torchvision's layout.
        timeout: seconds after which a download is given up.
        on_error: "fail" where anything cannot be opened, or "skip" it and say so in the `problems` of what is returned.
            Images are not decoded here: `examine` does that.
        max_pixels: width times height of the largest image that is decoded, for data that is no torchvision dataset.

    Raises:
        ValueError: an unknown name, part or kind of file; data that cannot be opened, wholly or, with "fail", in part;
            a folder or dataset with a training part alone that is asked for its test part.
        FileNotFoundError: no such path; no data in `root`, or none that can be opened.
        ConnectionError: the data is not on this machine and cannot be downloaded.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(map(repr, PARTS))}, got {part!r}.")
    if on_error not in ON_ERROR:
        raise ValueError(f"on_error must be one of {', '.join(map(repr, ON_ERROR))}, got {on_error!r}.")
    if not 1 <= max_pixels <= MOST_PIXELS:
        raise ValueError(f"max_pixels must be in 1..{MOST_PIXELS:,}, got {max_pixels:,}.")
    key = str(name).lower()
    if key in KNOWN and not (isinstance(name, Path)):
        return open_known(key, part, root, timeout)
    path = Path(name)
    if path.is_dir():
        opener = open_table_folder if is_table_folder(path) else open_folder
        return opener(path, part, on_error, max_pixels)
    if path.is_file() and path.suffix.lower() in FILES:
        return replace(FILES[path.suffix.lower()](path, part, on_error, max_pixels), ending=path.suffix)
    if path.exists():
        option = "--data" if part == "train" else "--test"
        raise ValueError(
            f"{option} must be a folder of class folders, a file that ends in {', '.join(FILES)}, or a torchvision "
            f"name such as mnist; got the file {path}."
        )
    looks_like_path = len(path.parts) > 1 or path.suffix.lower() in FILES
    if looks_like_path:
        kind = "file" if path.suffix.lower() in FILES else "folder"
        raise FileNotFoundError(f"no {kind} at {path}.")
    raise ValueError(unknown(str(name)))
