"""Parquet files, and folders saved by Hugging Face's `datasets`: tables with image files in a column of bytes.

pyarrow reads both. `datasets`, which may run code that comes with data, is not needed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vae_augment.data.opened import OpenedData, Problem, check_count, check_usable
from vae_augment.data.readers.arrow_untrusted import read_parquet, read_streams
from vae_augment.data.readers.columns import IMAGES, LABELS, SPLIT, as_text, chosen_split, column, numbered
from vae_augment.data.readers.image_files import EncodedImages
from vae_augment.data.readers.shards import check_complete, files_like, split_of

SAVED = "state.json"  # in a folder where `save_to_disk` has saved one dataset
SAVED_PARTS = "dataset_dict.json"  # in one with several


class TableImages(EncodedImages):
    """Image files in a table's column.

    Args:
        column: a pyarrow array of bytes.
        rows: rows to use, in order.
        targets: label of each of these rows.
        classes: names of labels 0, 1, ...; empty if labels have no names.
        max_pixels: largest width times height of an image; a larger one is an error.
    """

    def __init__(
        self, column: Any, rows: Sequence[int], targets: Sequence[int], classes: Sequence[str], max_pixels: int
    ) -> None:
        self._column, self._rows = column, rows
        super().__init__(targets, classes, max_pixels)

    def encoded(self, index: int) -> bytes:
        held: bytes = self._column[self._rows[index]].as_py()
        return held


def is_table_folder(path: Path) -> bool:
    """Say whether a folder holds Parquet files, or was written by `datasets`."""
    return (path / SAVED).is_file() or (path / SAVED_PARTS).is_file() or bool(_parquet_files(path))


def open_parquet(path: Path, part: str, on_error: str, max_pixels: int) -> OpenedData:
    """Open a Parquet file, the same in both parts unless it has a column "split"."""
    return _opened(_parquet([path], path), path, path.stem, "parquet", part, on_error, max_pixels)


def open_table_folder(path: Path, part: str, on_error: str, max_pixels: int) -> OpenedData:
    """Open a folder of Parquet files (those of the part, if their names tell), or one saved by `save_to_disk`."""
    name, files = path.resolve().name, _parquet_files(path)
    if files:
        splits = {file: split_of(file) for file in files}
        if len(set(splits.values())) > 1 or part == "test":
            wanted = chosen_split(splits.values(), part, path)
            files = [file for file in files if splits[file] == wanted]
        return _opened(_parquet(files, path), path, name, "parquet", part, on_error, max_pixels)
    folder = path
    if (path / SAVED_PARTS).is_file():
        parts = [child.name for child in path.iterdir() if (child / SAVED).is_file()]
        folder = path / chosen_split(parts, part, path)
    files = files_like(folder, "data-*.arrow")
    if not files:
        raise ValueError(f"{folder} must hold data-*.arrow files beside {SAVED}, got none.")
    check_complete(files)
    table = read_streams(files)
    check_count(table.num_rows, folder)
    return _opened(table, path, name, "huggingface", part, on_error, max_pixels)


def _parquet_files(path: Path) -> list[Path]:
    """Parquet files in a folder, or in its subfolder "data", where the hub keeps them."""
    return files_like(path, "*.parquet") or files_like(path / "data", "*.parquet")


def _parquet(files: list[Path], path: Path) -> Any:
    """Read the useful columns of Parquet files."""
    check_complete(files)
    return read_parquet(files, lambda schema: _columns(schema, path).wanted)


def _opened(table: Any, path: Path, name: str, source: str, part: str, on_error: str, max_pixels: int) -> OpenedData:
    """Dataset of a table's rows that are of the part and have both image and label."""
    from pyarrow import compute

    columns = _columns(table.schema, path)
    images, labels, rows = table[columns.images], _texts(table[columns.labels]), _rows_of(table, part, path)
    if columns.in_struct:
        images = compute.struct_field(images, "bytes")
    if columns.names:
        labels = ["" if label.startswith("-") else label for label in labels]  # -1: unknown
    there = images.is_valid().to_pylist()
    reasons = {
        row: "it holds no image's bytes" if labels[row] else "it has no label"
        for row in rows
        if not (there[row] and labels[row])
    }
    problems = [Problem(f"{path.name}, row {row}", reason) for row, reason in reasons.items()]
    kept = [row for row in rows if row not in reasons]
    check_usable(problems, path, on_error, left=len(kept))
    numbers, own = numbered([labels[row] for row in kept])
    dataset = TableImages(images, kept, numbers, own or columns.names, max_pixels)
    return OpenedData(dataset, name, source, tuple(problems))


class _Columns(NamedTuple):
    """Columns of a table, and the names that `datasets` has noted for labels, if any."""

    images: str
    in_struct: bool
    labels: str
    names: list[str]
    wanted: list[str]  # columns to read from Parquet


def _columns(schema: Any, path: Path) -> _Columns:
    """Find the columns of a table by its schema alone. Raises ValueError for a table of another kind."""
    from pyarrow import types

    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise ValueError(f"{path} must have columns of different names, got {twice[0]!r} more than once.")
    features = _features(schema)
    images = _of_type(features, "Image") or column(schema.names, IMAGES, path)
    labels = _of_type(features, "ClassLabel") or column(schema.names, LABELS, path)
    kind = schema.field(images).type
    in_struct = types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    held = kind.field(kind.get_field_index("bytes")).type if in_struct else kind
    if not (types.is_binary(held) or types.is_large_binary(held)):
        raise ValueError(f"column {images!r} of {path} must hold the bytes of image files, got {held}.")
    others = [labels, *({SPLIT} & {*schema.names})]
    for name in others:
        kind = schema.field(name).type
        if types.is_nested(kind):
            raise ValueError(f"column {name!r} of {path} must hold whole numbers or names, got {kind}.")
    names = features.get(labels, {}).get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        names = []
    return _Columns(images, in_struct, labels, names, [f"{images}.bytes" if in_struct else images, *others])


def _rows_of(table: Any, part: str, path: Path) -> list[int]:
    """Rows whose "split" is the part; all rows if there is no such column."""
    if SPLIT not in table.column_names or not table.num_rows:
        return list(range(table.num_rows))
    splits = _texts(table[SPLIT])
    wanted = chosen_split(splits, part, path)
    return [row for row, split in enumerate(splits) if split == wanted]


def _texts(held: Any) -> list[str]:
    """Values of a column as text, equal texts sharing memory."""
    known: dict[str, str] = {}
    texts = (as_text(value.as_py()) for value in held)
    return [known.setdefault(text, text) for text in texts]


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """Notes of `datasets` on each column, such as its type and the names of its labels."""
    noted = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = json.loads(noted)["info"]["features"]
        return {name: kind for name, kind in features.items() if isinstance(kind, dict) and name in schema.names}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _of_type(features: dict[str, dict[str, Any]], kind: str) -> str | None:
    return next((name for name, feature in features.items() if feature.get("_type") == kind), None)
