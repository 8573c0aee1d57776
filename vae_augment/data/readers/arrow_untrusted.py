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

LEAST = 15  # an older pyarrow may run code in a file's extension type (CVE-2023-47248)
MOST_BYTES = 2**32  # of Parquet columns in memory: as their metadata declares, and as they unpack
# Rows of a Parquet file that are read before their bytes are counted. Its metadata does not say how much they unpack
# to: a page of some kilobytes may hold a value of 2 GiB, the most that Parquet allows, and each row may refer to it.
# With pyarrow's copies they take some ten times the longest value, 20 GiB at worst.
ROWS = 4
TOGETHER = 2**6  # tables of so few rows that are joined into one, to save memory


def pyarrow(path: Path) -> Any:
    """Import pyarrow. Raises ValueError that names the file if pyarrow is missing or too old."""
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
    """Turn any error of pyarrow into a ValueError that begins with `said`. A plain ValueError is ours and passes."""
    try:
        yield
    except Exception as error:  # ArrowInvalid, OSError without a number, NotImplementedError, ...
        if type(error) is ValueError or (isinstance(error, OSError) and error.errno is not None):
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"{said}: {first.rstrip('.')}.") from None


def read_parquet(paths: Sequence[Path], choose: Callable[[Any], list[str]]) -> Any:
    """Read some columns of Parquet files into a table. Raises ValueError for too large or damaged files.

    Args:
        paths: the files, at least one.
        choose: function from the schema to the columns to read; "image.bytes" is part of a column.
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
    """Rows and unpacked bytes that a file's metadata declares; 0 bytes if some columns are not read.

    The metadata has the bytes of each column too, but pyarrow crashes when it reads a damaged one's.
    """
    columns = [file.schema.column(k) for k in range(len(file.schema))]
    read = [column for column in columns if any(f"{column.path}.".startswith(f"{name}.") for name in names)]
    if any(column.max_repetition_level for column in read):  # a single row may hold any number of values
        raise TypeError(f"one of the columns {', '.join(names)} holds lists")
    groups = [file.metadata.row_group(k) for k in range(file.num_row_groups)]
    size = sum(group.total_byte_size for group in groups) if len(file.schema_arrow.names) == len(names) else 0
    return sum(group.num_rows for group in groups), size


def _pieces(arrow: Any, file: Any, names: list[str]) -> Iterator[Any]:
    """Tables of a few rows; the first has no rows, and tells the columns."""
    empty = file.read_row_groups([], columns=names)
    plain = _plain(arrow, empty.schema)
    is_plain = plain.equals(empty.schema)
    yield empty.cast(plain)
    for batch in file.iter_batches(batch_size=ROWS, columns=names, use_threads=False):
        piece = arrow.Table.from_batches([batch])
        yield piece if is_plain else piece.cast(plain)


def _plain(arrow: Any, schema: Any) -> Any:
    """Schema with plain values in place of dictionaries, of which each piece would have a copy, and of views."""
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
    check_count(rows, of)
    if size > MOST_BYTES:
        raise ValueError(
            f"{of} must have images and labels of at most {MOST_BYTES:,} bytes, unpacked, got {size:,} or more. "
            "Save it with Dataset.save_to_disk, or as class folders: these are not read into memory."
        )


def read_streams(paths: Sequence[Path]) -> Any:
    """Map Arrow streams into a table, which takes no memory, however large it is.

    Raises:
        ValueError: a file is damaged, or holds data that must be unpacked into memory.
    """
    arrow = pyarrow(paths[0])
    options = arrow.ipc.IpcReadOptions(ensure_native_endian=False)  # swapping bytes would take memory
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
    """Name data in a stream that must be unpacked into memory; "" if there is none."""
    schema = arrow.ipc.open_stream(arrow.memory_map(str(path))).schema
    if any(str(kind).endswith("_view") for kind in schema.types):  # many of them may refer to the same bytes
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
    """Message of a batch with zeros for its values, which take no memory.

    Compressed values cannot be zeros: pyarrow refuses them before it unpacks anything.
    """
    head = struct.pack("<Ii", 2**32 - 1, message.metadata.size) + message.metadata.to_pybytes()
    block = mmap.mmap(-1, len(head) + message.body.size)
    block.write(head)
    return arrow.py_buffer(block)
