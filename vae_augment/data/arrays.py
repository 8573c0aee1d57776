"""Images and labels as NumPy arrays: .npz, or .npy with the labels in a file beside it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from vae_augment.data.columns import IMAGES, LABELS, as_text, numbered
from vae_augment.data.opened import OpenedData, Problem, refuse
from vae_augment.labelled_images import LabelledImages

MOST_BYTES = 2**32  # of an array in an .npz, which is read into memory; an .npy is mapped
NAMES = ("classes", "class_names", "label_names")
IMAGES_OF_PART = {
    "train": ("train_images", "images_train", "x_train", "train_x"),
    "test": ("test_images", "images_test", "x_test", "test_x"),
}
# what stands for images in a name, and what for labels in its place
PAIRS = (("images", "labels"), ("image", "label"), ("data", "labels"), ("x", "y"), ("X", "y"))


class Arrays(LabelledImages):
    """Images in one array.

    Args:
        data: [N, H, W], [N, H, W, C] or [N, C, H, W].
        targets: int64 [N].
        classes: names that labels are indices of; empty if they have none.
    """

    def __init__(self, data: np.ndarray[Any, Any], targets: np.ndarray[Any, Any], classes: list[str]) -> None:
        super().__init__(targets, classes)
        self.data = data

    def read(self, index: int) -> np.ndarray[Any, Any]:
        """A copy of image `index`: nobody writes into the file, or into the images of others."""
        return np.array(self.data[index])


class _Refused(ValueError):
    """Our own word on a file, which is not to be put down to damage."""


def open_npz(path: Path, part: str, on_error: str, max_pixels: int) -> OpenedData:
    """Arrays named as Keras, MedMNIST and NumPy do: x_train and y_train, train_images, images, arr_0, ..."""
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} must be an .npz file, as numpy.savez writes it.")
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
            images_key, labels_key = _keys(list(members), part, path)
            named = next((members[key] for key in NAMES if key in members), None)
            images = _member(archive, members[images_key], path)
            labels = _member(archive, members[labels_key], path)
            names = [] if named is None else _member(archive, named, path).tolist()
    except (_Refused, PermissionError):
        raise
    except Exception as error:  # BadZipFile, zlib.error, EOFError, OSError, ...: of bytes that anyone may have written
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())[:200].rstrip('.')}.") from None
    return _opened(path, images, labels, names, on_error)


def open_npy(path: Path, part: str, on_error: str, max_pixels: int) -> OpenedData:
    """The labels of images.npy are in labels.npy, of x_train.npy in y_train.npy, of a.npy in a_labels.npy."""
    beside = _labels_beside(path)
    if beside is None:
        raise ValueError(
            f"{path} needs its labels beside it, as {path.stem}_labels.npy or as a file of {path.stem}.npz."
        )
    return _opened(path, _mapped(path), np.array(_mapped(beside)), [], on_error)


def _labels_beside(path: Path) -> Path | None:
    stems = [f"{path.stem}_labels", f"{path.stem}.labels"]
    stems += [path.stem.replace(images, labels) for images, labels in PAIRS if images in path.stem]
    return next((found for stem in stems if (found := path.with_name(f"{stem}.npy")).is_file()), None)


def _keys(keys: list[str], part: str, path: Path) -> tuple[str, str]:
    """The names of the arrays that hold a part's images and labels."""
    there = {key.casefold(): key for key in keys}
    divided = any(key in there for several in IMAGES_OF_PART.values() for key in several)
    wanted = IMAGES_OF_PART[part] if divided else IMAGES
    for images in wanted:
        for image_word, label_word in PAIRS:
            labels = images.replace(image_word, label_word)
            if images in there and labels in there and labels != images:
                return there[images], there[labels]
    if not divided and {"arr_0", "arr_1"} <= there.keys():
        return "arr_0", "arr_1"
    first = next((there[key] for key in wanted if key in there), None)
    second = next((there[key] for key in LABELS if key in there), None)
    if first and second and not divided:
        return first, second
    named = (wanted[0], wanted[0].replace("images", "labels")) if divided else ("images", "labels")
    found = ", ".join(map(repr, sorted(keys))) or "none"
    raise _Refused(f"{path} must hold images and labels, as {named[0]!r} and {named[1]!r}, got the arrays {found}.")


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> np.ndarray[Any, Any]:
    """An array of an archive, whose size is looked at before memory is taken for it."""
    with archive.open(name) as file:
        shape, dtype = _header(file, f"{path}: {name}")
        size = int(np.prod([int(side) for side in shape], dtype=object)) * dtype.itemsize
        declared = archive.getinfo(name).file_size
    if size > MOST_BYTES:
        raise _Refused(f"{path}: {name} has {size:,} bytes, more than {MOST_BYTES:,}. Save it as an .npy file.")
    if size > declared:
        raise _Refused(f"{path} is damaged: {name} is said to hold {size:,} bytes, and holds at most {declared:,}.")
    with archive.open(name) as file:
        array: np.ndarray[Any, Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, _, dtype = read(file)
        if min(shape, default=0) < 0:
            raise ValueError("a negative length")
    except Exception as error:  # whatever reading bytes of unknown origin ends in
        raise _Refused(f"{where} is no array as NumPy saves it ({' '.join(str(error).split())[:200]}).") from None
    if dtype.hasobject or dtype.names is not None:
        raise _Refused(f"{where} must hold numbers or text, got Python objects or records.")
    return shape, dtype


def _mapped(path: Path) -> np.ndarray[Any, Any]:
    """The array of an .npy file, which stays there."""
    try:
        with path.open("rb") as file:
            _header(file, str(path))
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except OSError:
        raise
    except Exception as error:
        reason = str(error) if str(path) in str(error) else f"{path} is damaged: {error}"
        raise ValueError(f"{reason.rstrip('.')}.") from None


def _opened(
    path: Path, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], names: list[Any], on_error: str
) -> OpenedData:
    if images.ndim not in (3, 4) or images.dtype.kind not in "biuf" or images.dtype.itemsize > 8:
        raise ValueError(
            f"images of {path} must be numbers of shape [N, H, W], [N, H, W, C] or [N, C, H, W], got {images.dtype} of "
            f"shape {list(images.shape)}."
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != len(images):
        one_hot = " Give numbers or names, not one column a class." if labels.ndim == 2 else ""
        shapes = f"{list(labels.shape)} for images of shape {list(images.shape)}"
        raise ValueError(f"labels of {path} must be one an image, got shape {shapes}.{one_hot}")
    text = [as_text(label) for label in labels.tolist()]
    missing = [place for place, label in enumerate(text) if not label]
    problems = [Problem(f"{path.name}, item {place}", "it has no label") for place in missing]
    if on_error == "fail":
        refuse(problems, str(path))
    kept = [place for place, label in enumerate(text) if label]
    if not kept:
        raise ValueError(f"{path} must hold at least one image with a label, got {len(images)} images.")
    numbers, own_names = numbered([text[place] for place in kept])
    dataset = Arrays(images[kept] if missing else images, np.array(numbers, dtype=np.int64), own_names or names)
    return OpenedData(dataset, path.stem, "arrays", tuple(problems))
