"""Images and labels as NumPy arrays: an .npz file, or an .npy file with another for labels beside it."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from vae_augment.config import MIN_SIDE
from vae_augment.data.opened import OpenedData, Problem, check_count, check_usable
from vae_augment.data.readers.columns import IMAGES, LABELS, as_text, numbered
from vae_augment.files.class_names import MAX_CLASSES
from vae_augment.images.labelled_images import LabelledImages

MOST_BYTES = 2**32  # of an array in an .npz file, which is read into memory; an .npy file is mapped
MOST_LABEL_BYTES = 2**30  # of labels or names, which take several times as much as Python's texts
SHORTER = "Give numbers, or shorter names."
NAMES = ("classes", "class_names", "label_names")
IMAGES_OF_PART = {
    "train": ("train_images", "images_train", "x_train", "train_x"),
    "test": ("test_images", "images_test", "x_test", "test_x"),
}
# a word for images in a name, and the one for labels in its place
PAIRS = (("images", "labels"), ("image", "label"), ("data", "labels"), ("x", "y"), ("X", "y"))


class Arrays(LabelledImages):
    """Images in one array.

    Args:
        data: [N, H, W], [N, H, W, C] or [N, C, H, W].
        targets: int64 [N].
        classes: names of labels 0, 1, ...; empty if labels have no names.
    """

    def __init__(self, data: np.ndarray[Any, Any], targets: np.ndarray[Any, Any], classes: list[str]) -> None:
        super().__init__(targets, classes)
        self.data = data

    def read(self, index: int) -> np.ndarray[Any, Any]:
        """Copy of image `index`, so that nobody writes into the array or its file."""
        return np.array(self.data[index])


class _Refused(ValueError):
    """Our own error, as opposed to one of reading a damaged file."""


def open_npz(path: Path, part: str, on_error: str, max_pixels: int) -> OpenedData:
    """Open arrays named as Keras, MedMNIST and NumPy do: x_train and y_train, train_images, images, arr_0, ..."""
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} must be an .npz file, as numpy.savez writes it.")
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
            images_key, labels_key = _keys(list(members), part, path)
            named = next((members[key] for key in NAMES if key in members), None)
            images, labels = (_Member(archive, members[key], path) for key in (images_key, labels_key))
            _check_kinds(path, images.shape, images.dtype, labels.shape)
            names = [] if named is None else _names(_Member(archive, named, path), path)
            arrays = (
                images.read(MOST_BYTES, "Save it as an .npy file."),
                labels.read(MOST_LABEL_BYTES, SHORTER),
            )
    except (_Refused, PermissionError):
        raise
    except Exception as error:  # BadZipFile, zlib.error, EOFError, OSError, ...
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())[:200].rstrip('.')}.") from None
    return _opened(path, *arrays, names, on_error)


def open_npy(path: Path, part: str, on_error: str, max_pixels: int) -> OpenedData:
    """Open images.npy with labels.npy, x_train.npy with y_train.npy, or a.npy with a_labels.npy."""
    stems = [f"{path.stem}_labels", f"{path.stem}.labels"]
    stems += [path.stem.replace(images, labels) for images, labels in PAIRS if images in path.stem]
    beside = next((found for stem in stems if (found := path.with_name(f"{stem}.npy")).is_file()), None)
    if beside is None:
        raise ValueError(
            f"{path} needs its labels beside it, as {path.stem}_labels.npy or as a file of {path.stem}.npz."
        )
    images, labels = _mapped(path), _mapped(beside)
    _check_kinds(path, images.shape, images.dtype, labels.shape)
    _check_size(str(beside), labels.nbytes, MOST_LABEL_BYTES, SHORTER)
    return _opened(path, images, np.array(labels), [], on_error)


def _keys(keys: list[str], part: str, path: Path) -> tuple[str, str]:
    """Names of the arrays that hold a part's images and labels."""
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


