"""Folders with one folder of images per class, or with parts of that kind."""

from __future__ import annotations

import logging
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from vae_augment.data.opened import LISTED, OpenedData, Problem, check_usable
from vae_augment.data.readers.image_files import ImageFiles
from vae_augment.exceptions import DataWarning, warn
from vae_augment.images.image_file import EXTENSIONS

TEST_FOLDERS = ("test", "val")  # beside "train"; the first that exists
PARTS = ("train", *TEST_FOLDERS)

logger = logging.getLogger(__name__)


@dataclass
class _Found:
    """Contents of a folder of class folders."""

    samples: list[tuple[str, int]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)  # of files that are passed over
    hidden: int = 0
    outside: int = 0  # files in no class folder


def open_folder(path: Path, part: str, on_error: str, max_pixels: int) -> OpenedData:
    folder = _part_of(path, part)
    found = _Found()
    if folder != path:
        logger.info("using the part %s", folder)
    if _holds_folders(path / "train") and (beside := _images_beside(path)):
        named = ", ".join(beside[:LISTED]) + (" and others" if len(beside) > LISTED else "")
        if folder == path:
            text = (
                f"reading train in {path} as a class like {named}, since there is no part {' or '.join(TEST_FOLDERS)}"
            )
        else:
            text = f"reading {folder} alone, as a part of the data, and not the images in {named} beside it"
        warn(text, DataWarning)
    classes = _class_names(folder, found)
    if not classes:
        raise ValueError(f"{folder} must hold one folder of images per class: it has no folder.")
    for label, name in enumerate(classes):
        before = len(found.samples), len(found.problems)
        _look_into(folder / name, label, name, found)
        if (len(found.samples), len(found.problems)) == before:
            found.problems.append(Problem(str(folder / name), "it holds no image", name))
    if not found.samples:
        raise ValueError(
            f"{folder} must hold one folder of images per class: no file in them ends in {', '.join(EXTENSIONS)}."
        )
    check_usable(found.problems, folder, on_error, left=len(found.samples))
    dataset = ImageFiles(found.samples, classes, folder, max_pixels)
    return OpenedData(dataset, path.resolve().name, "folder", tuple(found.problems), tuple(_notes(found)))


def open_images(path: Path, on_error: str, max_pixels: int) -> OpenedData:
    """Open all images of a folder, at any depth, without labels; of one with "train" and "test" or "val", the first."""
    parts = (path / "train").is_dir() and any((path / name).is_dir() for name in TEST_FOLDERS)
    folder, found = path / "train" if parts else _part_of(path, "train"), _Found()
    _look_into(folder, 0, None, found)
    check_usable(found.problems, folder, on_error, left=len(found.samples))
    dataset = ImageFiles(found.samples, [], folder, max_pixels)
    return OpenedData(dataset, path.resolve().name, "folder", tuple(found.problems), tuple(_notes(found)))


def _class_names(folder: Path, found: _Found) -> list[str]:
    """Names of the class folders, in torchvision's order. Raises ValueError for one that is not in UTF-8."""
    names = []
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if name.startswith("."):
            found.hidden += 1
        elif path.is_dir():
            try:
                name.encode()  # a bank stores it
            except UnicodeEncodeError:
                raise ValueError(
                    f"class folders must have names in UTF-8, got {os.fsencode(name)!r}. Rename it."
                ) from None
            names.append(name)
        elif path.exists():
            found.outside += 1
        else:
            found.problems.append(Problem(str(path), "a link to nothing"))
    return names


def _look_into(folder: Path, label: int, name: str | None, found: _Found) -> None:
    """Add the images of a class, in torchvision's order: folder by folder, following links but never in a circle."""
    above: dict[str, tuple[tuple[int, int], ...]] = {}  # of each folder: device and inode of its parents and itself
    holds: dict[str, list[str]] = {}

    def cannot_list(error: OSError) -> None:
        found.problems.append(Problem(str(error.filename), f"its folder cannot be listed ({error.strerror})", name))

    for place, folders, files in os.walk(folder, followlinks=True, onerror=cannot_list):
        stat = os.stat(place)
        key = stat.st_dev, stat.st_ino
        outer = above.get(os.path.dirname(place), ())
        if key in outer:
            found.problems.append(Problem(place, "a link to a folder that it lies in", name))
            folders.clear()
            continue
        above[place] = (*outer, key)
        found.hidden += sum(inner.startswith(".") for inner in (*folders, *files))
        folders[:] = [inner for inner in folders if not inner.startswith(".")]
        holds[place] = [file for file in files if not file.startswith(".")]
    for path in (os.path.join(place, file) for place in sorted(holds) for file in sorted(holds[place])):
        if not path.lower().endswith(EXTENSIONS):
            found.endings[os.path.splitext(path)[1].lower() or "no ending"] += 1
        elif not os.path.exists(path):
            found.problems.append(Problem(path, "a link to nothing", name))
        elif not os.path.isfile(path):
            found.problems.append(Problem(path, "it is no regular file", name))
        else:
            found.samples.append((path, label))


def _notes(found: _Found) -> list[str]:
    notes = []
    if found.endings:
        listed = ", ".join(f"{ending} ({n})" for ending, n in found.endings.most_common(5))
        notes.append(f"Ignored files of other endings ({found.endings.total()}): {listed}.")
    if found.hidden:
        notes.append(f"Ignored hidden files and folders: {found.hidden}.")
    if found.outside:
        notes.append(f"Ignored files in no class folder: {found.outside}.")
    return notes


def _part_of(path: Path, part: str) -> Path:
    """Subfolder of a part of the data; the folder itself if it has no parts."""
    has_test = any(_holds_folders(path / name) for name in TEST_FOLDERS)
    if not _holds_folders(path / "train") or (not has_test and _images_beside(path)):
        return path  # "train" is a class like the others
    if part == "train":
        return path / "train"
    for name in TEST_FOLDERS:
        if _holds_folders(path / name):
            return path / name
    raise ValueError(f"{path} must hold a folder {' or '.join(TEST_FOLDERS)} of class folders beside train, got none.")


def _holds_folders(path: Path) -> bool:
    return path.is_dir() and any(child.is_dir() for child in path.iterdir() if not child.name.startswith("."))


def _images_beside(path: Path) -> list[str]:
    """Names of folders that hold images, beside those of parts."""
    others = [child for child in path.iterdir() if child.is_dir() and not child.name.startswith((".", *PARTS))]
    return sorted(child.name for child in others if any(map(_is_image, child.iterdir())))


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith(EXTENSIONS) and not path.name.startswith(".")
