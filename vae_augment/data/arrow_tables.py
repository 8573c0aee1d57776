"""Parquet files and folders that Hugging Face's `datasets` saves: tables with a column of image files' bytes.

pyarrow reads both; `datasets` itself, which may run code that comes with data, is not needed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vae_augment.data.columns import IMAGES, LABELS, SPLIT, as_text, chosen_split, column, numbered
from vae_augment.data.image_files import EncodedImages
from vae_augment.data.opened import OpenedData, Problem, refuse

MOST_BYTES = 2**32  # of the columns of a Parquet file, which are read into memory
SHARD = re.compile(r"(.+?)-\d+(-of-\d+)?")  # train-00000-of-00002
SAVED, SAVED_PARTS = "state.json", "dataset_dict.json"  # one of them is in a folder that `save_to_disk` has written


class TableImages(EncodedImages):
    """Images that a table holds as the bytes of files.

    Args:
        column: a pyarrow array of bytes.
        rows: those to use, in order.
        targets: the label of each of them.
        classes: names that labels are indices of; empty if they have none.
        max_pixels: of an image; one of more is an error.
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
    """Whether a folder holds Parquet files, or was written by `datasets`."""
    return (path / SAVED).is_file() or (path / SAVED_PARTS).is_file() or bool(_parquet_files(path))


def open_parquet(path: Path, part: str, on_error: str, max_pixels: int) -> OpenedData:
    """A file is the same in both parts, but for a column "split"."""
    table = _read_parquet([path])
    return _opened(table, path, path.stem, "parquet", part, on_error, max_pixels)


def open_table_folder(path: Path, part: str, on_error: str, max_pixels: int) -> OpenedData:
    name = path.resolve().name
    files = _parquet_files(path)
    if files:
        splits = {file: _split_of(file) for file in files}
        if len(set(splits.values())) > 1 or part == "test":
            wanted = chosen_split(splits.values(), part, str(path))
            files = [file for file in files if splits[file] == wanted]
        return _opened(_read_parquet(files), path, name, "parquet", part, on_error, max_pixels)
    folder = path
    if (path / SAVED_PARTS).is_file():
        parts = [child.name for child in path.iterdir() if (child / SAVED).is_file()]
        folder = path / chosen_split(parts, part, str(path))
    return _opened(_read_saved(folder), path, name, "huggingface", part, on_error, max_pixels)


def _parquet_files(path: Path) -> list[Path]:
    """Those of the folder itself, or of its folder "data", as the hub keeps them."""
    return sorted(path.glob("*.parquet")) or sorted((path / "data").glob("*.parquet"))


def _split_of(file: Path) -> str:
    shard = SHARD.fullmatch(file.stem)
    return shard[1] if shard else file.stem


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow
    except ImportError:
        raise ValueError(f"{path} needs pyarrow: pip install 'vae-augment[parquet]'.") from None
    return pyarrow


@contextmanager
def _told(said: str) -> Iterator[None]:
    """Whatever pyarrow raises over bytes that anyone may have written, as a ValueError that begins with `said`."""
    try:
        yield
    except Exception as error:  # ArrowInvalid, OSError without a number, NotImplementedError, ...
        if isinstance(error, OSError) and error.errno is not None:
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"{said}: {first.rstrip('.')}.") from None


def _read_parquet(paths: list[Path]) -> Any:
    arrow, said = _pyarrow(paths[0]), f"{paths[0]} is no Parquet file, or is damaged"
    from pyarrow import parquet

    with _told(said):
        files = [parquet.ParquetFile(path) for path in paths]
        size = sum(file.metadata.row_group(k).total_byte_size for file in files for k in range(file.num_row_groups))
    if size > MOST_BYTES:
        raise ValueError(f"{paths[0].parent} has Parquet files of {size:,} bytes in all, more than {MOST_BYTES:,}.")
    with _told(said):
        return _validated(arrow.concat_tables([file.read() for file in files]))


