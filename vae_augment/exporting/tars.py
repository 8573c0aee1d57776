"""Tar files of images and what is known of each, as the webdataset library reads them."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vae_augment.exporting.parts import Shard
from vae_augment.files.writing import written_quickly

TAR = "webdataset"  # the format's name
END = bytes(2 * tarfile.BLOCKSIZE)
Add = Callable[[int, str, bytes, dict[str, Any]], None]


def tar_names(tars: int, shard: Shard) -> list[str]:
    """File names of those of so many tar files that a run writes."""
    return [f"{number:06d}.tar" for number in range(tars) if shard.holds(number)]


@contextmanager
def written_tar(folder: Path, name: str) -> Iterator[Add]:
    """A function that adds an image to a tar file, which is whole or absent.

    The function takes the image's number, its file's ending, its bytes, and what is known of it, with its "label".
    Members are NUMBER.png, NUMBER.cls with the label and NUMBER.json; their bytes do not tell who wrote them, or when.
    """
    with (
        written_quickly(str(folder), name) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):

        def add(number: int, ending: str, content: bytes, told: dict[str, Any]) -> None:
            known = json.dumps(told, ensure_ascii=False).encode()
            for suffix, part in ((ending, content), (".cls", str(told["label"]).encode()), (".json", known)):
                entry = tarfile.TarInfo(f"{number:09d}{suffix}")
                entry.size, entry.mode = len(part), 0o644
                tar.addfile(entry, io.BytesIO(part))

        yield add


def is_whole_tar(path: Path) -> bool:
    """Tell if a tar file is there with its end."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        file.seek(-min(len(END), path.stat().st_size), os.SEEK_END)
        return file.read() == END
