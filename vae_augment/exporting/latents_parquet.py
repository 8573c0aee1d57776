"""Latents as a Parquet table: a row an image; a column for each dimension, or of bytes one for all of them."""

from __future__ import annotations

import io
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_augment.bank.tensor_file import METADATA_KEY
from vae_augment.data.readers.arrow_untrusted import pyarrow, told
from vae_augment.data.readers.parquet_rows import MOST_BYTES
from vae_augment.data.readers.parquet_rows import ROWS as FEW
from vae_augment.exporting.latents_metadata import LATENTS, DeclaredLatents
from vae_augment.files.untrusted_json import MAX_BYTES, brief

LEVEL = 9  # of zstd
ROWS = 2**16  # read at a time, of numbers
OVERHEAD = 16  # bytes that a name takes in memory beside its own, at most
NAME, LABEL = "name", "label"  # columns beside mean_0, mean_1, ...


def serialize(tensors: Mapping[str, Tensor], names: Sequence[str], text: str, path: Path) -> bytes:
    """The bytes of a Parquet file.

    Args:
        tensors: "mean" [N, L], perhaps "logvar", and "labels" [N]; whatever else there is goes into the metadata, in
            base64.
        names: N.
        text: the metadata.
        path: the file, for messages.
    """
    arrow = pyarrow(path)
    from pyarrow import parquet

    columns = {NAME: arrow.array(names, arrow.string()), LABEL: arrow.array(tensors["labels"].numpy())}
    for kind in ("mean", "logvar"):
        if kind in tensors:
            columns |= _columns(arrow, kind, tensors[kind])
    entries = {METADATA_KEY: text}
    for name in sorted(set(tensors) - {"mean", "logvar", "labels"}):
        entries[_entry(name)] = b64encode(tensors[name].numpy().astype("<f4").tobytes()).decode()
    file = io.BytesIO()
    table = arrow.table(columns).replace_schema_metadata(entries)
    floats = [name for name, column in columns.items() if column.type == arrow.float32()]
    parquet.write_table(
        table,
        file,
        compression="zstd",
        compression_level=LEVEL,
        use_dictionary=[LABEL],
        column_encoding={NAME: "DELTA_BYTE_ARRAY", **dict.fromkeys(floats, "BYTE_STREAM_SPLIT")},
        write_statistics=False,
    )
    return file.getvalue()


def _columns(arrow: Any, kind: str, values: Tensor) -> dict[str, Any]:
    """Those of codes [N, L]: bytes as one, since Parquet has no numbers of less than four bytes."""
    if values.dtype != torch.int8:
        return {f"{kind}_{k}": arrow.array(column) for k, column in enumerate(values.numpy().T.copy())}
    held = [None, arrow.py_buffer(values.numpy().tobytes())]
    return {kind: arrow.FixedSizeBinaryArray.from_buffers(arrow.binary(values.shape[1]), len(values), held)}


