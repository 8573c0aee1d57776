"""The folder of an export: images in class folders or tar files, and a manifest that lets an ended export resume.

Images are numbered, or have names that the manifest lists. Several runs may write an export together, a shard each,
with a manifest of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Container, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_augment.exporting.parts import ALONE, Parts, Shard, processes, write_all
from vae_augment.files.folder_names import CLASSES
from vae_augment.files.folders import Kind, check, filling, is_safe, read_json, remove, write_json
from vae_augment.files.writing import sweep
from vae_augment.images.encoding import is_whole
from vae_augment.images.image_file import EXTENSIONS
from vae_augment.model.devices import single_thread

UNFINISHED, MANIFEST = "unfinished{}.json", "manifest{}.json"  # the first while images are written; {}: of a shard
NOT_COMPARED = ("images", "classes", "files")  # entries of a manifest that may differ where an export is continued
SHARDS_PATIENCE = 120.0  # seconds, until another shard has begun or ended
KNOWN = ("format", "bank_sha256", "method")  # entries of every manifest
ENDING = ".png"
IMAGE = re.compile(r"([0-9]{6}|[1-9][0-9]{6,})\.png")


def kind_of_export(shard: Shard = ALONE) -> Kind:
    """Files of an export beside its images: the manifest to be, the manifest, and the names of classes."""
    return Kind("export", (UNFINISHED.format(shard.name), MANIFEST.format(shard.name), CLASSES))


EXPORT = kind_of_export()


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


def write_export(
    parts: Parts,
    folder: Path,
    made_by: dict[str, Any],
    *,
    workers: int | None,
    resume: bool,
    overwrite: bool,
    shard: Shard,
    on_start: Callable[[int], object],
    on_images: Callable[[int], object],
) -> Export:
    """Write the parts of an export that are not there yet, and the manifest, of which `made_by` determines the images.

    The other options are those of `export`.
    """
    listed = parts.listed()
    counts = {entry["name"]: entry["images"] for entry in listed["classes"]}
    total = sum(counts.values())
    manifest = {**made_by, "images": total, **listed}
    with filled(folder, manifest, resume=resume, overwrite=overwrite, shard=shard), single_thread():  # as in a worker
        on_start(total)
        parts.look_for_whole_ones()
        on_images(total - parts.missing)
        write_all(parts, processes(workers, len(parts), parts.worth_a_process), on_images)
    return Export(folder, counts)


@contextmanager
def filled(
    folder: Path,
    manifest: dict[str, Any],
    *,
    resume: bool | None = None,
    overwrite: bool = False,
    shard: Shard = ALONE,
) -> Iterator[None]:
    """Prepare a folder for images, which are written inside the `with` block; write the manifest at its end.

    Args:
        folder: made if need be, with the folders of its classes; until the end it holds unfinished.json.
        manifest: the content to be. Each entry of "classes" has the "name" of a class and the number of its "images";
            its "folder", and their "files" where they are not numbered; unless "files" are those of the export.
        resume: continue an export of the same images; None: exports of this kind cannot be continued.
        overwrite: remove an earlier export first.
        shard: the run, where several write an export together. Others may write into the folder at the same time.

    Raises:
        FileExistsError: as `filling` and `check`; or an export to resume, or another shard's, is of other images.
    """
    unfinished, whole, classes = (folder / name for name in kind_of_export(shard).own)
    with filling(folder, shard.name):
        with _alone(folder, shard):
            _prepare(folder, manifest, resume, overwrite, shard)
        yield
        with _alone(folder, shard):
            for inner, names in _files(manifest, ()).items():  # partials of workers that still ran at the start
                sweep(folder / inner, _swept(inner, names, shard))
            named = {entry.get("folder", str(entry["label"])): entry["name"] for entry in manifest["classes"]}
            write_json(classes, named)
            write_json(whole, manifest)
            unfinished.unlink(missing_ok=True)


def _alone(folder: Path, shard: Shard) -> AbstractContextManager[None]:
    """Keep other shards from beginning or ending at the same moment."""
    return nullcontext() if shard == ALONE else filling(folder, patience=SHARDS_PATIENCE)


def _swept(inner: str, names: Container[str], shard: Shard) -> Collection[str] | None:
    """Names whose partials are swept: any in a class folder, but where other shards write too the shard's own."""
    if inner and shard == ALONE:
        return None
    return names if isinstance(names, frozenset) else ()


