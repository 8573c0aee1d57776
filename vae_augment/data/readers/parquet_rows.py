"""Parquet files, read a few rows at a time, so that what they unpack to is known before there is much of it.

A page of a kilobyte may stand for gigabytes: a dictionary holds a long value once, and each row names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vae_augment.data.opened import check_count
from vae_augment.data.readers.arrow_untrusted import pyarrow, told, validated

MOST_BYTES = 2**32  # of the columns that are read into memory
ROWS = 4  # read at a time: what is read before it is counted is as many of the longest value, which may be the bound
PIECES_TOGETHER, BYTES_TOGETHER = 2**10, 2**24  # joined: to find a row among many small pieces takes long


class ParquetRows:
    """Parquet files of the same columns.

    Args:
        paths: of the files, at least one.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self._arrow = pyarrow(paths[0])
        from pyarrow import parquet

        self._said = f"{paths[0]} is no Parquet file, or is damaged"
        with told(self._said):
            self._files = [parquet.ParquetFile(path, pre_buffer=False) for path in paths]

    @property
    def schema(self) -> Any:
        return self._files[0].schema_arrow

    def read(self, names: Sequence[str]) -> Any:
        """The table of some columns, "image.bytes" for a part of one. ValueError if it is too large."""
        with told(self._said):
            declared = [_declared(file, names) for file in self._files]
        self._check(*map(sum, zip(*declared, strict=True)))
        rows = size = held = 0
        tables: list[Any] = []
        pieces: list[Any] = []
        for piece in self._pieces(names):
            taken = piece.nbytes
            rows, size, held = rows + piece.num_rows, size + taken, held + taken
            self._check(rows, size)
            pieces.append(piece)
            if len(pieces) == PIECES_TOGETHER or held >= BYTES_TOGETHER:
                tables.append(self._joined(pieces))
                pieces, held = [], 0
        tables.append(self._joined(pieces))
        with told(self._said):
            return validated(self._arrow.concat_tables([table for table in tables if table is not None]))

    def _pieces(self, names: Sequence[str]) -> Iterator[Any]:
        """Tables of no row, which tell of the columns, and of a few rows each."""
        for file in self._files:
            with told(self._said):
                empty = file.read_row_groups([], columns=names)
                schema = _plain(empty.schema)
                is_plain = schema.equals(empty.schema)
                yield empty.cast(schema)
                batches = file.iter_batches(batch_size=ROWS, columns=names, use_threads=False)
            while True:
                with told(self._said):
                    batch = next(batches, None)
                    if batch is None:
                        break
                    piece = self._arrow.Table.from_batches([batch])
                    piece = piece if is_plain else piece.cast(schema)
                yield piece

    def _joined(self, pieces: list[Any]) -> Any:
        with told(self._said):
            return self._arrow.concat_tables(pieces).combine_chunks() if pieces else None

    def _check(self, rows: int, size: int) -> None:
        of = self.paths[0] if len(self.paths) == 1 else self.paths[0].parent
        check_count(rows, str(of))
        if size > MOST_BYTES:
            raise ValueError(
                f"{of} must have images and labels of at most {MOST_BYTES:,} bytes, unpacked, got {size:,} or more. "
                "Save it with Dataset.save_to_disk, or as class folders: these are not read into memory."
            )


def _declared(file: Any, names: Sequence[str]) -> tuple[int, int]:
    """Rows, and bytes of some columns before they are compressed, as a file says.

    Raises ValueError for lists: a single row may hold any number of values.
    """
    places = [k for k in range(len(file.schema)) if _is_within(file.schema.column(k).path, names)]
    if any(file.schema.column(k).max_repetition_level for k in places):
        raise ValueError(f"one of the columns {', '.join(names)} holds lists")
    groups = [file.metadata.row_group(k) for k in range(file.num_row_groups)]
    size = sum(group.column(k).total_uncompressed_size for group in groups for k in places)
    return sum(group.num_rows for group in groups), size


def _is_within(path: str, names: Sequence[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in names)


def _plain(schema: Any) -> Any:
    """The schema with values instead of places in a dictionary, of which each piece would have a copy, and of views."""
    from pyarrow import string, types

    for place, field in enumerate(schema):
        if types.is_dictionary(field.type):
            schema = schema.set(place, field.with_type(field.type.value_type))
        elif str(field.type) == "string_view":  # which pyarrow before version 16 lacks
            schema = schema.set(place, field.with_type(string()))
    return schema
