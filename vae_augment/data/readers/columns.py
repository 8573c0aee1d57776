"""Columns of a table that hold images, labels and splits, by their usual names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

FILES = ("path", "file", "filename", "file_name", "filepath", "image", "img")
IMAGES = ("image", "images", "img", "x", "data", "pixels")
LABELS = ("label", "labels", "class", "class_name", "target", "targets", "y", "category")
SPLIT = "split"
LISTED = 10  # splits in an error
WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})(\.0+)?")  # not "007"; "7.0" comes from tables with gaps
PARTS = {
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation"),
}  # the first that exists


def column(names: Iterable[str], wanted: Sequence[str], of: Path) -> str:
    """Find the first of the `wanted` names, ignoring case. Raises ValueError if there is none."""
    there = {name.strip().casefold(): name for name in names}
    for name in wanted:
        if name in there:
            return there[name]
    found = ", ".join(map(repr, there)) or "none"
    raise ValueError(f"{of} must have a column named one of {', '.join(wanted)}, got the columns {found}.")


def chosen_split(splits: Iterable[Any], part: str, of: Path) -> str:
    """Find the split that is the part "train" or "test". Raises ValueError if there is none."""
    there = {str(split) for split in splits}
    for name in PARTS[part]:
        for split in sorted(there):
            if split.strip().casefold() == name:
                return split
    listed = ", ".join(map(repr, sorted(there)[:LISTED])) + f" and {len(there) - LISTED:,} more" * (len(there) > LISTED)
    raise ValueError(f"{of} must have a split named one of {', '.join(PARTS[part])}, got [{listed}].")


def as_text(label: Any) -> str:
    """Write a label as text: "" if it is missing. Raises ValueError unless it is a whole number or a name."""
    if label is None or (isinstance(label, float) and math.isnan(label)):
        return ""
    if not isinstance(label, (str, bytes, int, float)):
        raise ValueError(f"labels must be whole numbers or names, got {type(label).__name__}.")
    if isinstance(label, float) and not label.is_integer():
        raise ValueError(f"labels must be whole numbers or names, got {label:g}.")
    return label.decode(errors="backslashreplace") if isinstance(label, bytes) else str(label).strip()


def numbered(labels: Sequence[str]) -> tuple[list[int], list[str]]:
    """Convert labels given as text to integers, and list their names.

    Labels that are all whole numbers keep their values, without names.
    """
    if all(WHOLE.fullmatch(label) for label in labels):
        return [int(label.split(".")[0]) for label in labels], []
    names = sorted(set(labels))
    places = {name: place for place, name in enumerate(names)}
    return [places[label] for label in labels], names
