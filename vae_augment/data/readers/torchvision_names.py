"""Torchvision's datasets by name: finding them, downloading them, and a sample in place of MNIST offline."""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from vae_augment.data.opened import SAMPLE_SOURCE, OpenedData
from vae_augment.data.readers.download import download
from vae_augment.data.readers.torchvision_table import KNOWN, Known
from vae_augment.exceptions import DataWarning, warn
from vae_augment.files.writing import filled_at_once, sweep

HINT = re.compile(r"[.\s]*(You can (use|set) download=True.*)?\s*$", re.DOTALL)  # torchvision's, of no use here

logger = logging.getLogger(__name__)


def open_known(key: str, part: str, root: str | Path | None, timeout: float) -> OpenedData:
    """Open one part of a known dataset; see `vae_augment.data.open_data`."""
    known = KNOWN[key]
    if part == "test" and known.test is None:
        raise ValueError(f"{key} has no test part: evaluate without --test, which holds some of --data out.")
    dataset, odd = _search(known, part, places() if root is None else [Path(root)])
    if dataset is None and root is not None:
        raise FileNotFoundError(
            f"no {known.class_name} in {root}: expected torchvision's layout below it ({known.place}){odd}. "
            "Leave the root out to look elsewhere and to download."
        )
    if dataset is None:
        try:
            dataset = _downloaded(known, part, timeout)
        except ConnectionError as error:
            return _instead(key, part, f"{error}{odd}")
    return OpenedData(dataset, key, "torchvision")


def unknown(name: str) -> str:
    """Message for an unknown name, with the nearest names and all known ones."""
    near = difflib.get_close_matches(name.lower(), KNOWN)
    asked = f"did you mean {' or '.join(filter(None, (', '.join(near[:-1]), near[-1])))}? Else " if near else ""
    return f"unknown dataset {name!r}: {asked}name a folder of class folders, or one of {', '.join(KNOWN)}."


def places() -> list[Path]:
    """Folders that are searched for torchvision's datasets; downloads go into the last."""
    named = os.environ.get("VAE_AUGMENT_DATA")
    return [*([Path(named)] if named else []), Path("data"), Path(torch.hub._get_torch_home()) / "datasets"]


def _downloaded(known: Known, part: str, timeout: float) -> Dataset[Any]:
    """Download a dataset. Raises ConnectionError that says why not, or how to get the dataset by hand."""
    root, options = places()[-1], known.options(part)
    if known.source:
        raise ConnectionError(f"torchvision has no download of it: get it from {known.source}")
    if known.gigabytes:
        given = "".join(f", {name}={value!r}" for name, value in options.items())
        raise ConnectionError(
            f"its {known.gigabytes} GB are too much to do so unasked: "
            f"torchvision.datasets.{known.class_name}('FOLDER'{given}, download=True) does"
        )
    logger.info("downloading %s to %s", known.class_name, root)
    sweep(root, [known.class_name])
    try:
        if any(root.glob(known.place)):  # a part is there: torchvision checks it and downloads the rest
            download(known.class_name, options, root, timeout)
        else:  # half of a folder of images would look like a smaller dataset
            with filled_at_once(root, known.class_name) as folder:
                download(known.class_name, options, folder, timeout)
    except ConnectionError:
        raise
    except OSError as error:
        raise ConnectionError(f"nothing can be written to {root}: {error}") from error
    dataset, odd = _search(known, part, [root])
    if dataset is None:
        raise ConnectionError(f"the download left nothing that torchvision can open{odd}")
    return dataset


def _instead(key: str, part: str, reason: str) -> OpenedData:
    if key != "mnist":
        raise ConnectionError(
            f"{key} is not on this machine and cannot be downloaded ({reason}). "
            f"Put it in torchvision's layout ({KNOWN[key].place}) into a folder and name that as the root."
        )
    from vae_augment.mnist_sample import MNISTSample

    images = "5,000 of its 60,000 training" if part == "train" else "1,000 of its 10,000 test"
    warn(
        "MNIST is not on this machine and cannot be downloaded. Using the sample that comes with vae-augment instead: "
        f"{images} images. Results will be worse than with all of MNIST. Reason: {reason}",
        DataWarning,
    )
    return OpenedData(MNISTSample(train=part == "train"), "mnist", SAMPLE_SOURCE)


def _search(known: Known, part: str, roots: Sequence[Path]) -> tuple[Dataset[Any] | None, str]:
    """Dataset in the first folder that has it, or None; and a text on one that cannot be opened."""
    odd = ""
    for root in map(Path.expanduser, roots):
        if any(root.glob(known.place)):  # else some of torchvision's classes would make a folder
            try:
                return _open(known, part, root), ""
            except Exception as error:  # torchvision and its libraries raise many kinds for a missing file
                kind = "" if isinstance(error, (RuntimeError, OSError)) else f"{type(error).__name__}: "
                reason = f"{root} has {known.place}, but it cannot be opened: {kind}{HINT.sub('', str(error))}"
            logger.info("%s", reason)
            odd = odd or f"; {reason}"
    return None, odd


def _open(known: Known, part: str, root: Path) -> Dataset[Any]:
    """Open a dataset, with labels and class names where the table knows how to find them."""
    import torchvision

    no_download = {} if known.source else {"download": False}
    dataset = getattr(torchvision.datasets, known.class_name)(str(root), **known.options(part), **no_download)
    if not len(dataset):
        raise RuntimeError("it holds no image")
    with suppress(AttributeError):  # of another torchvision: then labels are read with images, and are names too
        if known.labels is not None:
            dataset.targets = list(known.labels(dataset))
            if None in dataset.targets:
                raise RuntimeError("its images have no labels")
        if known.names is not None:
            dataset.classes = list(known.names(dataset))
    return dataset  # type: ignore[no-any-return]
