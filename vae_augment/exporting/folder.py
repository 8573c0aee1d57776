"""The folder of an export: what is in it, so that one that was ended can go on, and that nothing else is touched.

An export's images are numbered, or have names that its manifest lists. Both are removed and looked for in the same way.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_augment.files.folder_names import CLASSES, MANIFEST, UNSAFE_CHARACTERS, caseless
from vae_augment.files.writing import PARTIAL, atomic_write, sweep

UNFINISHED = "unfinished.json"  # what the manifest will be, while images are written
SAME = ("format", "bank_sha256", "method", "seed")  # in a manifest: what its images are a function of
KNOWN = ("format", "bank_sha256", "method")  # in that of any export
OWN = (UNFINISHED, MANIFEST, CLASSES)  # files beside the class folders
ENDING = ".png"
IMAGE = re.compile(r"([0-9]{6,})\.png")
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


def image_name(number: int) -> str:
    """Of a class's image."""
    return f"{number:06d}.png"


def prepare(folder: Path, manifest: dict[str, Any], *, resume: bool | None = None, overwrite: bool) -> None:
    """Make a folder, and those of its classes, ready for the images of a manifest; from here on it says "unfinished".

    Args:
        folder: made if need be.
        manifest: what the folder will hold. An entry of "classes" says how many "images" its "folder" has, which are
            numbered, and which "files" they are, if they are not; "name" is that of the class.
        resume: go on with an export of the same images; None: exports of this kind cannot.
        overwrite: remove an earlier export first.

    Raises:
        FileExistsError: it is a file; it holds something, and neither `resume` nor `overwrite` is given; it holds
            something that is no export, or to resume, one of other images; a file or a class's folder in it is a
            link, which could lead out of it; or a file that the earlier export did not write is in an image's place.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} must be a folder, it is a file.")
    sweep(folder, OWN)
    earlier = _earlier(folder)
    if holds_something(folder):
        if not (resume or overwrite):
            hint = _way_on(earlier, may_resume=resume is not None)
            raise FileExistsError(f"{folder} is not empty: name another folder, or empty it first{hint}.")
        if earlier is None:
            raise FileExistsError(
                f"{folder} holds something that is no export: name another folder, or empty it first."
            )
    _refuse_links(folder, manifest)
    if earlier is not None and overwrite:
        _remove(folder, earlier)
    elif earlier is not None:
        _check_same(folder, earlier, manifest)
    had = _owned(earlier) if earlier is not None and not overwrite else {}
    for name, images in _owned(manifest).items():
        sweep(folder / name)
        _refuse_others(folder / name, images, had.get(name, frozenset()))
    folder.mkdir(parents=True, exist_ok=True)
    if earlier != manifest or not (folder / MANIFEST).is_file():
        write_json(folder / UNFINISHED, manifest)
    for name, count in _images(manifest).items():
        if count:  # ImageFolder refuses an empty folder
            (folder / name).mkdir(exist_ok=True)


def finish(folder: Path, manifest: dict[str, Any]) -> None:
    """Say that all images of a manifest are there, and which class each folder is of. What is right stays untouched."""
    for entry in manifest["classes"]:
        sweep(folder / entry["folder"])  # of workers that were still about when this began
    write_json(folder / CLASSES, {entry["folder"]: entry["name"] for entry in manifest["classes"]})
    write_json(folder / MANIFEST, manifest)
    (folder / UNFINISHED).unlink(missing_ok=True)


def whole_images(folder: Path) -> set[int]:
    """Numbers of the images in a class's folder that are whole."""
    found = set()
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            number = _number(entry.name)
            if number is not None and entry.is_file(follow_symlinks=False) and _is_whole(entry.path):
                found.add(number)
    return found


