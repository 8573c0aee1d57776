"""Folders that we fill: one writer at a time, and nothing in them is replaced or removed but what is ours."""

from __future__ import annotations

import json
import logging
import os
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

LOCK = ".vae-augment.lock"  # in a folder while it is filled, with the number of the process that fills it
PATIENCE = 0.2  # seconds: workers of a writer that was killed may hold its lock for a moment

Files = Mapping[str, Container[str]]  # names by the folder inside that they are in; "" is the folder itself
Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Kind:
    """A kind of content, such as "export", and the files that are written first, which say what it is."""

    name: str
    own: tuple[str, ...]


@contextmanager
def filling(folder: Path) -> Iterator[None]:
    """Keep other processes from filling a folder meanwhile.

    The lock ends with the process that holds it. Where a file system has no locks, or the folder is read-only, nobody
    is kept out and all else is as with one.

    Args:
        folder: made if need be; removed again if it is empty at the end.

    Raises:
        FileExistsError: another process fills it; it is a file; or the lock's file is a link.
    """
    if not folder.is_dir() and (folder.exists() or folder.is_symlink()):
        raise FileExistsError(f"{folder} must be a folder, it is a file, or a link to none.")
    with kept_if_filled(folder):
        path = folder / LOCK
        _refuse_link(path, "file")
        before = _text(path)  # some versions of filelock empty the file that they fail to lock
        lock = FileLock(path)
        try:
            with warnings.catch_warnings(action="ignore"):  # of flock lacking, where filelock has a marker instead
                lock.acquire(timeout=PATIENCE)
            if _text(path) in ("", before):  # else it is such a marker, which says who made it
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


def check(folder: Path, kind: Kind, earlier: Files | None, wanted: Files, *, replaces: bool, hint: str = "") -> None:
    """Raise FileExistsError if files may not be written into a folder, because something else would be touched.

    Args:
        folder: that need not be there.
        kind: of the content.
        earlier: files of what the folder holds already; None: it holds nothing of this kind.
        wanted: files that will be written.
        replaces: those that are there already may be replaced.
        hint: at the end of the message, if they may not.
    """
    if _holds_something(folder, kind):
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


def remove(folder: Path, files: Files) -> None:
    """Remove files from a folder, half-written ones too, and folders inside that are then empty."""
    for inner, names in files.items():
        place = folder / inner
        if (inner and place.is_symlink()) or not place.is_dir():
            continue
        for path in list(place.iterdir()):
            begun = PARTIAL.fullmatch(path.name)
            if (begun["name"] if begun else path.name) in names and path.is_file() and not path.is_symlink():
                path.unlink()
        if inner:
            with suppress(OSError):  # something else is in it
                place.rmdir()


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically, unless the file says so already."""
    text = (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
    if not path.is_file() or path.read_bytes() != text:
        atomic_write(path, text)


def read_json(path: Path, parse: Callable[[Any], Parsed]) -> Parsed | None:
    """Read a JSON file that anyone may have written; None if there is none, or `parse` raises for its content."""
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        return parse(json.loads(path.read_bytes()))
    return None


def is_safe(name: object) -> bool:
    """Tell if a name, which anyone may have written, leads no further than to a file or folder in the same place."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & (UNSAFE_CHARACTERS - {"%"})


def _holds_something(folder: Path, kind: Kind) -> bool:
    """Tell if there is anything in a folder but a lock, and what a writer that was ended had begun to write first."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            begun = PARTIAL.fullmatch(entry.name)
            if entry.name != LOCK and (begun is None or begun["name"] not in kind.own):
                return True
    return False


def _refuse_link(path: Path, wanted: str) -> None:
    """Raise FileExistsError if something that is written, or written into, is a link, which may lead elsewhere."""
    if path.is_symlink():
        raise FileExistsError(f"{path} must be a {wanted}, it is a link: remove it, or name another folder.")


def _refuse_others(folder: Path, kind: Kind, names: Container[str], had: Container[str]) -> None:
    """Raise FileExistsError if something has the name of a file to be written and was not written by us."""
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