def _prepare(folder: Path, manifest: dict[str, Any], resume: bool | None, overwrite: bool, shard: Shard) -> None:
    """Check a folder, remove an earlier export from it if wanted, and make the class folders."""
    kind = kind_of_export(shard)
    unfinished, whole, _ = (folder / name for name in kind.own)
    earlier = read_json(unfinished, _checked) or read_json(whole, _checked)
    beside = _of_other_shards(folder, manifest, shard)
    own = tuple(name for name in kind.own if name not in beside)
    had, wanted = None if earlier is None else _files(earlier, kind.own), _files(manifest, own)
    for inner, names in wanted.items():
        sweep(folder / inner, _swept(inner, names, shard) if inner else kind.own)
    hint = ""
    if earlier is not None:
        goes_on = resume is not None and set(_compared(manifest)) == set(_compared(earlier))
        hint = f" (or {'continue it: --resume' if goes_on else 'remove it first: --overwrite'})"
    check(folder, kind, had, wanted, replaces=bool(resume or overwrite), hint=hint, beside=beside)
    if earlier is not None and overwrite:
        write_json(unfinished, earlier)  # still an export if this is ended
        left = (whole.name, *(name for name in (CLASSES,) if name not in beside))
        remove(folder, _files(earlier, left), folders=shard == ALONE)
    elif earlier is not None:
        _check_same(folder, earlier, manifest)
    if earlier != manifest or not whole.is_file():
        write_json(unfinished, manifest)
    for entry in manifest["classes"]:
        if entry["images"] and "folder" in entry:  # ImageFolder refuses an empty folder
            (folder / entry["folder"]).mkdir(exist_ok=True)


def _of_other_shards(folder: Path, manifest: dict[str, Any], shard: Shard) -> set[str]:
    """Names in the folder that other shards of the same export have. Raises FileExistsError for other images."""
    others = [Shard(number, shard.of) for number in range(shard.of) if number != shard.number]
    found = {name for other in others for name in kind_of_export(other).own if name != CLASSES}
    for name in sorted(found):
        theirs = read_json(folder / name, _checked)
        if theirs is not None:
            _check_compared(
                folder, theirs, manifest, "give all shards the same bank and options; or name another folder."
            )
            found |= {CLASSES, *_files(theirs, ()), *theirs.get("files", ())}
    return found


def _checked(read: Any) -> dict[str, Any]:
    """A manifest that anybody may have written. Raises ValueError, TypeError or KeyError for anything else."""
    if not isinstance(read, dict):
        raise TypeError("no manifest")
    names = [*read.get("files", ())]
    for entry in read["classes"]:
        names += [entry["folder"]] if "folder" in entry else []
        if type(entry["images"]) is not int:
            raise ValueError("an entry that no export writes")
        if not all(isinstance(file, str) and file.lower().endswith(EXTENSIONS) for file in entry.get("files", [])):
            raise ValueError("a file that no export writes")
    if not all(map(is_safe, names)) or not all(name.endswith(".tar") for name in read.get("files", ())):
        raise ValueError("a name that no export writes")
    if not set(KNOWN) <= set(read):
        raise ValueError("no manifest of an export")
    return dict(read)


def _files(manifest: dict[str, Any], own: tuple[str, ...]) -> dict[str, Container[str]]:
    """The files of an export, as `check` takes them, with its `own` ones."""
    files: dict[str, Container[str]] = {"": frozenset((*own, *manifest.get("files", ())))}
    for entry in manifest["classes"]:
        if "folder" in entry:
            names = entry.get("files")
            files[entry["folder"]] = _Numbered(entry["images"]) if names is None else frozenset(names)
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


def _compared(manifest: dict[str, Any]) -> dict[str, Any]:
    """Entries that determine an export's images."""
    return {what: value for what, value in manifest.items() if what not in NOT_COMPARED}


def _check_same(folder: Path, earlier: dict[str, Any], manifest: dict[str, Any]) -> None:
    """Raise FileExistsError unless every image of the earlier export is one of this one's."""
    _check_compared(folder, earlier, manifest)
    had, has = ({entry["name"]: entry["images"] for entry in each["classes"]} for each in (earlier, manifest))
    if any(has.get(name, 0) < images for name, images in had.items()):
        raise FileExistsError(
            f"{folder} is of {sum(had.values())} images, more than the {sum(has.values())} wanted: to resume, ask for "
            "as many or more; or name another folder, or --overwrite."
        )


def _check_compared(
    folder: Path,
    earlier: dict[str, Any],
    manifest: dict[str, Any],
    hint: str = "to resume, give the same bank and options; or name another folder, or --overwrite.",
) -> None:
    """Raise FileExistsError if exports differ in what determines their images."""
    for what, wanted in _compared(manifest).items():
        if earlier.get(what) != wanted:
            raise FileExistsError(f"{folder} holds images of {what} {earlier.get(what)!r}, not {wanted!r}: {hint}")


def whole_images(folder: Path) -> set[int]:
    """Numbers of the whole images in a class folder."""
    found = set()
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            number = _number(entry.name)
            if number is not None and entry.is_file(follow_symlinks=False) and is_whole(entry.path, ENDING):
                found.add(number)
    return found
