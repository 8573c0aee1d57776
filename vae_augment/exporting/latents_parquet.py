"""Latents as a Parquet table: a row per image, and a column per dimension, or one column of bytes for all of them."""

from __future__ import annotations

import io
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_augment.bank.tensor_file import METADATA_KEY, json_text
from vae_augment.data.readers.arrow_untrusted import MOST_BYTES, ROWS, pyarrow, told
from vae_augment.exporting.latents_metadata import LATENTS, DeclaredLatents
from vae_augment.files.untrusted_json import MAX_BYTES, brief

AT_ONCE = 2**16  # rows of numbers read at once; of names fewer, whose size is not known before they are read
OVERHEAD = 16  # bytes at most that a name takes in memory beside its own


def serialize(declared: DeclaredLatents, tensors: Mapping[str, Tensor], names: Sequence[str], path: Path) -> bytes:
    """The bytes of a Parquet file.

    Args:
        declared: the metadata.
        tensors: "mean" [N, L], "labels" [N] and all others that are declared.
        names: N.
        path: the file's path, for messages.
    """
    arrow, file, columns = pyarrow(path), io.BytesIO(), [names, tensors["labels"].numpy()]
    from pyarrow import parquet

    for codes in (tensors[name].numpy() for name in declared.codes):
        columns += [list(map(bytes, codes))] if declared.dtype == "int8" else list(codes.T.copy())
    entries = {METADATA_KEY: json_text(declared.to_dict())}
    for name in sorted(declared.scales):
        entries[f"{METADATA_KEY}.{name}"] = b64encode(tensors[name].numpy().astype("<f4").tobytes()).decode()
    schema = _schema(arrow, declared)
    floats = [field.name for field in schema if field.type == arrow.float32()]
    parquet.write_table(
        arrow.table(list(map(arrow.array, columns, schema.types)), schema.with_metadata(entries)),
        file,
        compression="zstd",
        compression_level=9,
        use_dictionary=["label"],
        column_encoding={"name": "DELTA_BYTE_ARRAY", **dict.fromkeys(floats, "BYTE_STREAM_SPLIT")},
        write_statistics=False,
    )
    return file.getvalue()


def read(path: Path) -> tuple[DeclaredLatents, dict[str, Tensor], list[str]]:
    """The metadata of a file, and the tensors and names that it declares.

    Raises:
        ValueError: the file is no table of latents, is damaged, is too large, or does not hold what it declares.
    """
    LATENTS.check_regular(path)
    arrow = pyarrow(path)
    from pyarrow import parquet

    with told(f"{path} is no Parquet file, or is damaged"):
        file = parquet.ParquetFile(path, pre_buffer=False)
        entries: dict[bytes, bytes] = file.metadata.metadata or {}
    longest = max(map(len, entries.values()), default=0)
    if longest > MAX_BYTES:
        raise LATENTS.damaged(path, f"its metadata must have at most {MAX_BYTES:,} bytes an entry, got {longest:,}")
    text = entries.get(METADATA_KEY.encode(), b"").decode(errors="replace")
    declared = LATENTS.declared(path, text, DeclaredLatents.of, "Parquet")
    schema = _schema(arrow, declared)
    size = declared.images * sum(kind.bit_width // 8 for kind in schema.types[1:]) + declared.name_bytes
    if size > MOST_BYTES:
        raise ValueError(
            f"{path} must have at most {MOST_BYTES:,} bytes, unpacked, got {size:,}. Encode to .safetensors."
        )
    try:
        with told("it cannot be read"):
            _check_columns(schema, file.schema_arrow)
            names = _names(_rows(file, ["name"], ROWS, declared.images), declared)
            table = arrow.Table.from_batches(_rows(file, schema.names[1:], AT_ONCE, declared.images))
            tensors = {"labels": torch.tensor(table["label"].to_numpy())}
            for name in declared.codes:
                if declared.dtype == "int8":
                    held = bytearray().join(table[name].to_pylist())
                    codes = np.frombuffer(held, np.int8).reshape(-1, declared.latent_dim)
                else:
                    codes = np.stack([table[f"{name}_{k}"].to_numpy() for k in range(declared.latent_dim)], 1)
                tensors[name] = torch.from_numpy(codes)
            tensors |= {name: _scale(entries, name, declared) for name in declared.scales}
            return declared, tensors, names
    except ValueError as error:
        raise LATENTS.damaged(path, error) from None


def _schema(arrow: Any, declared: DeclaredLatents) -> Any:
    fields = [("name", arrow.string()), ("label", arrow.int64())]
    if declared.dtype == "int8":  # as bytes: Parquet has no integers of one byte
        return arrow.schema(fields + [(name, arrow.binary(declared.latent_dim)) for name in declared.codes])
    kind = arrow.from_numpy_dtype(declared.dtype)
    return arrow.schema(fields + [(f"{name}_{k}", kind) for name in declared.codes for k in range(declared.latent_dim)])


def _check_columns(expected: Any, found: Any) -> None:
    columns = [[f"{field.name}, {field.type}" for field in schema] for schema in (expected, found)]
    for number, (wanted, got) in enumerate(zip_longest(*columns, fillvalue="none")):
        if wanted != got:
            raise ValueError(f"column {number} must be {wanted}, got {brief(got)}")


def _rows(file: Any, columns: list[str], at_once: int, rows: int) -> Iterator[Any]:
    """Batches of some columns. Raises ValueError unless they have `rows` rows without missing values."""
    found = 0
    for batch in file.iter_batches(batch_size=at_once, columns=columns, use_threads=False):
        found += batch.num_rows
        if found > rows or any(column.null_count for column in batch.columns):
            raise ValueError(f"it must have {rows:,} rows without gaps")
        yield batch
    if found < rows:
        raise ValueError(f"it must have {rows:,} rows, got {found:,}")


def _names(batches: Iterable[Any], declared: DeclaredLatents) -> list[str]:
    names, size = list[str](), 0
    for batch in batches:
        size += batch.nbytes
        if size > declared.name_bytes + OVERHEAD * declared.images:
            raise ValueError(f"its names must have {declared.name_bytes:,} bytes in all, got more")
        names += batch.column(0).to_pylist()
    return names


def _scale(entries: Mapping[bytes, bytes], name: str, declared: DeclaredLatents) -> Tensor:
    """Steps or offsets of each class, float32 [K, L]."""
    shape = len(declared.classes), declared.latent_dim
    try:
        held = b64decode(entries.get(f"{METADATA_KEY}.{name}".encode(), b""), validate=True)
        return torch.tensor(np.frombuffer(held, "<f4").reshape(shape).astype(np.float32))
    except ValueError as error:
        raise ValueError(f"{name} must be base64 of {list(shape)} numbers: {error}") from None
