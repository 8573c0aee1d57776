"""A dataset's classes, sizes, modes and problems, found by opening every image."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from PIL import Image
from torch.utils.data import Subset

from vae_augment.config import FitConfig
from vae_augment.data.loading import common_shape
from vae_augment.data.opened import OpenedData, Problem
from vae_augment.data.readers.image_files import EncodedImages, ImageFiles
from vae_augment.data.source import Source
from vae_augment.images import conversion
from vae_augment.images.labelled_images import LabelledImages
from vae_augment.progress import progress_bar

LISTED = 3  # sizes or modes of a class in the table


@dataclass
class ClassFound:
    """Contents of one class.

    Args:
        images: number of usable images.
        problems: number of others.
        sizes: number of images by size, such as "28x28" (width, height).
        modes: number of images by PIL mode, or by dtype and channels of arrays.
    """

    images: int = 0
    problems: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Examined:
    """Result of opening every image.

    Args:
        opened: the data.
        good: indices of usable items.
        classes: contents of each class by name, in the order of labels.
        problems: problems of opening the data, then of single images, then of all together.
        notes: other remarks, as sentences.
        shape: (C, H, W) of the images that a fit would see; None if it would fail.
    """

    opened: OpenedData
    good: tuple[int, ...]
    classes: dict[str, ClassFound]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    shape: tuple[int, int, int] | None

    def usable(self) -> OpenedData:
        """Usable part of the data. Raises ValueError if nothing is left."""
        return replace(self.opened, dataset=_only(self.opened.dataset, self.good))

    def to_dict(self) -> dict[str, Any]:
        """Findings for programs; the data itself is left out."""
        return {
            "image_shape": self.shape and list(self.shape),
            "usable": len(self.good),
            "classes": {name: vars(found) for name, found in self.classes.items()},
            "problems": [asdict(problem) for problem in self.problems],
            "notes": list(self.notes),
        }

    def rows(self) -> list[tuple[str, int, str, str, int]]:
        """Name, images, sizes, modes and problems of each class."""
        return [
            (name, found.images, _most_common(found.sizes), _most_common(found.modes), found.problems)
            for name, found in self.classes.items()
        ]


def examine(opened: OpenedData, config: FitConfig = FitConfig(), *, progress: bool = True) -> Examined:
    """Decode every image of a dataset, and find what a fit with `config` would fail at.

    Example:
        >>> examine(open_data("photos", on_error="skip")).problems

    Args:
        opened: the dataset, as `open_data` returns it.
        config: options of the fit.
        progress: show how many images are examined.
    """
    dataset: Any = opened.dataset
    labels, names = _labels(dataset)
    classes = {names[label]: ClassFound() for label in sorted(names)}
    problems, good, turned = list(opened.problems), [], 0
    for problem in problems:
        if problem.name is not None:
            classes.setdefault(problem.name, ClassFound()).problems += 1
    with progress_bar("image", len(dataset), shown=progress) as bar:
        bar.set_description("examining")
        for index in range(len(dataset)):
            bar.update()
            name = names[labels[index]]
            found = classes[name]
            try:
                image, was_turned = _read(dataset, index)
                width, height, mode = _looked_at(image)
                turned += was_turned
            except Exception as error:  # of any dataset's own code
                found.problems += 1
                where = dataset.samples[index][0] if isinstance(dataset, ImageFiles) else f"item {index}"
                problems.append(Problem(where, " ".join(str(error).split()) or type(error).__name__, name))
                continue
            good.append(index)
            found.images += 1
            found.sizes[f"{width}x{height}"] += 1
            found.modes[mode] += 1
    shape = None
    try:
        shape = common_shape(Source(_only(dataset, good)), config)
    except (TypeError, ValueError) as error:
        problems.append(Problem("the images together", str(error)))
    notes = list(opened.notes)
    if turned:
        notes.append(
            f"Images turned upright as their EXIF says, which torchvision's ImageFolder does not do: {turned}."
        )
    return Examined(opened, tuple(good), classes, tuple(problems), tuple(notes), shape)


def _labels(dataset: Any) -> tuple[list[int], dict[int, str]]:
    """Label of each item, and name of each label."""
    if not isinstance(dataset, LabelledImages):
        source = Source(dataset)
        return source.labels.tolist(), source.classes
    labels = [int(label) for label in dataset.targets]
    own = dataset.classes
    return labels, {label: own[label] if 0 <= label < len(own) else str(label) for label in set(labels)}


def _only(dataset: Any, good: Any) -> Any:
    """Dataset of the usable items alone."""
    if not good:
        raise ValueError("no image can be used.")
    if len(good) == len(dataset):
        return dataset
    return dataset.only(good) if isinstance(dataset, ImageFiles) else Subset(dataset, list(good))


def _read(dataset: Any, index: int) -> tuple[Any, bool]:
    """Read an image; the second value is True if its EXIF turned it, which only our own datasets tell."""
    if isinstance(dataset, EncodedImages):
        return dataset.decoded(index)
    return (dataset.read(index) if isinstance(dataset, LabelledImages) else dataset[index][0]), False


def _looked_at(image: Any) -> tuple[int, int, str]:
    """Width, height and mode of an image. Raises if it is not usable."""
    pixels = conversion.as_tensor(image)
    if pixels.is_floating_point() and not bool(torch.isfinite(pixels).all()):
        raise ValueError("it holds values that are not finite.")
    height, width = conversion.size_of(image)
    mode = image.mode if isinstance(image, Image.Image) else f"{image.dtype}, {len(pixels)} channels"
    return width, height, mode


def _most_common(counter: Counter[str]) -> str:
    listed = ", ".join(f"{value} ({n})" for value, n in counter.most_common(LISTED))
    return listed + (f" and {len(counter) - LISTED} more" if len(counter) > LISTED else "")
