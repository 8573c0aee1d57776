"""An opened dataset, its origin, and the problems in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

SAMPLE_SOURCE = "bundled sample"
LISTED = 5  # problems in an error
MOST_ITEMS = 10_000_000  # of a dataset, whose labels and names are all in memory


@dataclass(frozen=True, slots=True)
class Problem:
    """A part of a dataset that is not usable.

    Args:
        where: the file, folder, row or item.
        reason: a sentence that says why.
        name: name of its class, if known.
    """

    where: str
    reason: str
    name: str | None = None

    def __str__(self) -> str:
        of_class = "" if self.name is None else f" of class {self.name!r}"
        return f"{self.where}{of_class}: {self.reason}"


@dataclass(frozen=True)
class OpenedData:
    """A dataset and its origin.

    Args:
        dataset: the dataset, of (image, int) items.
        name: "mnist", or the folder's or file's name.
        source: "torchvision", "folder", "csv", "arrays", "parquet", "huggingface" or `SAMPLE_SOURCE`.
        problems: parts that could not be opened and are not in the dataset.
        notes: remarks on what was passed over, as sentences.
        ending: ending of the file's name, such as ".npz"; "" for other sources.
    """

    dataset: Dataset[Any]
    name: str
    source: str
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    ending: str = ""


def check_count(items: int, of: Path) -> None:
    """Raise ValueError if there are more items than a dataset may have."""
    if items > MOST_ITEMS:
        raise ValueError(f"{of} must have at most {MOST_ITEMS:,} images, got {items:,} or more. Split it.")


def check_usable(problems: Sequence[Problem], of: Path, on_error: str, left: int) -> None:
    """Raise ValueError that lists the first problems if `on_error` is "fail", or if no image is `left`."""
    if problems and (on_error == "fail" or not left):
        first = "; ".join(str(problem).rstrip(".") for problem in problems[:LISTED])
        more = f"; and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        fix = "Fix or remove them, or leave them out with --on-error skip" if on_error == "fail" else "Nothing is left"
        raise ValueError(f"{len(problems)} of {of} cannot be used: {first}{more}. {fix}.")
    if not left:
        raise ValueError(f"{of} must hold at least one image with a label, got none.")
