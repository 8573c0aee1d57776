"""Files and folders that are written whole or not at all, and the per-user cache folder."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from vae_augment.exceptions import check_type

PARTIAL = re.compile(r"\.(?P<name>.+)\.(?P<machine>[0-9a-f]{8})-(?P<process>[0-9]+)-[0-9a-f]{8}\.tmp", re.DOTALL)
STALE_AFTER = 24 * 3600  # seconds, for a partial whose writer may run elsewhere


def atomic_write(path: str | Path, content: bytes) -> None:
    """Write a file so that readers, and a crash at any instant, find the old content or the new one.

    The target of a symlink is replaced, and the link stays. The file's mode follows the umask. File and folder are
    synced to disk. A killed process leaves a partial file behind, which `sweep` removes. A device or a pipe, such as
    /dev/stdout, is written to and stays.

    Args:
        path: the file; its folder must exist.
        content: the whole content.
    """
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        with open(path, "wb") as file:
            file.write(content)
        return
    target = Path(path).resolve()
    write_quickly(str(target.parent), target.name, content, synced=True)
    if os.name != "nt":  # there a folder cannot be opened
        descriptor = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_quickly(folder: str, name: str, content: Any, *, synced: bool = False) -> None:
    """Write bytes to a new file, which is whole or absent, but not yet on disk unless `synced`.

    For many small files that a synced manifest lists.
    """
    with written_quickly(folder, name, synced=synced) as file:
        file.write(content)


@contextmanager
def written_quickly(folder: str, name: str, *, synced: bool = False) -> Iterator[BinaryIO]:
    """Open a new file for its content, as `write_quickly` writes one."""
    partial = f"{folder}{os.sep}{_partial_name(name)}"
    try:
        with open(partial, "xb") as file:
            yield file
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
    """Make a temporary subfolder whose content moves into `folder` at the end, but not after an error or a crash.

    A killed process leaves the subfolder behind, which `sweep` removes.

    Args:
        folder: made if it does not exist, and removed again if it stays empty.
        name: name of the content, for that of the subfolder.
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
    """Make a folder and its parents; at the end remove those of them that were made and are empty."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        with suppress(OSError):  # of the first that is not empty
            for path in made:
                path.rmdir()


def _move_into(target: Path, folder: Path) -> None:
    """Move a folder's content into another, replacing files of the same names."""
    for path in folder.iterdir():
        if path.is_dir() and (target / path.name).is_dir():
            _move_into(target / path.name, path)
        else:
            path.replace(target / path.name)


def check_writable(folder: Path) -> None:
    """Raise OSError unless a file can be written into a folder, or into its nearest parent if it does not exist."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    with tempfile.TemporaryFile(dir=nearest) as file:
        file.write(b"x")


def named_file(path: str | Path) -> Path:
    """Path of a file. Raises TypeError or ValueError for anything else."""
    check_type("path", path, (str, os.PathLike), "the path of a file")
    if not os.fspath(path):
        raise ValueError("path must name a file, got ''.")
    return Path(path)


def sweep(folder: Path, names: Collection[str] | None = None) -> None:
    """Remove partial files and folders of writers that have ended.

    A writer has ended if it ran on this machine and no process has its number, or if its partial is over a day old.

    Args:
        folder: the folder that may hold partials.
        names: final names of the files that were being written; None: any.
    """
    wanted = None if names is None else {_shortened(name) for name in names}
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = PARTIAL.fullmatch(entry.name)
            if found and (wanted is None or found["name"] in wanted) and _is_stale(entry, found):
                with suppress(OSError):  # another process may sweep too
                    shutil.rmtree(entry) if entry.is_dir(follow_symlinks=False) else os.unlink(entry)


def _partial_name(name: str) -> str:
    """Unique name of a file that is being written, with the process that writes it."""
    return f".{_shortened(name)}.{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"


def _shortened(name: str) -> str:
    """Cut a name so that a partial's, which is longer, is not too long for file systems."""
    return os.fsencode(name)[:180].decode(errors="ignore")


@cache
def _machine() -> str:
    return hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest()


def _is_stale(entry: os.DirEntry[str], found: re.Match[str]) -> bool:
    if found["machine"] == _machine() and os.name != "nt":  # there signal 0 would end the process
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
    """Say if a process has ended but keeps its number, perhaps for ever, as in many containers; on Linux."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state == "Z"


def cache_folder() -> Path:
    """Per-user cache folder: $VAE_AUGMENT_CACHE, or the platform's usual place."""
    named = os.environ.get("VAE_AUGMENT_CACHE")
    if named:
        return Path(named)
    if sys.platform == "win32":
        usual, inside = os.environ.get("LOCALAPPDATA") or "~/AppData/Local", "vae-augment/vae-augment/Cache"
    elif sys.platform == "darwin":
        usual, inside = "~/Library/Caches", "vae-augment"
    else:
        usual, inside = os.environ.get("XDG_CACHE_HOME") or "~/.cache", "vae-augment"
    return Path(os.path.expanduser(usual), inside)
