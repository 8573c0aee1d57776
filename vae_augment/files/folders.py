"""Folders that we fill: one writer at a time, which replaces and removes nothing but our own files."""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from vae_augment.files.folder_names import UNSAFE_CHARACTERS, caseless
from vae_augment.files.writing import PARTIAL, atomic_write, kept_if_filled

logger = logging.getLogger(__name__)

LOCK = ".vae-augment{}.lock"  # in a folder while it, or a part, is filled; holds the number of the process that does
LOCKS = re.compile(r"\.vae-augment(-[0-9]+-of-[0-9]+)?\.lock")
PATIENCE = 0.2  # seconds: workers of a killed writer may hold its lock for a moment

Files = Mapping[str, Container[str]]  # file names by subfolder; "" is the folder itself
Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Kind:
    """A kind of content, such as "export", and its `own` files, which are written first and say what it is."""

    name: str
    own: tuple[str, ...]


@contextmanager
def filling(folder: Path, part: str = "", *, patience: float = PATIENCE) -> Iterator[None]:
    """Lock a folder, or a part of what it is to hold, against other processes that would fill it.

    The lock ends with the process that holds it. There is none on a read-only folder, or where a file system has no
    locks.

    Args:
        folder: made if it does not exist; removed again if it is empty at the end.
        part: ending of the names of a part's own files.
        patience: seconds to wait for another process.

    Raises:
        FileExistsError: another process fills the folder; it is a file; or the lock file is a link.
    """
    if not folder.is_dir() and (folder.exists() or folder.is_symlink()):
        raise FileExistsError(f"{folder} must be a folder, it is a file, or a link to none.")
    with kept_if_filled(folder):
        path = folder / LOCK.format(part)
        _refuse_link(path, "file")
        before = _text(path)  # some versions of filelock empty the file that they fail to lock
        lock = FileLock(path)
        try:
            with warnings.catch_warnings(action="ignore"):  # that flock is missing: filelock then makes a marker file
                lock.acquire(timeout=patience)
            if _text(path) in ("", before):  # not in a marker, which already says who made it
                path.write_text(str(os.getpid()))
        except Timeout:
            holder = before.split()[0] if before.strip() else ""
            by = f"process {holder}" if holder.isdecimal() else "another process"
            raise FileExistsError(f"{folder} is being filled by {by}: wait for its end, or name another.") from None
        except (OSError, NotImplementedError) as error:
            logger.info("no lock on %s: %s", folder, error)
        try:
            yield
        finally:
            if lock.is_locked:
                with suppress(OSError):
                    path.unlink()  # before the lock is released: afterwards it may be another's
                lock.release()


def _text(path: Path) -> str:
    with suppress(OSError, ValueError):
        return path.read_text()
    return ""


def check(
    folder: Path,
    kind: Kind,
    earlier: Files | None,
    wanted: Files,
    *,
    replaces: bool,
    hint: str = "",
    beside: Container[str] = (),
) -> None:
    """Raise FileExistsError if writing files into a folder would touch anything that is not ours.

    Args:
        folder: the folder, which may not exist yet.
        kind: kind of the content.
        earlier: files of this kind that the folder holds; None: there are none.
        wanted: files that will be written.
        replaces: True if files of this kind may be replaced.
        hint: end of the message if they may not.
        beside: names of other things of ours that may be in the folder.
    """
    if _holds_something(folder, kind, beside):
        if not replaces:
            raise FileExistsError(f"{folder} is not empty: name another folder, or empty it first{hint}.")
        if earlier is None:
            raise FileExistsError(
                f"{folder} holds something that is no {kind.name}: name another folder, or empty it first."
            )
    for inner in filter(None, wanted):
        _refuse_link(folder / inner, "folder")
    for inner, names in wanted.items():
        _refuse_others(folder / inner, kind, names, (earlier or {}).get(inner, ()))


def remove(folder: Path, files: Files, *, folders: bool = True) -> None:
    """Remove files from a folder, their half-written ones too, and, if wanted, subfolders that are then empty."""
    for inner, names in files.items():
        place = folder / inner
        if (inner and place.is_symlink()) or not place.is_dir():
            continue
        for path in list(place.iterdir()):
            begun = PARTIAL.fullmatch(path.name)
            if (begun["name"] if begun else path.name) in names and path.is_file() and not path.is_symlink():
                path.unlink()
        if inner and folders:
            with suppress(OSError):  # something else is in it
                place.rmdir()


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically, unless the file holds it already."""
    text = (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
    if not path.is_file() or path.read_bytes() != text:
        atomic_write(path, text)


def read_json(path: Path, parse: Callable[[Any], Parsed]) -> Parsed | None:
    """Read a JSON file of unknown origin; None if there is none, or if `parse` raises for its content."""
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        return parse(json.loads(path.read_bytes()))
    return None


def is_safe(name: object) -> bool:
    """Say if a name of unknown origin can only be that of a file or folder in the same place."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & (UNSAFE_CHARACTERS - {"%"})


def _holds_something(folder: Path, kind: Kind, beside: Container[str]) -> bool:
    """Say if a folder holds anything but locks, half-written files of the kind's own, and what is beside them."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            begun = PARTIAL.fullmatch(entry.name)
            name = entry.name if begun is None else begun["name"]
            ours = name in beside or (begun is not None and name in kind.own)
            if not ours and not LOCKS.fullmatch(entry.name):
                return True
    return False


def _refuse_link(path: Path, wanted: str) -> None:
    """Raise FileExistsError for a link: writing through it would change something elsewhere."""
    if path.is_symlink():
        raise FileExistsError(f"{path} must be a {wanted}, it is a link: remove it, or name another folder.")


def _refuse_others(folder: Path, kind: Kind, names: Container[str], had: Container[str]) -> None:
    """Raise FileExistsError if a file to be written has the name of one that is not ours."""
    alike = {caseless(name) for name in names} if isinstance(names, frozenset) else frozenset()
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in names or caseless(entry.name) in alike:
                _refuse_link(Path(entry.path), "file")
                if entry.name not in had or not entry.is_file():
                    raise FileExistsError(
                        f"{entry.path} is not of the {kind.name} that was here, and would be replaced: move it, or "
                        "name another folder."
                    )