def _read_saved(folder: Path) -> Any:
    """The table of a folder that `Dataset.save_to_disk` has written, as pages of its files."""
    arrow = _pyarrow(folder)
    files = sorted(folder.glob("data-*.arrow"))
    if not files:
        raise ValueError(f"{folder} must hold data-*.arrow files beside {SAVED}, got none.")
    with _told(f"{folder} holds a damaged file"):
        tables = [arrow.ipc.open_stream(arrow.memory_map(str(file))).read_all() for file in files]
        return _validated(arrow.concat_tables(tables))


def _validated(table: Any) -> Any:
    table.validate(full=True)  # of unknown origin: offsets may lead anywhere
    return table


def _opened(table: Any, path: Path, name: str, source: str, part: str, on_error: str, max_pixels: int) -> OpenedData:
    twice = [name for name, count in Counter(table.column_names).items() if count > 1]
    if twice:
        raise ValueError(f"{path} must have columns of different names, got {twice[0]!r} more than once.")
    features = _features(table)
    images, (labels, names) = _image_bytes(table, features, path), _labels(table, features, path)
    there, rows = images.is_valid().to_pylist(), _rows_of(table, part, path)
    reasons = {
        row: "it holds no image's bytes" if labels[row] else "it has no label"
        for row in rows
        if not (there[row] and labels[row])
    }
    problems = [Problem(f"{path.name}, row {row}", reason) for row, reason in reasons.items()]
    if on_error == "fail":
        refuse(problems, str(path))
    kept = [row for row in rows if row not in reasons]
    if not kept:
        raise ValueError(f"{path} must hold at least one image with a label, got {table.num_rows} rows.")
    numbers, own = numbered([labels[row] for row in kept])
    dataset = TableImages(images, kept, numbers, own or names, max_pixels)
    return OpenedData(dataset, name, source, tuple(problems))


def _rows_of(table: Any, part: str, path: Path) -> list[int]:
    """Those whose "split" is the part, if there is such a column."""
    if SPLIT not in table.column_names or not table.num_rows:
        return list(range(table.num_rows))
    splits = [as_text(value) for value in table[SPLIT].to_pylist()]
    wanted = chosen_split(splits, part, str(path))
    return [row for row, split in enumerate(splits) if split == wanted]


def _labels(table: Any, features: dict[str, dict[str, Any]], path: Path) -> tuple[list[str], list[str]]:
    """The label of each row as text, "" where it is missing; and the names that `datasets` has noted."""
    label = _of_type(features, "ClassLabel") or column(table.column_names, LABELS, str(path))
    labels = [as_text(value) for value in table[label].to_pylist()]
    names = features.get(label, {}).get("names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        return labels, []
    return ["" if label.startswith("-") else label for label in labels], names  # -1: it is not known


def _features(table: Any) -> dict[str, dict[str, Any]]:
    """What `datasets` has noted of each column: its type, the names of its labels."""
    noted = (table.schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = json.loads(noted)["info"]["features"]
        return {name: kind for name, kind in features.items() if isinstance(kind, dict) and name in table.column_names}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _of_type(features: dict[str, dict[str, Any]], kind: str) -> str | None:
    return next((name for name, feature in features.items() if feature.get("_type") == kind), None)


def _image_bytes(table: Any, features: dict[str, dict[str, Any]], path: Path) -> Any:
    """The column of images, as bytes."""
    from pyarrow import compute, types

    name = _of_type(features, "Image") or column(table.column_names, IMAGES, str(path))
    images = table[name]
    if types.is_struct(images.type) and images.type.get_field_index("bytes") >= 0:
        images = compute.struct_field(images, "bytes")
    if not (types.is_binary(images.type) or types.is_large_binary(images.type)):
        raise ValueError(f"column {name!r} of {path} must hold the bytes of image files, got {images.type}.")
    return images
