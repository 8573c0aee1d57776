"""The folder of an exploration: its files, written at the end, and exploration.json, which lists them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from vae_augment.files.folders import Kind, is_safe, read_json, remove, write_json
from vae_augment.files.folders import check as check_folder
from vae_augment.files.writing import atomic_write, sweep

CONTENTS = "exploration.json"
EXPLORATION = Kind("exploration", (CONTENTS,))
# Files of an exploration. A file of another name is never removed, whatever exploration.json lists.
WRITTEN = re.compile(r"(traversals-.+|map|manifold|plane|nearest)\.png|(map|dimensions)\.csv", re.DOTALL)


def check(folder: Path, names: Collection[str], *, overwrite: bool) -> None:
    """Raise FileExistsError, before any work is done, if these files may not be written into a folder."""
    sweep(folder, [*names, CONTENTS])
    listed = read_json(folder / CONTENTS, _checked)
    earlier = None if listed is None else {"": {CONTENTS, *listed}}
    hint = "" if listed is None else " (or replace the exploration: --overwrite)"
    wanted = {"": frozenset([CONTENTS, *names])}
    check_folder(folder, EXPLORATION, earlier, wanted, replaces=overwrite, hint=hint)


def write(folder: Path, files: Mapping[str, bytes], about: Mapping[str, Any]) -> None:
    """Replace the files of an earlier exploration, and write what `about` says; call `check` first.

    If this is ended, the files written so far are listed, and can be overwritten.
    """
    earlier = set(read_json(folder / CONTENTS, _checked) or ())
    write_json(folder / CONTENTS, {**about, "files": sorted(earlier | set(files))})
    remove(folder, {"": earlier - set(files)})
    for name, content in files.items():
        atomic_write(folder / name, content)
    write_json(folder / CONTENTS, {**about, "files": sorted(files)})


def _checked(read: Any) -> list[str]:
    """The files that exploration.json lists. Raises ValueError, TypeError or KeyError for anything else."""
    files = read["files"]
    if not (isinstance(files, list) and all(is_safe(name) and WRITTEN.fullmatch(name) for name in files)):
        raise ValueError("no files of an exploration")
    return files
