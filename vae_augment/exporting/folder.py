"""The folder of an export: images in class folders, and a manifest that lets an ended export resume.

Images are numbered, or have names that the manifest lists.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_augment.files.folder_names import CLASSES, MANIFEST
from vae_augment.files.folders import Kind, check, filling, is_safe, read_json, remove, write_json
from vae_augment.files.writing import sweep

UNFINISHED = "unfinished.json"  # the manifest to be, while images are written
EXPORT = Kind("export", (UNFINISHED, MANIFEST, CLASSES))
SAME = ("format", "bank_sha256", "method", "seed")  # entries of a manifest that determine its images
KNOWN = ("format", "bank_sha256", "method")  # entries of every manifest
ENDING = ".png"
IMAGE = re.compile(r"([0-9]{6}|[1-9][0-9]{6,})\.png")
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


@dataclass(frozen=True)
class Export:
    """Images that were written.

    Args:
        folder: the folder that holds them.
        counts: the number of images of each class, by name.
    """

    folder: Path
    counts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@contextmanager
def filled(
    folder: Path, manifest: dict[str, Any], *, resume: bool | None = None, overwrite: bool = False
) -> Iterator[None]:
    """Prepare a folder for images, which are written inside the `with` block; write the manifest at its end.

    Args:
        folder: made if need be, with the folders of its classes; until the end it holds unfinished.json.
        manifest: the content to be. Each entry of "classes" has the "name" of a class, its "folder", the number of its
            "images", and their "files" where they are not numbered.
        resume: continue an export of the same images; None: exports of this kind cannot be continued.
        overwrite: remove an earlier export first.

    Raises:
        FileExistsError: as `filling` and `check`; or an export to resume is of other images.
    """
    with filling(folder):
        _prepare(folder, manifest, resume, overwrite)
        yield
        for entry in manifest["classes"]:
            sweep(folder / entry["folder"])  # partials of workers that were still running at the start
        write_json(folder / CLASSES, {entry["folder"]: entry["name"] for entry in manifest["classes"]})
        write_json(folder / MANIFEST, manifest)
        (folder / UNFINISHED).unlink(missing_ok=True)


def _prepare(folder: Path, manifest: dict[str, Any], resume: bool | None, overwrite: bool) -> None:
    """Check a folder, remove an earlier export from it if wanted, and make the class folders."""
    earlier = read_json(folder / UNFINISHED, _checked) or read_json(folder / MANIFEST, _checked)
    had, wanted = None if earlier is None else _files(earlier), _files(manifest)
    for inner in wanted:
        sweep(folder / inner, None if inner else EXPORT.own)
    hint = ""
    if earlier is not None:
        goes_on = resume is not None and set(SAME) <= set(earlier)
        hint = f" (or {'continue it: --resume' if goes_on else 'remove it first: --overwrite'})"
    check(folder, EXPORT, had, wanted, replaces=bool(resume or overwrite), hint=hint)
    if earlier is not None and overwrite:
        write_json(folder / UNFINISHED, earlier)  # still an export if this is ended
        remove(folder, _files(earlier) | {"": (MANIFEST, CLASSES)})
    elif earlier is not None:
        _check_same(folder, earlier, manifest)
    if earlier != manifest or not (folder / MANIFEST).is_file():
        write_json(folder / UNFINISHED, manifest)
    for entry in manifest["classes"]:
        if entry["images"]:  # ImageFolder refuses an empty folder
            (folder / entry["folder"]).mkdir(exist_ok=True)


def _checked(read: Any) -> dict[str, Any]:
    """A manifest that anybody may have written. Raises ValueError, TypeError or KeyError for anything else."""
    for entry in read["classes"]:
        safe = is_safe(entry["folder"]) and type(entry["images"]) is int
        if not (safe and all(isinstance(file, str) and file.endswith(ENDING) for file in entry.get("files", []))):
            raise ValueError("an entry that no export writes")
    if not set(KNOWN) <= set(read):
        raise ValueError("no manifest of an export")
    return dict(read)


def _files(manifest: dict[str, Any]) -> dict[str, Container[str]]:
    """The files of an export, as `check` takes them."""
    files: dict[str, Container[str]] = {"": EXPORT.own}
    for entry in manifest["classes"]:
        files[entry["folder"]] = frozenset(entry["files"]) if "files" in entry else _Numbered(entry["images"])
    return files


class _Numbered(Container[str]):
    """The file names of numbered images."""

    def __init__(self, images: int) -> None:
        self._images = images

    def __contains__(self, name: object) -> bool:
        number = _number(str(name))
        return number is not None and number < self._images


def image_name(number: int) -> str:
    """The file name of image `number` of a class."""
    return f"{number:06d}{ENDING}"


def _number(name: str) -> int | None:
    """The number in a file name of `image_name`; None for other names."""
    match = IMAGE.fullmatch(name)
    return int(match[1]) if match else None


def _check_same(folder: Path, earlier: dict[str, Any], manifest: dict[str, Any]) -> None:
    """Raise FileExistsError unless every image of the earlier export is one of this one's."""
    for what in SAME:
        if earlier.get(what) != manifest[what]:
            raise FileExistsError(
                f"{folder} holds images of {what} {earlier.get(what)!r}, not {manifest[what]!r}: to resume, give the "
                "same bank and options; or name another folder, or --overwrite."
            )
    had, has = ({entry["folder"]: entry["images"] for entry in each["classes"]} for each in (earlier, manifest))
    if any(has.get(name, 0) < images for name, images in had.items()):
        raise FileExistsError(
            f"{folder} is of {sum(had.values())} images, more than the {sum(has.values())} wanted: to resume, ask for "
            "as many or more; or name another folder, or --overwrite."
        )


def whole_images(folder: Path) -> set[int]:
    """Numbers of the whole images in a class folder."""
    found = set()
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            number = _number(entry.name)
            if number is not None and entry.is_file(follow_symlinks=False) and _is_whole(entry.path):
                found.add(number)
    return found


def _is_whole(path: str) -> bool:
    """Tell if a PNG has its end: after a power cut a file may lack its bytes."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(PNG_END)))
        return file.read() == PNG_END
