"""Shards, the files that a table is split into: train-00000-of-00002.parquet."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

# older files of the hub have a hash at the end
SHARD = re.compile(r"(?P<split>.+?)-(?P<number>\d+)(-of-(?P<of>\d+))?(-[0-9a-f]{16})?")


def files_like(folder: Path, pattern: str) -> list[Path]:
    """Sorted files of a folder, without pipes, which would block."""
    return sorted(path for path in folder.glob(pattern) if path.is_file())


def split_of(file: Path) -> str:
    """Split in a file's name."""
    shard = SHARD.fullmatch(file.stem)
    return shard["split"] if shard else file.stem


def check_complete(files: Iterable[Path]) -> None:
    """Raise ValueError if by their names some files are missing."""
    numbers: dict[tuple[str, int], set[int]] = {}
    for file in files:
        shard = SHARD.fullmatch(file.stem)
        if shard and shard["of"]:
            numbers.setdefault((f"{file.parent / shard['split']}-*", int(shard["of"])), set()).add(int(shard["number"]))
    for (name, of), there in numbers.items():
        if len(there) < of:
            raise ValueError(f"{name} must be {of} files, as their names say, got {len(there)}. Get the others too.")
