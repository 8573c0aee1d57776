"""Checks of the paths on a command line."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from vae_augment.files.writing import check_writable
from vae_augment.printable import shortened


def check_file(option: str, path: Path, *, stream: bool = False) -> None:
    """Raise, before any work is done, if no file can be written to the path that an option names.

    Args:
        option: the option's name.
        path: the file, or a link to it.
        stream: True: it may be a device or a pipe, such as /dev/stdout.
    """
    try:
        target = path.resolve()
        kind = target.stat().st_mode if target.exists() else path.stat().st_mode if path.exists() else None
    except (OSError, RuntimeError) as error:  # a name that is too long, a link to itself
        reason = error.strerror if isinstance(error, OSError) else "it is a link to itself"
        raise ValueError(f"{option}: {shortened(str(path))} cannot be a file: {reason}.") from None
    if kind is not None and stat.S_ISDIR(kind):
        raise ValueError(f"{option} must be a file, {path} is a folder.")
    if kind is not None and not stat.S_ISREG(kind):
        if stream:
            return
        raise ValueError(f"{option} must be a file, {path} is a device or a pipe.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{option}: no folder {target.parent if path.is_symlink() else path.parent}.")
    check_folder(option, target.parent if path.is_symlink() else path.parent)


def check_png(option: str, path: Path) -> None:
    """Raise ValueError if the name of a PNG file ends otherwise; it may have no ending, as /dev/stdout has none."""
    if path.suffix.lower() not in ("", ".png"):
        raise ValueError(f"{option} must end in .png, which it will hold, got {path}.")


def check_folder(option: str, folder: Path) -> None:
    """Raise, before any work is done, if a folder, or one that must be made, cannot be written into."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise FileExistsError(f"{option}: {there} must be a folder, it is a file.")
    try:
        check_writable(there)
    except OSError as error:
        reason = "" if error.errno == errno.EACCES else f": {error.strerror}"
        raise PermissionError(f"{option}: the folder {there} may not be written to{reason}.") from None


def check_apart(outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | str | None]) -> None:
    """Raise ValueError if an output would replace an input or another output.

    Args:
        outputs: paths of files to be written, by option; None: not given.
        inputs: paths of files to be read, by option; None: not given.
    """
    taken = {Path(path).resolve(): option for option, path in inputs.items() if path is not None}
    for option, path in outputs.items():
        if path is None:
            continue
        other = taken.setdefault(path.resolve(), option)
        if other != option:
            raise ValueError(f"{option} must be another file than {other}, got {path} for both.")


def check_not_data(written: Iterable[Path], data: str, dataset: object) -> None:
    """Raise ValueError if a file that --out writes is a file of the data."""
    files = [Path(data), *(Path(file) for file, _ in getattr(dataset, "samples", ()))]
    for path in filter(Path.is_file, written):
        if any(file.name == path.name and file.is_file() and file.samefile(path) for file in files):
            raise ValueError(f"--out: {path} is part of the data, and would be replaced. Name another file.")
