"""Paths that command lines name."""

from __future__ import annotations

import shlex
from pathlib import Path


def check_file(option: str, path: Path) -> None:
    """Raise if no file can be written to the path that an option names."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{option}: no folder {path.parent}.")
    if path.is_dir():
        raise ValueError(f"{option} must be a file, {path} is a folder.")


def quoted(path: Path) -> str:
    """A path as a shell takes it."""
    return shlex.quote(str(path))