def write_json(path: Path, content: object) -> None:
    """Atomically, unless it says so already."""
    text = (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
    if not path.is_file() or path.read_bytes() != text:
        atomic_write(path, text)


def _number(name: str) -> int | None:
    """Of the image that an export gives this name; None for other names."""
    match = IMAGE.fullmatch(name)
    return int(match[1]) if match and image_name(int(match[1])) == name else None


def _is_whole(path: str) -> bool:
    """Whether a PNG has its end: after a power cut a file may be there without its bytes."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(PNG_END)))
        return file.read() == PNG_END


def holds_something(folder: Path, own: Sequence[str] = OWN) -> bool:
    """Whether there is anything in a folder but what we had begun to write first, files of `own`, when it was ended."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            begun = PARTIAL.fullmatch(entry.name)
            if begun is None or begun["name"] not in own:
                return True
    return False


def _way_on(earlier: dict[str, Any] | None, *, may_resume: bool) -> str:
    """What else can be done where an earlier export is, for the end of a message."""
    if earlier is None:
        return ""
    resume = may_resume and set(SAME) <= set(earlier)
    return f" (or {'go on with it: --resume' if resume else 'have it removed first: --overwrite'})"


def _refuse_links(folder: Path, manifest: dict[str, Any]) -> None:
    """Raise FileExistsError if something that an export writes, or writes into, is a link."""
    for names, kind in ((OWN, "file"), ([entry["folder"] for entry in manifest["classes"]], "folder")):
        for name in names:
            if (folder / name).is_symlink():
                raise FileExistsError(
                    f"{folder / name} must be a {kind}, it is a link: remove it, or name another folder."
                )


def _images(manifest: dict[str, Any]) -> dict[str, int]:
    """How many images each folder of an export has."""
    return {entry["folder"]: entry["images"] for entry in manifest["classes"]}


class _Numbered(Container[str]):
    """The names of so many images, which are numbered."""

    def __init__(self, images: int) -> None:
        self._images = images

    def __contains__(self, name: object) -> bool:
        number = _number(str(name))
        return number is not None and number < self._images


def _owned(manifest: dict[str, Any]) -> dict[str, Container[str]]:
    """The names of the images in each folder of an export."""
    return {
        entry["folder"]: frozenset(entry["files"]) if "files" in entry else _Numbered(entry["images"])
        for entry in manifest["classes"]
    }


def _refuse_others(folder: Path, images: Container[str], had: Container[str]) -> None:
    """Raise FileExistsError if a file has an image's name: nobody can tell whether it is the export's."""
    alike = {caseless(name) for name in images} if isinstance(images, frozenset) else frozenset()
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if (entry.name in images or caseless(entry.name) in alike) and entry.name not in had:
                raise FileExistsError(
                    f"{entry.path} is not of the export that was here, and a new image would take its place: move it, "
                    "or name another folder."
                )


def _earlier(folder: Path) -> dict[str, Any] | None:
    """The manifest of the export that a folder holds, finished or not."""
    for name in (UNFINISHED, MANIFEST):
        with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
            read = json.loads((folder / name).read_bytes())
            if set(KNOWN) <= set(read) and all(map(_is_entry, read["classes"])):
                return dict(read)
    return None


def _is_entry(entry: dict[str, Any]) -> bool:
    """Whether it is what an export writes of a class, whoever wrote it."""
    named = is_safe(entry["folder"]) and type(entry["images"]) is int
    return named and all(isinstance(file, str) and file.endswith(ENDING) for file in entry.get("files", []))


def is_safe(name: Any) -> bool:
    """Whether a folder's name, which anyone may have written, leads no further than to that folder."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & (UNSAFE_CHARACTERS - {"%"})


def _check_same(folder: Path, earlier: dict[str, Any], manifest: dict[str, Any]) -> None:
    """Raise FileExistsError unless every image of the earlier export is one of this one's."""
    for what in SAME:
        if earlier.get(what) != manifest[what]:
            raise FileExistsError(
                f"{folder} holds images of {what} {earlier.get(what)!r}, not {manifest[what]!r}: to resume, give the "
                "same bank and options; or name another folder, or --overwrite."
            )
    had, has = _images(earlier), _images(manifest)
    if any(has.get(name, 0) < images for name, images in had.items()):
        raise FileExistsError(
            f"{folder} is of {sum(had.values())} images, more than the {sum(has.values())} wanted: to resume, ask for "
            "as many or more; or name another folder, or --overwrite."
        )


def _remove(folder: Path, earlier: dict[str, Any]) -> None:
    """An earlier export, but for what is not an export's."""
    write_json(folder / UNFINISHED, earlier)  # still one, should this be ended
    (folder / MANIFEST).unlink(missing_ok=True)
    (folder / CLASSES).unlink(missing_ok=True)
    for name, images in _owned(earlier).items():
        inner = folder / name
        if inner.is_symlink() or not inner.is_dir():
            continue
        for path in list(inner.iterdir()):
            begun = PARTIAL.fullmatch(path.name)
            if (begun["name"] if begun else path.name) in images:
                path.unlink()
        with suppress(OSError):  # something else is in it
            inner.rmdir()


@dataclass(frozen=True)
class Export:
    """What was written.

    Args:
        folder: where to.
        counts: images of each class name.
    """

    folder: Path
    counts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())
