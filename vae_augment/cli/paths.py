"""Paths that command lines name."""

from __future__ import annotations

import os
import shlex
from pathlib import Path


def check_file(option: str, path: Path) -> None:
    """Raise, before any work is done, if no file can be written to the path that an option names."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{option}: no folder {path.parent}.")
    if path.is_dir():
        raise ValueError(f"{option} must be a file, {path} is a folder.")
    check_folder(option, path.parent)


def check_folder(option: str, folder: Path) -> None:
    """Likewise for any file in a folder that is there."""
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{option}: the folder {folder} may not be written to.")


def quoted(path: Path) -> str:
    """A path as a shell takes it."""
    return shlex.quote(str(path))
