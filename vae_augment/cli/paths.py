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
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{option}: the folder {path.parent} may not be written to.")


def quoted(path: Path) -> str:
    """A path as a shell takes it."""
    return shlex.quote(str(path))
