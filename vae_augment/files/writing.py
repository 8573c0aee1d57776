"""Files that are whole or absent, names that are safe as folders, and the per-user cache."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import platformdirs

PARTIAL = re.compile(r"\.(?P<name>.+)\.(?P<machine>[0-9a-f]{8})-(?P<process>[0-9]+)-[0-9a-f]{8}\.tmp", re.DOTALL)
STALE_AFTER = 24 * 3600  # seconds, of a partial whose writer cannot be looked for


def atomic_write(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader, or a crash at any instant, sees the old file or the new one.

    A symlink is followed, so that its target is replaced and the link stays. The file's mode follows the umask. File
    and folder are on disk when it returns. A process that is killed leaves a partial behind, which `sweep` removes.
    A device or a pipe, such as /dev/stdout, is written to and stays.

    Args:
        path: the file; its folder must exist.
        content: all of its bytes.
    """
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        with open(path, "wb") as file:
            file.write(content)
        return
    target = Path(path).resolve()
    _replace(str(target.parent), target.name, content, synced=True)
    _sync_folder(target.parent)


def write_quickly(folder: str, name: str, content: Any) -> None:
    """Write `content` (bytes-like) to a new file, which is whole or absent but perhaps not yet on disk.

    For many small files that a synced manifest lists.
    """
    _replace(folder, name, content, synced=False)


def _replace(folder: str, name: str, content: Any, *, synced: bool) -> None:
    partial = f"{folder}{os.sep}{_partial_name(name)}"
    try:
        with open(partial, "xb") as file:
            file.write(content)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, f"{folder}{os.sep}{name}")
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(partial)
        raise


@contextmanager
def filled_at_once(folder: Path, name: str) -> Iterator[Path]:
    """A new folder inside `folder`, whose content moves there at the end; not after an error or a crash.

    What a process that is killed leaves behind, `sweep` removes.

    Args:
        folder: made if it is not there, and not left empty.
        name: what comes, for the name of the folder inside.
    """
    partial = folder / _partial_name(name)
    with kept_if_filled(folder):
        try:
            partial.mkdir()
            yield partial
            _move_into(folder, partial)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def kept_if_filled(folder: Path) -> Iterator[None]:
    """Make a folder, with those above it if need be; of those that were made, the empty ones go again at the end."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        with suppress(OSError):  # the first that is not empty
            for path in made:
                path.rmdir()


def _move_into(target: Path, folder: Path) -> None:
    """Move all that a folder holds; files that are there already are replaced."""
    for path in folder.iterdir():
        if path.is_dir() and (target / path.name).is_dir():
            _move_into(target / path.name, path)
        else:
            path.replace(target / path.name)


def check_writable(folder: Path) -> None:
    """Raise OSError unless a file can be written into a folder or, before it is made, into the nearest one above it."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    with tempfile.TemporaryFile(dir=nearest) as file:
        file.write(b"x")


def sweep(folder: Path, names: Collection[str] | None = None) -> None:
    """Remove what writers that are gone left half-written in a folder.

    A writer is gone if it ran on this machine and no process has its number, or if its partial is more than a day old.

    Args:
        folder: that may hold such partials.
        names: of the files that were being written; None: any.
    """
    wanted = None if names is None else {_shortened(name) for name in names}
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = PARTIAL.fullmatch(entry.name)
            if found and (wanted is None or found["name"] in wanted) and _is_stale(entry, found):
                with suppress(OSError):  # another process may sweep too
                    shutil.rmtree(entry) if entry.is_dir(follow_symlinks=False) else os.unlink(entry)


def _partial_name(name: str) -> str:
    """Of a file that is being written: it says by which process, and no other has it."""
    return f".{_shortened(name)}.{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"


def _shortened(name: str) -> str:
    """So that a partial's name, which is longer, is still one that file systems take."""
    return os.fsencode(name)[:180].decode(errors="ignore")


@cache
def _machine() -> str:
    return hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest()


def _is_stale(entry: os.DirEntry[str], found: re.Match[str]) -> bool:
    if found["machine"] == _machine() and os.name != "nt":  # where signal 0 ends a process
        try:
            os.kill(int(found["process"]), 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass
        if _is_zombie(int(found["process"])):
            return True
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE_AFTER


def _is_zombie(process: int) -> bool:
    """Whether a process has ended and only its number is kept, perhaps for ever, as in many containers; on Linux."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state == "Z"


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened for fsync there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cache_folder() -> Path:
    """The per-user cache: $VAE_AUGMENT_CACHE, or the platform's usual place."""
    named = os.environ.get("VAE_AUGMENT_CACHE")
    return Path(named) if named else Path(platformdirs.user_cache_dir("vae-augment"))