class LatentTable:
    """A Parquet file that should hold latents. Raises ValueError if it is none.

    Args:
        path: an existing regular file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._said = path, f"{path} is no Parquet file, or is damaged"
        pyarrow(path)
        from pyarrow import parquet

        with told(self._said):
            self._file = parquet.ParquetFile(path, pre_buffer=False)
            self._entries: dict[bytes, bytes] = self._file.metadata.metadata or {}
        self.text = self._entry(METADATA_KEY).decode(errors="replace")

    def read(self, declared: DeclaredLatents) -> tuple[dict[str, Tensor], list[str]]:
        """The tensors and names that are declared. Raises ValueError if the file holds others, or too much."""
        self._check(declared)
        tensors = {name: self._scale(name, declared) for name in declared.scales}
        with told(self._said):
            names = self._names(declared)
            tensors["labels"] = self._numbers([LABEL], declared.images, 1, np.int64)[:, 0]
            for kind in declared.codes:
                names_of = _names_of(kind, declared)
                tensors[kind] = self._numbers(names_of, declared.images, declared.latent_dim, declared.dtype)
        return tensors, names

    def _check(self, declared: DeclaredLatents) -> None:
        """Columns, types, rows and the room that they take, before any is read."""
        import pyarrow as arrow

        codes = {"float32": arrow.float32(), "float16": arrow.float16(), "int8": arrow.binary(declared.latent_dim)}
        expected = [(NAME, arrow.string()), (LABEL, arrow.int64())]
        expected += [(name, codes[declared.dtype]) for kind in declared.codes for name in _names_of(kind, declared)]
        with told(self._said):
            found = [(field.name, field.type) for field in self._file.schema_arrow]
            rows = self._file.metadata.num_rows
        if len(found) != len(expected):
            raise LATENTS.damaged(self._path, f"it must have {len(expected)} columns, got {len(found)}")
        for wanted, got in zip(expected, found, strict=True):
            if wanted != got:
                what = f"{brief(got[0])}, {brief(str(got[1]))}"
                raise LATENTS.damaged(self._path, f"column {wanted[0]} must be {wanted[1]}, got {what}")
        if rows != declared.images:
            raise LATENTS.damaged(self._path, f"it must have {declared.images:,} rows, got {rows:,}")
        of_codes = len(declared.codes) * declared.latent_dim * np.dtype(declared.dtype).itemsize
        size = rows * (8 + of_codes) + declared.name_bytes
        if size > MOST_BYTES:
            raise ValueError(
                f"{self._path} must have at most {MOST_BYTES:,} bytes, unpacked, got {size:,}. Encode to .safetensors."
            )

    def _numbers(self, names: Sequence[str], rows: int, width: int, dtype: Any) -> Tensor:
        """Columns of numbers, or one of bytes: [N, width]."""
        values, row = np.empty((rows, width), dtype), 0
        for batch in self._file.iter_batches(batch_size=ROWS, columns=list(names), use_threads=False):
            held = values[row : row + batch.num_rows]
            if len(held) != batch.num_rows or any(column.null_count for column in batch.columns):
                raise ValueError(f"it must have {rows:,} rows without gaps")
            for k, column in enumerate(batch.columns):
                if dtype == "int8":
                    start = column.offset * width
                    content = np.frombuffer(column.buffers()[1], np.int8)[start : start + held.size]
                    held[:] = content.reshape(held.shape)
                else:
                    held[:, k] = column.to_numpy(zero_copy_only=True)
            row += batch.num_rows
        if row != rows:
            raise ValueError(f"it must have {rows:,} rows, got {row:,}")
        return torch.from_numpy(values)

    def _names(self, declared: DeclaredLatents) -> list[str]:
        """Read a few at a time: a page may hold a long one once, and name it in each row."""
        names, size = list[str](), 0
        for batch in self._file.iter_batches(batch_size=FEW, columns=[NAME], use_threads=False):
            batch.validate(full=True)
            held = batch.column(0)
            size += len(held) + held.nbytes  # more than the bytes of the names
            if held.null_count:
                raise ValueError("a name is missing")
            names += held.to_pylist()
            if size > declared.name_bytes + OVERHEAD * len(names) + OVERHEAD:
                raise ValueError(f"its names must have {declared.name_bytes:,} bytes in all, got more")
        if len(names) != declared.images:
            raise ValueError(f"it must have {declared.images:,} names, got {len(names):,}")
        return names

    def _scale(self, name: str, declared: DeclaredLatents) -> Tensor:
        """What there is of each class, [K, L]."""
        text, shape = self._entry(_entry(name)), (len(declared.class_to_idx), declared.latent_dim)
        try:
            held = b64decode(text, validate=True)
        except ValueError as error:
            raise LATENTS.damaged(self._path, f"{name} is no base64: {error}") from None
        if len(held) != 4 * shape[0] * shape[1]:
            raise LATENTS.damaged(self._path, f"{name} must have {4 * shape[0] * shape[1]:,} bytes, got {len(held):,}")
        return torch.from_numpy(np.frombuffer(held, "<f4").astype(np.float32).reshape(shape))

    def _entry(self, name: str) -> bytes:
        entry = self._entries.get(name.encode(), b"")
        if len(entry) > MAX_BYTES:
            raise LATENTS.damaged(self._path, f"its metadata must have at most {MAX_BYTES:,} bytes, got {len(entry):,}")
        return entry


def _names_of(kind: str, declared: DeclaredLatents) -> list[str]:
    """The columns of codes."""
    return [kind] if declared.dtype == "int8" else [f"{kind}_{k}" for k in range(declared.latent_dim)]


def _entry(tensor: str) -> str:
    """The name of what the metadata says of each class."""
    return f"{METADATA_KEY}.{tensor}"
