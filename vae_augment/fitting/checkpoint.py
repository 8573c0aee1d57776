"""Finished parts of a fit, kept in a folder so that it may be interrupted at any instant and resumed."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vae_augment.exceptions import CacheWarning, warn
from vae_augment.files.writing import PARTIAL, atomic_write, sweep

ENDING = ".part"
METADATA_KEY = "vae_augment_part"


class Part(NamedTuple):
    """A finished part of a fit.

    Args:
        tensors: by name.
        values: everything else, as JSON objects hold it.
    """

    tensors: dict[str, Tensor]
    values: dict[str, Any]


class Checkpoint:
    """Finished parts of one fit, each a file that is whole or absent.

    Processes that run the same fit at once may share a folder: a part is a function of the fit, so all write the same.
    If a part cannot be written there is one warning, and a resumed fit computes it again.

    Args:
        folder: made with the first part. None: nothing is kept.
        key: of the fit. Parts of another fit are ignored.
        prefix: of the names of parts.
    """

    def __init__(self, folder: Path | None, key: str, prefix: str = "") -> None:
        self._folder, self._key, self._prefix = folder, key, prefix
        self._failed = False
        if folder is not None:
            sweep(folder)

    def within(self, prefix: str) -> Checkpoint:
        """A checkpoint in the same folder for a fit inside this one, with other names of parts."""
        return Checkpoint(self._folder, self._key, f"{self._prefix}{prefix}-")

    def _file(self, folder: Path, name: str) -> Path:
        return folder / f"{self._prefix}{name}{ENDING}"

    def load(self, name: str) -> Part | None:
        """A part, if it was finished."""
        if self._folder is None:
            return None
        try:
            with safe_open(self._file(self._folder, name), framework="pt") as file:
                written: dict[str, Any] = json.loads((file.metadata() or {})[METADATA_KEY])
                if written["key"] != self._key:
                    return None
                # Cloned, because tensors in the file's pages are gone with the file on some systems.
                return Part({n: file.get_tensor(n).clone() for n in file.keys()}, written["values"])  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):  # none, or a damaged one
            return None

    def save(self, name: str, part: Part) -> None:
        """Keep a part; it is on disk when this returns."""
        if self._folder is None or self._failed:
            return
        text = json.dumps({"key": self._key, "values": part.values}, allow_nan=False)
        content = save({n: tensor.contiguous() for n, tensor in part.tensors.items()}, {METADATA_KEY: text})
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            atomic_write(self._file(self._folder, name), content)
        except OSError as error:
            if self._failed:  # by another training, at the same time
                return
            self._failed = True
            warn(f"what is finished cannot be kept in {self._folder}: {error}", CacheWarning)

    @property
    def kept(self) -> bool:
        """False if nothing is kept."""
        return self._folder is not None and not self._failed

    def clear(self, name: str) -> None:
        """Remove a part."""
        if self._folder is not None:
            with suppress(OSError):
                self._file(self._folder, name).unlink()


def check_folder(path: str | Path | None) -> None:
    """Raise FileExistsError if a checkpoint's path is that of a file."""
    if path is not None and os.path.exists(path) and not os.path.isdir(path):  # False where locked
        raise FileExistsError(f"checkpoint must be a folder, got the file {path}.")


def discard(folder: Path) -> None:
    """Remove a checkpoint's folder, but no files in it that are not a checkpoint's."""
    with suppress(OSError):  # gone already, or another process is removing it
        for path in folder.iterdir():
            if path.suffix == ENDING or PARTIAL.fullmatch(path.name):
                path.unlink(missing_ok=True)
        folder.rmdir()