class _Member:
    """An array in an archive, whose type and shape are checked before it takes memory."""

    def __init__(self, archive: zipfile.ZipFile, name: str, path: Path) -> None:
        self._archive, self._name, self._path = archive, name, path
        with archive.open(name) as file:
            self.shape, self.dtype = _header(file, f"{path}: {name}")

    def read(self, most: int, advice: str) -> np.ndarray[Any, Any]:
        size = math.prod(map(int, self.shape)) * self.dtype.itemsize
        _check_size(f"{self._path}: {self._name}", size, most, advice)
        declared = self._archive.getinfo(self._name).file_size
        if size > declared:
            raise _Refused(
                f"{self._path} is damaged: {self._name} declares {size:,} bytes and holds at most {declared:,}."
            )
        with self._archive.open(self._name) as file:
            array: np.ndarray[Any, Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array


def _names(member: _Member, path: Path) -> list[str]:
    """Class names; none if the array holds numbers."""
    if member.dtype.kind not in "US":
        return []
    if len(member.shape) != 1 or member.shape[0] > MAX_CLASSES:
        raise _Refused(
            f"class names of {path} must be an array of one dimension, of at most {MAX_CLASSES:,}, got shape "
            f"{list(member.shape)}."
        )
    names = member.read(MOST_LABEL_BYTES, SHORTER).tolist()
    return [name if isinstance(name, str) else name.decode(errors="replace") for name in names]


def _check_size(where: str, size: int, most: int, advice: str) -> None:
    if size > most:
        raise _Refused(f"{where} has {size:,} bytes, more than {most:,}. {advice}")


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, _, dtype = read(file)
        if min(shape, default=0) < 0:
            raise ValueError("a negative length")
    except Exception as error:  # of damaged bytes, which may raise anything
        raise _Refused(f"{where} is no array as NumPy saves it ({' '.join(str(error).split())[:200]}).") from None
    if dtype.hasobject or dtype.names is not None:
        raise _Refused(f"{where} must hold numbers or text, got Python objects or records.")
    return shape, dtype


def _mapped(path: Path) -> np.ndarray[Any, Any]:
    """Map the array of an .npy file into memory."""
    try:
        with path.open("rb") as file:
            _header(file, str(path))
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except OSError:
        raise
    except Exception as error:
        reason = str(error) if str(path) in str(error) else f"{path} is damaged: {error}"
        raise ValueError(f"{reason.rstrip('.')}.") from None


def _check_kinds(path: Path, images: tuple[int, ...], dtype: np.dtype[Any], labels: tuple[int, ...]) -> None:
    """Raise ValueError for shapes and types that images and labels cannot have."""
    if len(images) not in (3, 4) or dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise _Refused(
            f"images of {path} must be numbers of shape [N, H, W], [N, H, W, C] or [N, C, H, W], got {dtype} of "
            f"shape {list(images)}."
        )
    if sum(side >= MIN_SIDE for side in images[1:]) < 2:  # a third are channels
        size = "x".join(map(str, images[1:]))
        raise _Refused(f"images of {path} must be at least {MIN_SIDE}x{MIN_SIDE} pixels, got {size}.")
    if labels not in ((images[0],), (images[0], 1)):
        one_hot = " Give numbers or names, not one column per class." if len(labels) == 2 else ""
        shapes = f"{list(labels)} for images of shape {list(images)}"
        raise _Refused(f"labels of {path} must be one per image, got shape {shapes}.{one_hot}")
    check_count(images[0], path)


def _opened(
    path: Path, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], names: list[str], on_error: str
) -> OpenedData:
    if labels.dtype.kind not in "biufUS":
        raise ValueError(f"labels of {path} must be whole numbers or names, got {labels.dtype}.")
    values, of = np.unique(labels.reshape(-1), return_inverse=True)
    text = [as_text(value) for value in values.tolist()]
    known = np.array([bool(label) for label in text], dtype=bool)
    there = known[of]
    problems = [Problem(f"{path.name}, item {place}", "it has no label") for place in np.flatnonzero(~there)]
    check_usable(problems, path, on_error, left=there.sum())
    numbers = np.zeros(len(text), dtype=np.int64)
    numbers[known], own_names = numbered([label for label in text if label])
    dataset = Arrays(images if there.all() else images[there], numbers[of[there]], own_names or names)
    return OpenedData(dataset, path.stem, "arrays", tuple(problems))
