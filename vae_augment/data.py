"""Open a dataset by name or by path."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset, Subset

from vae_augment.download import DEFAULT_TIMEOUT, download
from vae_augment.seeding import generator
from vae_augment.source import Source

SAMPLE_SOURCE = "bundled sample"
PARTS = ("train", "test")
TEST_FOLDERS = ("test", "val")  # beside "train"; the first that there is

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """A torchvision dataset: its class and the options that choose its training part and its test part."""

    class_name: str
    train: dict[str, Any]
    test: dict[str, Any]

    def options(self, part: str) -> dict[str, Any]:
        """Those of its part "train" or "test"."""
        return self.train if part == "train" else self.test


KNOWN = {
    "mnist": Known("MNIST", {"train": True}, {"train": False}),
    "fashion-mnist": Known("FashionMNIST", {"train": True}, {"train": False}),
    "kmnist": Known("KMNIST", {"train": True}, {"train": False}),
    "qmnist": Known("QMNIST", {"what": "train"}, {"what": "test"}),
    "emnist": Known("EMNIST", {"split": "balanced", "train": True}, {"split": "balanced", "train": False}),
    "usps": Known("USPS", {"train": True}, {"train": False}),
    "cifar10": Known("CIFAR10", {"train": True}, {"train": False}),
    "cifar100": Known("CIFAR100", {"train": True}, {"train": False}),
    "svhn": Known("SVHN", {"split": "train"}, {"split": "test"}),
    "stl10": Known("STL10", {"split": "train"}, {"split": "test"}),
}


@dataclass(frozen=True)
class OpenedData:
    """A dataset and where it came from.

    Args:
        dataset: of (PIL image, int) items.
        name: "mnist", or the folder's name.
        source: "torchvision", "folder" or `SAMPLE_SOURCE`.
    """

    dataset: Dataset[Any]
    name: str
    source: str


def open_data(
    name: str | Path, *, part: str = "train", root: str | Path | None = None, timeout: float = DEFAULT_TIMEOUT
) -> OpenedData:
    """Open one part of a torchvision dataset by name, or a folder of class folders.

    A name is looked up in `root` alone if it is given; else in $VAE_AUGMENT_DATA, ./data and torchvision's cache, and
    then downloaded into the last. MNIST that cannot be downloaded is replaced by a sample of 5,000 training and 1,000
    test images that comes with the package, with a warning in the log.

    Args:
        name: one of `KNOWN`, or a path. A folder whose "train" subfolder holds class folders stands for that, and as
            the test part for its "test" or "val" subfolder. Other folders are the same in both parts.
        part: "train" or "test".
        root: the folder that holds the dataset in torchvision's layout.
        timeout: seconds after which a download is given up.

    Raises:
        ValueError: an unknown name or part, a folder without class folders, or one with a training part alone that is
            asked for its test part.
        FileNotFoundError: no such path; no data in `root`.
        ConnectionError: the data is not on this machine and cannot be downloaded.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(map(repr, PARTS))}, got {part!r}.")
    key = str(name).lower()
    if key in KNOWN and not (isinstance(name, Path)):
        return _open_known(key, part, root, timeout)
    path = Path(name)
    if path.is_dir():
        return _open_folder(path, part)
    if path.exists():
        option = "--data" if part == "train" else "--test"
        raise ValueError(
            f"{option} must be a folder of class folders or one of {', '.join(KNOWN)}, got the file {path}."
        )
    looks_like_path = len(path.parts) > 1
    if looks_like_path:
        raise FileNotFoundError(f"no folder at {path}.")
    raise ValueError(f"unknown dataset {str(name)!r}: name a folder of class folders, or one of {', '.join(KNOWN)}.")


def _open_known(key: str, part: str, root: str | Path | None, timeout: float) -> OpenedData:
    known = KNOWN[key]
    if root is not None:
        dataset = _try_open(known, part, Path(root))
        if dataset is None:
            raise FileNotFoundError(
                f"no {known.class_name} in {root}: expected torchvision's layout below it. "
                "Leave the root out to look elsewhere and to download."
            )
        return OpenedData(dataset, key, "torchvision")
    for place in places():
        dataset = _try_open(known, part, place)
        if dataset is not None:
            return OpenedData(dataset, key, "torchvision")
    logger.info("downloading %s to %s", known.class_name, places()[-1])
    try:
        download(known.class_name, known.options(part), places()[-1], timeout)
        dataset = _try_open(known, part, places()[-1])
        if dataset is None:
            raise ConnectionError("the download left nothing that torchvision can open")
    except ConnectionError as error:
        return _instead(key, part, error)
    return OpenedData(dataset, key, "torchvision")


def _instead(key: str, part: str, error: ConnectionError) -> OpenedData:
    if key != "mnist":
        raise ConnectionError(
            f"{key} is not on this machine and cannot be downloaded ({error}). "
            "Put it in torchvision's layout into a folder and name that as the root."
        ) from None
    from vae_augment.mnist_sample import MNISTSample

    logger.warning(
        "MNIST is not on this machine and cannot be downloaded. Using the sample that comes with vae-augment instead: "
        "%s images. Results will be worse than with all of MNIST. Reason: %s",
        "5,000 of its 60,000 training" if part == "train" else "1,000 of its 10,000 test",
        error,
    )
    return OpenedData(MNISTSample(train=part == "train"), "mnist", SAMPLE_SOURCE)


def places() -> list[Path]:
    """Folders that are searched for torchvision datasets; downloads go into the last."""
    named = os.environ.get("VAE_AUGMENT_DATA")
    return [*([Path(named)] if named else []), Path("data"), Path(torch.hub._get_torch_home()) / "datasets"]


def _try_open(known: Known, part: str, root: Path) -> Dataset[Any] | None:
    import torchvision

    try:
        opener = getattr(torchvision.datasets, known.class_name)
        return opener(str(root), download=False, **known.options(part))  # type: ignore[no-any-return]
    except (RuntimeError, FileNotFoundError):  # torchvision's ways to say that nothing is there
        return None


def _open_folder(path: Path, part: str) -> OpenedData:
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


def subsample(dataset: Dataset[Any], count: int, seed: int) -> Subset[Any]:
    """A random `count` of each class's images, in the dataset's order; all of a class that has fewer."""
    source = Source(dataset)
    chosen = []
    for label, name in source.classes.items():
        items = (source.labels == label).nonzero()[:, 0]
        if len(items) < count:
            logger.info("class %r has only %d images, all are used", name, len(items))
        order = torch.randperm(len(items), generator=generator(seed, "per class", name))
        chosen.append(items[order[:count]])
    return Subset(dataset, torch.cat(chosen).sort().values.tolist())
