"""Folders that Hugging Face's `Dataset.save_to_disk` has written, as pages of their files.

So they take no memory, however large they are. What would have to be unpacked into memory is refused: `datasets`
writes none of it.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from vae_augment.data.opened import check_count
from vae_augment.data.readers.arrow_untrusted import pyarrow, told, validated
from vae_augment.data.readers.shards import check_complete, files_like

SAVED = "state.json"  # is beside the files
# Fields of the flatbuffers tables of Arrow's format, Message.fbs: of a message its header, of a batch its compression.
HEADER, COMPRESSION = 2, 3


def read_saved(folder: Path) -> Any:
    """The table that a folder holds."""
    arrow = pyarrow(folder)
    files = files_like(folder, "data-*.arrow")
    if not files:
        raise ValueError(f"{folder} must hold data-*.arrow files beside {SAVED}, got none.")
    check_complete(files)
    said = f"{folder} holds a damaged file"
    for file in files:
        with told(said):
            packed = _packed(arrow, file)
        if packed:
            raise ValueError(
                f"{file} must hold plain batches, as Dataset.save_to_disk writes them, got {packed}. Save it so."
            )
    with told(said):
        options = arrow.ipc.IpcReadOptions(ensure_native_endian=False)  # which would take memory
        tables = [arrow.ipc.open_stream(arrow.memory_map(str(file)), options=options).read_all() for file in files]
        table = validated(arrow.concat_tables(tables))
    check_count(table.num_rows, str(folder))
    return table


def _packed(arrow: Any, file: Path) -> str:
    """What a file holds that would have to be unpacked, or ""."""
    schema = arrow.ipc.open_stream(arrow.memory_map(str(file))).schema
    if any("view" in str(field.type) for field in schema):  # of which many may be of the same bytes
        return "views"
    for message in arrow.ipc.MessageReader.open_stream(arrow.memory_map(str(file))):
        if message.type == "dictionary":
            return "a dictionary"
        if message.type == "record batch" and _is_compressed(message.metadata.to_pybytes()):
            return "compressed ones"
    return ""


def _is_compressed(message: bytes) -> bool:
    """Whether the header of a batch says so; pyarrow tells only once it has unpacked it."""
    (root,) = struct.unpack_from("<I", message)
    header = _field(message, root, HEADER)
    if header is None:
        raise ValueError("a message without a header")
    (batch,) = struct.unpack_from("<I", message, header)
    return _field(message, header + batch, COMPRESSION) is not None


def _field(message: bytes, table: int, number: int) -> int | None:
    """Where a field of a flatbuffers table is; None if it is left out."""
    (back,) = struct.unpack_from("<i", message, table)
    fields = table - back
    (size,) = struct.unpack_from("<H", message, fields)
    place = 4 + 2 * number
    if place + 2 > size:
        return None
    (distance,) = struct.unpack_from("<H", message, fields + place)
    return table + distance if distance else None
