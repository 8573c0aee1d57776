"""An opened dataset, where it came from, and what in it cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import Dataset

SAMPLE_SOURCE = "bundled sample"
LISTED = 5  # problems in an error
MOST_ITEMS = 10_000_000  # of a dataset: of each there are labels and names in memory


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that cannot be used.

    Args:
        where: the file, folder, row or item.
        reason: why, as a sentence.
        name: of its class, if known.
    """

    where: str
    reason: str
    name: str | None = None

    def __str__(self) -> str:
        of_class = "" if self.name is None else f" of class {self.name!r}"
        return f"{self.where}{of_class}: {self.reason}"


@dataclass(frozen=True)
class OpenedData:
    """A dataset and where it came from.

    Args:
        dataset: of (image, int) items.
        name: "mnist", or the folder's or file's name.
        source: "torchvision", "folder", "csv", "arrays", "parquet", "huggingface" or `SAMPLE_SOURCE`.
        problems: what could not be opened and is not in the dataset.
        notes: what was passed over and is no problem, as sentences.
        ending: of the file's name, where it is one: ".npz".
    """

    dataset: Dataset[Any]
    name: str
    source: str
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    ending: str = ""


def check_count(items: int, of: str) -> None:
    """Raise ValueError if there are more items than a dataset may have."""
    if items > MOST_ITEMS:
        raise ValueError(f"{of} must have at most {MOST_ITEMS:,} images, got {items:,} or more. Divide it.")


def refuse(problems: Sequence[Problem], of: str, *, all_of_it: bool = False) -> None:
    """Raise ValueError that lists the first of some problems, if there are any; `all_of_it`: nothing else is there."""
    if problems:
        first = "; ".join(str(problem).rstrip(".") for problem in problems[:LISTED])
        more = f"; and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        advice = "Nothing is left" if all_of_it else "Mend or remove them, or leave them out with --on-error skip"
        raise ValueError(f"{len(problems)} of {of} cannot be used: {first}{more}. {advice}.")
