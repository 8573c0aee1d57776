"""Parquet files and saved Arrow streams that anyone may have written, read by pyarrow within bounds."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from vae_augment.data.opened import check_count

LEAST = 15  # an older pyarrow may run code that a file holds as an extension type (CVE-2023-47248)
MOST_BYTES = 2**32  # of Parquet files' columns in memory: as the metadata declares them, and as they unpack
# Rows of a Parquet file that are read before they are counted. Its metadata does not say what they unpack to: a page
# of some kilobytes may hold a value of 2 GiB, the most that Parquet allows, and each row may name it. With the copies
# that pyarrow makes these are some ten times the longest value, 20 GiB at worst.
ROWS = 4
TOGETHER = 2**6  # tables of so few rows that are joined into one: each takes memory beside its values


def pyarrow(path: Path) -> Any:
    """The library. Raises ValueError that names the file if it is not installed, or too old."""
    try:
        import pyarrow

        usable = int(pyarrow.__version__.split(".")[0]) >= LEAST
    except ImportError:
        usable = False
    if not usable:
        raise ValueError(f"{path} needs pyarrow>={LEAST}: pip install 'vae-augment[parquet]'.")
    return pyarrow


@contextmanager
def told(said: str) -> Iterator[None]:
    """Turn whatever pyarrow raises into a ValueError that begins with `said`. A plain ValueError is ours and passes."""
    try:
        yield
    except Exception as error:  # ArrowInvalid, OSError without a number, NotImplementedError, ...
        if type(error) is ValueError or (isinstance(error, OSError) and error.errno is not None):
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"{said}: {first.rstrip('.')}.") from None


def read_parquet(paths: Sequence[Path], choose: Callable[[Any], list[str]]) -> Any:
    """The table of some columns of Parquet files. Raises ValueError if it is too large, or a file is damaged.

    Args:
        paths: of the files, at least one.
        choose: the columns to read, by the schema; "image.bytes" is a part of one.
    """
    arrow, tables = pyarrow(paths[0]), []
    from pyarrow import parquet

    of = paths[0] if len(paths) == 1 else paths[0].parent
    with told(f"{paths[0]} is no Parquet file, or is damaged"):
        files = [parquet.ParquetFile(path, pre_buffer=False) for path in paths]
        names = choose(files[0].schema_arrow)
        _check(of, *map(sum, zip(*(_declared(file, names) for file in files), strict=True)))
        pieces = _counted(of, (piece for file in files for piece in _pieces(arrow, file, names)))
        while some := list(islice(pieces, TOGETHER)):
            tables.append(arrow.concat_tables(some).combine_chunks())
        table = arrow.concat_tables(tables)
        table.validate(full=True)
    return table


def _declared(file: Any, names: list[str]) -> tuple[int, int]:
    """Rows and bytes, unpacked, as a file's metadata says; no bytes if there are columns that are not read.

    The metadata has the bytes of each column too, but pyarrow ends the process when it looks at a damaged one's.
    """
    columns = [file.schema.column(k) for k in range(len(file.schema))]
    read = [column for column in columns if any(f"{column.path}.".startswith(f"{name}.") for name in names)]
    if any(column.max_repetition_level for column in read):  # a single row may hold any number of values
        raise TypeError(f"one of the columns {', '.join(names)} holds lists")
    groups = [file.metadata.row_group(k) for k in range(file.num_row_groups)]
    size = sum(group.total_byte_size for group in groups) if len(file.schema_arrow.names) == len(names) else 0
    return sum(group.num_rows for group in groups), size


def _pieces(arrow: Any, file: Any, names: list[str]) -> Iterator[Any]:
    """A table of no row, which tells of the columns, and tables of a few rows."""
    empty = file.read_row_groups([], columns=names)
    plain = _plain(arrow, empty.schema)
    is_plain = plain.equals(empty.schema)
    yield empty.cast(plain)
    for batch in file.iter_batches(batch_size=ROWS, columns=names, use_threads=False):
        piece = arrow.Table.from_batches([batch])
        yield piece if is_plain else piece.cast(plain)


def _plain(arrow: Any, schema: Any) -> Any:
    """The schema with values instead of places in a dictionary, of which each piece would have a copy, and of views."""
    for place, field in enumerate(schema):
        if arrow.types.is_dictionary(field.type):
            schema = schema.set(place, field.with_type(field.type.value_type))
        elif str(field.type) == "string_view":  # which pyarrow before version 16 lacks
            schema = schema.set(place, field.with_type(arrow.string()))
    return schema


def _counted(of: Path, pieces: Iterable[Any]) -> Iterator[Any]:
    rows = size = 0
    for piece in pieces:
        rows, size = rows + piece.num_rows, size + piece.nbytes
        _check(of, rows, size)
        yield piece


def _check(of: Path, rows: int, size: int) -> None:
    check_count(rows, str(of))
    if size > MOST_BYTES:
        raise ValueError(
            f"{of} must have images and labels of at most {MOST_BYTES:,} bytes, unpacked, got {size:,} or more. "
            "Save it with Dataset.save_to_disk, or as class folders: these are not read into memory."
        )


def read_streams(paths: Sequence[Path]) -> Any:
    """The table of Arrow streams, as pages of their files: it takes no memory, however large it is.

    Raises:
        ValueError: a file is damaged, or holds what would have to be unpacked into memory.
    """
    arrow = pyarrow(paths[0])
    options = arrow.ipc.IpcReadOptions(ensure_native_endian=False)  # to swap bytes would take memory
    with told(f"{paths[0].parent} holds a damaged file"):
        for path in paths:
            packed = _packed(arrow, path)
            if packed:
                raise ValueError(
                    f"{path} must hold plain batches, as Dataset.save_to_disk writes them, got {packed}. Save it so."
                )
        tables = [arrow.ipc.open_stream(arrow.memory_map(str(path)), options=options).read_all() for path in paths]
        table = arrow.concat_tables(tables)
        table.validate(full=True)
    return table


def _packed(arrow: Any, path: Path) -> str:
    """Name what a stream holds that would have to be unpacked; "" if there is nothing."""
    schema = arrow.ipc.open_stream(arrow.memory_map(str(path))).schema
    if any(str(kind).endswith("_view") for kind in schema.types):  # of which many may be of the same bytes
        return "views"
    for message in arrow.ipc.MessageReader.open_stream(arrow.memory_map(str(path))):
        if message.type == "dictionary":
            return "a dictionary"
        if message.type == "record batch":
            try:
                arrow.ipc.read_record_batch(_blank(arrow, message), schema)
            except (arrow.ArrowException, OSError) as error:
                return f"a batch that is compressed or damaged ({error})"
    return ""


def _blank(arrow: Any, message: Any) -> Any:
    """A message of a batch with zeros for its values, which take no memory.

    Compressed values cannot be zeros: pyarrow refuses them, and has unpacked nothing.
    """
    head = struct.pack("<Ii", 2**32 - 1, message.metadata.size) + message.metadata.to_pybytes()
    block = mmap.mmap(-1, len(head) + message.body.size)
    block.write(head)
    return arrow.py_buffer(block)
