"""The folder of an exploration: what is in it, so that it can be made again, and that nothing else is touched."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from vae_augment.exporting.folder import holds_something, is_safe, write_json
from vae_augment.files.writing import atomic_write, sweep

CONTENTS = "exploration.json"
# What an exploration writes beside it. A file of another name is never removed, whatever the contents say.
WRITTEN = re.compile(r"(traversals-.+|map|manifold|plane|nearest)\.png|(map|dimensions)\.csv", re.DOTALL)


def check(folder: Path, names: Collection[str], *, overwrite: bool) -> None:
    """Raise, before any work is done, if files of some names are not to be written into a folder.

    Raises:
        FileExistsError: it is a file; it holds something, and `overwrite` is not given or it holds no exploration; one
            of the files is a link there, or is not of the earlier exploration.
    """
    if not folder.is_dir() and (folder.exists() or folder.is_symlink()):
        raise FileExistsError(f"{folder} must be a folder, it is a file, or a link to none.")
    sweep(folder, [*names, CONTENTS])
    earlier = _earlier(folder)
    if holds_something(folder, (CONTENTS,)):
        if not overwrite:
            hint = " (or replace what was explored: --overwrite)" if earlier is not None else ""
            raise FileExistsError(f"{folder} is not empty: name another folder, or empty it first{hint}.")
        if earlier is None:
            raise FileExistsError(
                f"{folder} holds something that is no exploration: name another folder, or empty it first."
            )
    for path in (folder / name for name in (*names, CONTENTS)):
        if path.is_symlink():
            raise FileExistsError(f"{path} must be a file, it is a link: remove it, or name another folder.")
        if path.exists() and not (path.is_file() and path.name in (CONTENTS, *(earlier or ()))):
            raise FileExistsError(
                f"{path} is not of the exploration that was here, and would be replaced: move it, or name another "
                "folder."
            )


def write(folder: Path, files: Mapping[str, bytes], about: Mapping[str, Any]) -> None:
    """Write files of an exploration in place of those of an earlier one, and what it is of; `check` has been passed.

    If this is ended, what is written so far is known for an exploration's, and can be overwritten.
    """
    folder.mkdir(parents=True, exist_ok=True)
    earlier = set(_earlier(folder) or ())
    write_json(folder / CONTENTS, {**about, "files": sorted(earlier | set(files))})
    for name in earlier - set(files):
        if (folder / name).is_file() and not (folder / name).is_symlink():
            (folder / name).unlink()
    for name, content in files.items():
        atomic_write(folder / name, content)
    write_json(folder / CONTENTS, {**about, "files": sorted(files)})


def _earlier(folder: Path) -> list[str] | None:
    """Names of the files of the exploration that a folder holds; None if it holds none."""
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        files = json.loads((folder / CONTENTS).read_bytes())["files"]
        if isinstance(files, list) and all(is_safe(name) and WRITTEN.fullmatch(name) for name in files):
            return files
    return None
