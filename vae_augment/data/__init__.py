"""Open a dataset by name or by path."""

from __future__ import annotations

from pathlib import Path

from vae_augment.data.class_folders import open_folder
from vae_augment.data.opened import SAMPLE_SOURCE, OpenedData
from vae_augment.data.subsample import subsample
from vae_augment.data.torchvision_names import open_known, places, unknown
from vae_augment.data.torchvision_table import KNOWN
from vae_augment.download import DEFAULT_TIMEOUT

__all__ = ["KNOWN", "SAMPLE_SOURCE", "OpenedData", "open_data", "places", "subsample"]

PARTS = ("train", "test")


def open_data(
    name: str | Path, *, part: str = "train", root: str | Path | None = None, timeout: float = DEFAULT_TIMEOUT
) -> OpenedData:
    """Open one part of a torchvision dataset by name, or a folder of class folders.

    A name is looked up in `root` alone if it is given; else in $VAE_AUGMENT_DATA, ./data and torchvision's cache, and
    then downloaded into the last. MNIST that cannot be downloaded is replaced by a sample of 5,000 training and 1,000
    test images that comes with the package, with a `DataWarning`.

    Args:
        name: one of `KNOWN`, or a path. A folder whose "train" subfolder holds class folders stands for that, and as
            the test part for its "test" or "val" subfolder. Other folders are the same in both parts.
        part: "train" or "test".
        root: the folder that holds the dataset in torchvision's layout.
        timeout: seconds after which a download is given up.

    Raises:
        ValueError: an unknown name or part, a folder without class folders, or a folder or dataset with a training part
            alone that is asked for its test part.
        FileNotFoundError: no such path; no data in `root`, or none that can be opened.
        ConnectionError: the data is not on this machine and cannot be downloaded.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(map(repr, PARTS))}, got {part!r}.")
    key = str(name).lower()
    if key in KNOWN and not (isinstance(name, Path)):
        return open_known(key, part, root, timeout)
    path = Path(name)
    if path.is_dir():
        return open_folder(path, part)
    if path.exists():
        option = "--data" if part == "train" else "--test"
        raise ValueError(
            f"{option} must be a folder of class folders or one of {', '.join(KNOWN)}, got the file {path}."
        )
    looks_like_path = len(path.parts) > 1
    if looks_like_path:
        raise FileNotFoundError(f"no folder at {path}.")
    raise ValueError(unknown(str(name)))
