"""What a fit has finished, kept in a folder while it goes on, so that it may be ended at any instant and resumed."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vae_augment.exceptions import CacheWarning, warn
from vae_augment.files.writing import PARTIAL, atomic_write, sweep

SECONDS = 2.0  # between two states of one training
ENDING = ".part"
METADATA_KEY = "vae_augment_part"


class Part(NamedTuple):
    """Something finished.

    Args:
        tensors: by name.
        values: what else there is to know, as JSON has it.
    """

    tensors: dict[str, Tensor]
    values: dict[str, Any]


class Checkpoint:
    """Finished parts of one fit, each a file that is whole or absent.

    Processes that fit the same at once may share a folder: a part is a function of the fit, so whoever writes it writes
    the same. Parts that cannot be written are warned of once, and done again by whoever resumes.

    Args:
        folder: where to; made with the first part. None: nothing is kept.
        key: of the fit. Parts of another one are as if they were not there.
        prefix: of the names of parts.
    """

    def __init__(self, folder: Path | None, key: str, prefix: str = "") -> None:
        self._folder, self._key, self._prefix = folder, key, prefix
        self._failed = False
        self._kept_at = time.monotonic()
        if folder is not None:
            sweep(folder)

    def within(self, prefix: str) -> Checkpoint:
        """The same folder for a fit inside this one, whose parts have other names."""
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
                # cloned: a tensor that lies in the file's pages would be gone with the file, on some systems
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
            self._folder.mkdir(exist_ok=True)
            atomic_write(self._file(self._folder, name), content)
        except OSError as error:
            self._failed = True
            warn(f"what is finished cannot be kept in {self._folder}: {error}", CacheWarning)
        self._kept_at = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the last part was kept long enough ago for the state of a training to be worth its writing."""
        return self._folder is not None and time.monotonic() - self._kept_at >= SECONDS

    def clear(self, name: str) -> None:
        """Forget a part."""
        if self._folder is not None:
            with suppress(OSError):
                self._file(self._folder, name).unlink()


def discard(folder: Path) -> None:
    """Remove a checkpoint's folder, but for what is not a checkpoint's; nothing if there is none."""
    with suppress(OSError):  # gone already, or another process is removing it
        for path in folder.iterdir():
            if path.suffix == ENDING or PARTIAL.fullmatch(path.name):
                path.unlink(missing_ok=True)
        folder.rmdir()


NOTHING_KEPT = Checkpoint(None, "")
