"""Torchvision's datasets by name: a table, where they are looked for, and what stands in for MNIST offline."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from vae_augment.data.opened import SAMPLE_SOURCE, OpenedData
from vae_augment.download import download
from vae_augment.exceptions import DataWarning, warn

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


def open_known(key: str, part: str, root: str | Path | None, timeout: float) -> OpenedData:
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

    images = "5,000 of its 60,000 training" if part == "train" else "1,000 of its 10,000 test"
    warn(
        "MNIST is not on this machine and cannot be downloaded. Using the sample that comes with vae-augment instead: "
        f"{images} images. Results will be worse than with all of MNIST. Reason: {error}",
        DataWarning,
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
