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

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """A torchvision dataset: its class and the options that choose its training part."""

    class_name: str
    options: dict[str, Any]


KNOWN = {
    "mnist": Known("MNIST", {"train": True}),
    "fashion-mnist": Known("FashionMNIST", {"train": True}),
    "kmnist": Known("KMNIST", {"train": True}),
    "qmnist": Known("QMNIST", {"what": "train"}),
    "emnist": Known("EMNIST", {"split": "balanced", "train": True}),
    "usps": Known("USPS", {"train": True}),
    "cifar10": Known("CIFAR10", {"train": True}),
    "cifar100": Known("CIFAR100", {"train": True}),
    "svhn": Known("SVHN", {"split": "train"}),
    "stl10": Known("STL10", {"split": "train"}),
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


def open_data(name: str | Path, *, root: str | Path | None = None, timeout: float = DEFAULT_TIMEOUT) -> OpenedData:
    """Open the training part of a torchvision dataset by name, or a folder of class folders.

    A name is looked up in `root` alone if it is given; else in $VAE_AUGMENT_DATA, ./data and torchvision's cache, and
    then downloaded into the last. MNIST that cannot be downloaded is replaced by a sample of 5,000 images that
    comes with the package, with a warning in the log.

    Args:
        name: one of `KNOWN`, or a path. A folder whose "train" subfolder holds class folders stands for that.
        root: the folder that holds the dataset in torchvision's layout.
        timeout: seconds after which a download is given up.

    Raises:
        ValueError: an unknown name, or a folder without class folders.
        FileNotFoundError: no such path; no data in `root`.
        ConnectionError: the data is not on this machine and cannot be downloaded.
    """
    key = str(name).lower()
    if key in KNOWN and not (isinstance(name, Path)):
        return _open_known(key, root, timeout)
    path = Path(name)
    if path.is_dir():
        return _open_folder(path)
    if path.exists():
        raise ValueError(f"--data must be a folder of class folders or one of {', '.join(KNOWN)}, got the file {path}.")
    looks_like_path = len(path.parts) > 1
    if looks_like_path:
        raise FileNotFoundError(f"no folder at {path}.")
    raise ValueError(f"unknown dataset {str(name)!r}: name a folder of class folders, or one of {', '.join(KNOWN)}.")


def _open_known(key: str, root: str | Path | None, timeout: float) -> OpenedData:
    known = KNOWN[key]
    if root is not None:
        dataset = _try_open(known, Path(root))
        if dataset is None:
            raise FileNotFoundError(
                f"no {known.class_name} in {root}: expected torchvision's layout below it. "
                "Leave the root out to look elsewhere and to download."
            )
        return OpenedData(dataset, key, "torchvision")
    for place in places():
        dataset = _try_open(known, place)
        if dataset is not None:
            return OpenedData(dataset, key, "torchvision")
    logger.info("downloading %s to %s", known.class_name, places()[-1])
    try:
        download(known.class_name, known.options, places()[-1], timeout)
        dataset = _try_open(known, places()[-1])
        if dataset is None:
            raise ConnectionError("the download left nothing that torchvision can open")
    except ConnectionError as error:
        return _instead(key, error)
    return OpenedData(dataset, key, "torchvision")


def _instead(key: str, error: ConnectionError) -> OpenedData:
    if key != "mnist":
        raise ConnectionError(
            f"{key} is not on this machine and cannot be downloaded ({error}). "
            "Put it in torchvision's layout into a folder and name that as the root."
        ) from None
    from vae_augment.mnist_sample import MNISTSample

    logger.warning(
        "MNIST is not on this machine and cannot be downloaded. Using the sample that comes with vae-augment instead: "
        "5,000 of its 60,000 training images. Results will be worse than with all of MNIST. Reason: %s",
        error,
    )
    return OpenedData(MNISTSample(), "mnist", SAMPLE_SOURCE)


def places() -> list[Path]:
    """Folders that are searched for torchvision datasets; downloads go into the last."""
    named = os.environ.get("VAE_AUGMENT_DATA")
    return [*([Path(named)] if named else []), Path("data"), Path(torch.hub._get_torch_home()) / "datasets"]


def _try_open(known: Known, root: Path) -> Dataset[Any] | None:
    import torchvision

    try:
        return getattr(torchvision.datasets, known.class_name)(str(root), download=False, **known.options)  # type: ignore[no-any-return]
    except (RuntimeError, FileNotFoundError):  # torchvision's ways to say that nothing is there
        return None


def _open_folder(path: Path) -> OpenedData:
    from torchvision.datasets import ImageFolder

    train = path / "train"
    if train.is_dir() and any(child.is_dir() for child in train.iterdir()):
        logger.info("using the training part %s", train)
        folder = train
    else:
        folder = path
    try:
        return OpenedData(ImageFolder(str(folder)), path.resolve().name, "folder")
    except FileNotFoundError as error:
        reason = str(error).split(". Supported")[0].rstrip(".")
        raise ValueError(f"{folder} must hold one folder of images per class: {reason}.") from None


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
