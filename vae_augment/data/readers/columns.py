"""Names of the columns, or keys, of a table that hold images, labels, and the part that a row belongs to."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

FILES = ("path", "file", "filename", "file_name", "filepath", "image", "img")
IMAGES = ("image", "images", "img", "x", "data", "pixels")
LABELS = ("label", "labels", "class", "class_name", "target", "targets", "y", "category")
SPLIT = "split"
LISTED = 10  # splits, in an error
WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})(\.0+)?")  # not "007"; "7.0" as tables write it that have gaps
PARTS = {"train": ("train", "training"), "test": ("test", "testing", "val", "valid", "validation")}  # first that occurs


def column(names: Iterable[str], wanted: Sequence[str], of: str) -> str:
    """The first of the `wanted` names that there is, whatever its case. Raises ValueError if there is none."""
    there = {name.strip().casefold(): name for name in names}
    for name in wanted:
        if name in there:
            return there[name]
    found = ", ".join(map(repr, there)) or "none"
    raise ValueError(f"{of} must have a column named one of {', '.join(wanted)}, got the columns {found}.")


def chosen_split(splits: Iterable[Any], part: str, of: str) -> str:
    """The split that is the part "train" or "test". Raises ValueError if there is none."""
    there = {str(split) for split in splits}
    for name in PARTS[part]:
        for split in sorted(there):
            if split.strip().casefold() == name:
                return split
    listed = ", ".join(map(repr, sorted(there)[:LISTED])) + f" and {len(there) - LISTED:,} more" * (len(there) > LISTED)
    raise ValueError(f"{of} must have a split named one of {', '.join(PARTS[part])}, got [{listed}].")


def as_text(label: Any) -> str:
    """A label as a table that is text writes it: "" where it is missing. ValueError for what is no number or name."""
    if label is None or (isinstance(label, float) and math.isnan(label)):
        return ""
    if not isinstance(label, (str, bytes, int, float)):
        raise ValueError(f"labels must be whole numbers or names, got {type(label).__name__}.")
    if isinstance(label, float) and not label.is_integer():
        raise ValueError(f"labels must be whole numbers or names, got {label:g}.")
    return label.decode(errors="backslashreplace") if isinstance(label, bytes) else str(label).strip()


def numbered(labels: Sequence[str]) -> tuple[list[int], list[str]]:
    """Labels written as text, as integers, and the names that these are places in.

    Where all are written as whole numbers they stay what they are, without names.
    """
    if all(WHOLE.fullmatch(label) for label in labels):
        return [int(label.split(".")[0]) for label in labels], []
    names = sorted(set(labels))
    places = {name: place for place, name in enumerate(names)}
    return [places[label] for label in labels], names
