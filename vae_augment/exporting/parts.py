"""An export made and written a part at a time, by several processes; and shards of it, one for each machine."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any

from torch.utils.data import DataLoader, Dataset

from vae_augment.processes import end_with


@dataclass(frozen=True)
class Shard:
    """One of several runs that write an export together: its number, counted from 0, and how many there are."""

    number: int = 0
    of: int = 1

    def __post_init__(self) -> None:
        if not all(isinstance(each, Integral) for each in (self.number, self.of)) or not 0 <= self.number < self.of:
            raise ValueError(f"shard must be two whole numbers i and N with 0 <= i < N, got {self.number}, {self.of}.")

    @property
    def name(self) -> str:
        """Ending of the shard's own file names, "" if there is one alone."""
        return "" if self.of == 1 else f"-{self.number}-of-{self.of}"

    def holds(self, part: int) -> bool:
        """Tell if this run writes a part of the export."""
        return part % self.of == self.number


ALONE = Shard()


class Parts(Dataset[int | Exception]):
    """The parts of an export: reading one makes and writes its images.

    An item is the number of images written, or the error that prevented it: a DataLoader would turn an error that a
    worker raises into the text of a traceback.
    """

    worth_a_process: int  # parts

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def missing(self) -> int:
        """Number of images to be written."""

    @abstractmethod
    def listed(self) -> dict[str, Any]:
        """Entries of the manifest: "classes", each with its "name" and "images", and "files" where they are tars."""

    @abstractmethod
    def look_for_whole_ones(self) -> None:
        """Leave out images that an earlier run has written."""

    @abstractmethod
    def write(self, index: int) -> int:
        """Make and write the images of a part; their number."""

    def __getitem__(self, index: int) -> int | Exception:
        try:
            return self.write(index)
        except OSError as error:
            return error
        except (TypeError, ValueError) as error:  # of an image that cannot be used
            return (TypeError if isinstance(error, TypeError) else ValueError)(str(error))


def write_all(parts: Parts, workers: int, on_images: Callable[[int], object]) -> None:
    """Write all parts, in this process or in several; call `on_images` with the number of images of each."""
    watch = partial(_end_with, os.getpid())
    for written in DataLoader(parts, batch_size=None, num_workers=workers, worker_init_fn=watch):
        if isinstance(written, Exception):
            raise written
        on_images(written)


def _end_with(parent: int, worker: int) -> None:
    """End a worker with its parent: no worker of a killed export may write beside the one that resumes it."""
    end_with(parent)


def check_workers(workers: int | None) -> None:
    """Raise ValueError unless this can be a number of processes."""
    if workers is not None and not (isinstance(workers, Integral) and workers >= 0):
        raise ValueError(f"workers must be a whole number of at least 0, got {workers!r}.")


def processes(workers: int | None, parts: int, worth: int) -> int:
    """The number of processes to start, never more than there are parts; 0 where this one is enough.

    Args:
        workers: as told; None: one per core where there is work for all.
        parts: number of parts to write.
        worth: parts that are worth a process.
    """
    if workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = min(cores, parts // worth)
    workers = min(workers, parts)
    return workers if workers > 1 else 0
