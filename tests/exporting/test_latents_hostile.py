"""Latent files made to do harm: each is refused in a way that helps, or holds latents."""

from __future__ import annotations

import json
import os
import shutil
import struct
import tracemalloc

import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from safetensors import safe_open
from safetensors.torch import load_file, save

from tests.growth import TENFOLD, growth
from tests.hostile_files import LAW, loaded_or_refused
from tests.latents import PATHS, made
from vae_augment.bank.tensor_file import METADATA_KEY
from vae_augment.exporting.latents import Latents
from vae_augment.files.untrusted_json import MAX_BYTES


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a file of each kind and type."""
    folder, content = tmp_path_factory.mktemp("latents"), {}
    for name in PATHS:
        for dtype in ("float32", "int8"):
            made().save(folder / name, dtype=dtype)
            content[name, dtype] = (folder / name).read_bytes()
    return content


@pytest.fixture
def write(whole, tmp_path):
    """Write a file of either kind with some metadata, text or value, replaced, and some tensors or columns."""

    def written(file, metadata=None, /, dtype="float32", **parts):
        path = tmp_path / file
        path.write_bytes(whole[file, dtype])
        if file.endswith(".parquet"):
            table = parquet.read_table(path)
            entries = dict(table.schema.metadata)
            for column, values in parts.items():
                at = table.column_names.index(column)
                table = table.remove_column(at) if values is None else table.set_column(at, column, values)
            if metadata is not None:
                entries[METADATA_KEY.encode()] = (
                    metadata if isinstance(metadata, str) else json.dumps(metadata)
                ).encode()
            parquet.write_table(table.replace_schema_metadata(entries), path)
            return path
        with safe_open(path, framework="pt") as opened:
            text = opened.metadata()[METADATA_KEY]
        if metadata is not None:
            text = metadata if isinstance(metadata, str) else json.dumps(metadata)
        tensors = {key: value for key, value in {**load_file(path), **parts}.items() if value is not None}
        path.write_bytes(save(tensors, {METADATA_KEY: text}))
        return path

    return written


def metadata_of(write):
    path = write("l.safetensors", dtype="float32")
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()[METADATA_KEY])


def refused_or_works(path):
    """The law. Returns whether the file was refused."""
    latents = loaded_or_refused(Latents.load, path)
    if latents is None:
        return True
    assert torch.isfinite(latents.mean).all()
    assert len(latents.names) == len(latents.labels) == len(latents)
    return False


# ---- what is no such file ----


@pytest.mark.parametrize("name", PATHS)
def test_what_is_no_file_is_refused(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=r"no latent file at .*\. `vae-augment encode` makes one"):
        Latents.load(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=r"no latent file at .*: it is a folder\. Name the \.safetensors or \.parquet"):
        Latents.load(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
@pytest.mark.parametrize("name", PATHS)
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=r"no latent file at .*: it is not a regular file"):
        Latents.load(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"hello world, this is no such file", bytes(100)])
@pytest.mark.parametrize("name", PATHS)
def test_what_is_no_container_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"is not a latent file, or is cut off|is no Parquet file, or is damaged"):
        Latents.load(tmp_path / name)


def test_a_bank_and_another_table_are_no_latents(tmp_path, bank_path):
    with pytest.raises(ValueError, match=r"is a safetensors file but not a latent file: `vae-augment encode` makes la"):
        Latents.load(bank_path)
    parquet.write_table(pa.table({"name": ["a"], "label": [1]}), tmp_path / "l.parquet")
    with pytest.raises(ValueError, match=r"l.parquet is a Parquet file but not a latent file: `vae-augment encode` ma"):
        Latents.load(tmp_path / "l.parquet")


def test_a_header_over_the_bound_is_refused_by_its_length(tmp_path):
    (tmp_path / "l.safetensors").write_bytes(struct.pack("<Q", MAX_BYTES + 1) + b"{}")
    with pytest.raises(ValueError, match="header must have at most 67,108,864 bytes, got 67,108,865"):
        Latents.load(tmp_path / "l.safetensors")


# ---- what metadata cannot say ----

CASES = [
    ({"images": 11}, "images|name_bytes|rows|tensor"),
    ({"images": 0}, "images must be a whole number from 1 to 10,000,000, got 0"),
    ({"images": 10**7 + 1}, "images must be a whole number from 1 to 10,000,000, got 10000001"),
    ({"images": True}, "images of the metadata must be a whole number, got True"),
    ({"images": 10.0}, "images of the metadata must be a whole number, got 10.0"),
    ({"images": 10**400}, "images is out of range: a whole number of 1329 bits"),
    ({"latent_dim": 513}, "latent_dim must be a whole number from 1 to 512, got 513"),
    ({"latent_dim": "4"}, "latent_dim of the metadata must be a whole number, got '4'"),
    ({"dtype": "float64"}, "dtype must be one of float32, float16, int8, got 'float64'"),
    ({"dtype": ["int8"]}, "dtype of the metadata must be a text, got"),
    ({"logvar": 1}, "logvar of the metadata must be true or false, got 1"),
    ({"name_bytes": 5}, "name_bytes must be a whole number from 20 to 40,970, got 5"),
    ({"image_shape": [1, 12]}, "image_shape .1, 12. is out of range"),
    ({"image_shape": [1, 12, 257]}, "image_shape .* is out of range"),
    ({"image_shape": [17, 12, 12]}, "image_shape .* is out of range"),
    ({"image_shape": "abc"}, "image_shape of the metadata must be a list, got 'abc'"),
    ({"classes": []}, "classes must be a list of 1 to 100,000, got 0 classes"),
    ({"classes": {}}, "classes of the metadata must be a list, got {}"),
    ({"classes": [{"name": "a"}]}, "a class must be an object of name and label, got"),
    ({"classes": ["a"]}, "a class must be an object of name and label, got 'a'"),
    ({"classes": [{"name": "a", "label": 2**63}]}, "class 'a' with label 9223372036854775808"),
    ({"classes": [{"name": 5, "label": 0}]}, "class 5 with label 0"),
    ({"classes": [{"name": "a", "label": 0}, {"name": "a", "label": 1}]}, "each class needs a name and a label of its"),
    ({"classes": [{"name": "a", "label": 0}, {"name": "b", "label": 0}]}, "each class needs a name and a label of its"),
    ({"classes": [{"name": "a", "label": 0}]}, r"labels must be among the classes' \[0\], got 1"),
    ({"classes": [{"name": "\ud800", "label": 0}]}, "must be Unicode, got a lone surrogate"),
    ({"bank_sha256": "0" * 63}, "bank_sha256 must be 64 hexadecimal digits"),
    ({"bank_sha256": "0" * 63 + "\n"}, "bank_sha256 must be 64 hexadecimal digits"),
    ({"bank_sha256": None}, "bank_sha256 of the metadata must be a text, got None"),
    ({"time": "now"}, "the metadata has an unknown entry 'time'"),
    ({"format": "vae-augment-bank"}, "file but not a latent file"),
    ({"version": 2}, "has latent file format 2, this vae-augment reads 1. Upgrade vae-augment to read it"),
    ({"version": 0}, "has latent file format 0, this vae-augment reads 1. Encode the images again"),
    ({"version": "1"}, "has latent file format '1', this vae-augment reads 1. Upgrade"),
]


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize(("change", "message"), CASES, ids=[str(change)[:40] for change, _ in CASES])
def test_what_metadata_cannot_say_is_refused_by_name(write, name, change, message):
    path = write(name, {**metadata_of(write), **change})
    with pytest.raises(ValueError, match=message) as caught:
        Latents.load(path)
    assert name in str(caught.value)
    assert refused_or_works(path)


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("entry", ["images", "classes", "bank_sha256", "logvar"])
def test_metadata_that_lacks_an_entry_is_refused(write, name, entry):
    metadata = metadata_of(write)
    del metadata[entry]
    with pytest.raises(ValueError, match=f"metadata: the metadata lacks the entry '{entry}'. Copy the file again, or "):
        Latents.load(write(name, metadata))


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("text", ["", "hello", "[]", "[" * 10**5, '{"format":"vae-augment-latents","images":NaN}', "5"])
def test_metadata_that_is_none_is_refused(write, name, text):
    with pytest.raises(ValueError, match=r"but not a latent file|has damaged metadata"):
        Latents.load(write(name, text))


# ---- what tensors and columns cannot be ----


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"mean": None}, "it lacks tensor 'mean'"),
        ({"names": None}, "it lacks tensor 'names'"),
        ({"more": torch.zeros(1)}, "it has an unknown tensor 'more'"),
        ({"mean": torch.zeros(10, 5)}, r"tensor 'mean' must be F32 \[10, 4\], got F32 \[10, 5\]"),
        ({"mean": torch.zeros(10, 4).half()}, r"tensor 'mean' must be F32 \[10, 4\], got F16"),
        ({"labels": torch.zeros(10)}, r"tensor 'labels' must be I64 \[10\], got F32"),
        ({"labels": torch.full((10,), 5)}, r"labels must be among the classes' \[0, 1, 2\], got 5"),
        ({"mean": torch.full((10, 4), torch.nan)}, "tensor 'mean' of the latents holds a number that is not finite"),
    ],
)
def test_tensors_that_are_not_the_declared_ones_are_refused(write, parts, message):
    path = write("l.safetensors", **parts)
    with pytest.raises(ValueError, match=message):
        Latents.load(path)
    assert refused_or_works(path)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (b"a\0" * 9 + b"xx", "names must be 10 texts with a NUL behind each"),
        (b"a\0" * 11, "names must be 10 texts with a NUL behind each"),
        (b"\0" * 9 + b"x" * 30, "names must be 10 texts with a NUL behind each"),
        (b"a\0" * 9 + b"\xff\xff\0", "names must be UTF-8: 'utf-8' codec can't decode byte 0xff"),
        (b"a\0" * 9 + b"\xed\xa0\x80\0", "names must be UTF-8"),
        (b"\0" + b"aa\0" * 9, "names must have 1 to 1,024 characters, got 0 in item 0"),
        (b"a\0" * 9 + b"x" * 1025 + b"\0", "names must have 1 to 1,024 characters, got 1,025 in item 9"),
    ],
)
def test_names_that_are_none_are_refused(write, held, message):
    metadata = {**metadata_of(write), "name_bytes": len(held)}
    path = write("l.safetensors", metadata, names=torch.tensor(list(held), dtype=torch.uint8))
    with pytest.raises(ValueError, match=message):
        Latents.load(path)
    assert refused_or_works(path)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 3e38])
def test_scales_that_give_no_finite_codes_are_refused(write, value):
    path = write("l.safetensors", dtype="int8", **{"mean.step": torch.full((3, 4), value)})
    with pytest.raises(ValueError, match=r"tensor 'mean.*' of the latents holds a number that is not finite"):
        Latents.load(path)


COLUMNS = [
    ({"mean_2": None}, "column 4 must be mean_2, float, got 'mean_3, float'"),
    ({"logvar_3": None}, "column 9 must be logvar_3, float, got 'none'"),
    ({"mean_2": pa.array([0.0] * 10)}, "column 4 must be mean_2, float, got 'mean_2, double'"),
    ({"mean_2": pa.array([0.0] * 9 + [None], pa.float32())}, "is damaged: it must have 10 rows without gaps"),
    (
        {"mean_2": pa.array([float("nan")] * 10, pa.float32())},
        "tensor 'mean' of the latents holds a number that is not",
    ),
    ({"mean_2": pa.array([[0.0]] * 10, pa.list_(pa.float32()))}, "column 4 must be mean_2, float, got 'mean_2, list<"),
    ({"label": pa.array([0] * 9 + [None], pa.int64())}, "is damaged: it must have 10 rows without gaps"),
    ({"label": pa.array(["a"] * 10)}, "column 1 must be label, int64, got 'label, string'"),
    ({"label": pa.array([9] * 10)}, r"labels must be among the classes' \[0, 1, 2\], got 9"),
    ({"name": pa.array([b"a"] * 10)}, "column 0 must be name, string, got 'name, binary'"),
    ({"name": pa.array(["a"] * 9 + [None])}, "is damaged: it must have 10 rows without gaps"),
    ({"name": pa.array(["a"] * 9 + ["x" * 2000])}, "is damaged: its names must have 95 bytes in all, got more"),
    ({"name": pa.array(["a"] * 9 + [""])}, "names must have 1 to 1,024 characters, got 0 in item 9"),
    ({"name": pa.array(["a"] * 10).dictionary_encode()}, "column 0 must be name, string, got 'name, dict"),
]


BYTES = [
    ({"mean": pa.array([b"abcd"] * 10)}, "column 2 must be mean, fixed_size_binary.4., got 'mean, binary'"),
    (
        {"mean": pa.array([b"abc"] * 10, pa.binary(3))},
        "2 must be mean, fixed_size_binary.4., got 'mean, fixed_size_bin",
    ),
    ({"mean": pa.array([b"abcd"] * 9 + [None], pa.binary(4))}, "it must have 10 rows without gaps"),
    ({"logvar": None}, "column 3 must be logvar, fixed_size_binary.4., got 'none'"),
]
ALL = [("float32", *case) for case in COLUMNS] + [("int8", *case) for case in BYTES]


@pytest.mark.parametrize(("dtype", "parts", "message"), ALL, ids=[str(k) for k in range(len(ALL))])
def test_columns_that_are_not_the_declared_ones_are_refused(write, dtype, parts, message):
    path = write("l.parquet", dtype=dtype, **parts)
    with pytest.raises(ValueError, match=message):
        Latents.load(path)
    assert refused_or_works(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is damaged: mean.step must be base64 of .3, 4. numbers: "),
        ("A" * 66, "mean.step must be base64 of .3, 4. numbers: "),
        ("é", "mean.step must be base64 of .3, 4. numbers: "),
    ],
)
def test_scales_of_a_table_that_are_none_are_refused(write, text, message):
    path = write("l.parquet", dtype="int8")
    table = parquet.read_table(path)
    entries = {**table.schema.metadata, b"vae_augment.mean.step": text.encode()}
    parquet.write_table(table.replace_schema_metadata(entries), path)
    with pytest.raises(ValueError, match=message):
        Latents.load(path)


# ---- small files that unpack to much ----


@pytest.fixture
def bomb(write, tmp_path):
    """A table of 200,000 rows that are the same, a few kilobytes large."""

    def table(name, images=200_000, latent_dim=1, **options):
        declared = {"images": images, "latent_dim": latent_dim, "logvar": False, "name_bytes": 2 * images}
        metadata = json.dumps({**metadata_of(write), **declared})
        columns = {"name": pa.repeat(name, images), "label": pa.repeat(0, images)}
        columns |= {f"mean_{k}": pa.repeat(pa.scalar(0, pa.float32()), images) for k in range(latent_dim)}
        made = pa.table(columns).replace_schema_metadata({METADATA_KEY: metadata})
        parquet.write_table(made, tmp_path / "bomb.parquet", compression="zstd", **options)
        return tmp_path / "bomb.parquet"

    return table


DELTA = {"use_dictionary": False, "column_encoding": {"name": "DELTA_BYTE_ARRAY"}}


@pytest.mark.parametrize("options", [{}, DELTA], ids=["a dictionary", "prefixes"])
def test_long_names_that_are_there_once_are_refused_before_they_are_unpacked(bomb, options):
    path = bomb("x" * 1000, **options)
    assert path.stat().st_size < 100_000  # 200 MB, unpacked
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="its names must have 400,000 bytes in all, got more"):
            Latents.load(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
    assert pa.total_allocated_bytes() - before < 2**24


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (10**7, r"at most 4,294,967,296 bytes, unpacked, got 20,580,000,000\. Encode to \.safetensors"),
        (1001, "it must have 1,001 rows, got 1,000"),
        (999, "it must have 999 rows without gaps"),
    ],
)
def test_other_rows_than_are_declared_are_refused(bomb, images, message):
    path = bomb("x", images=1000, latent_dim=512)
    assert len(Latents.load(path)) == 1000
    table = parquet.read_table(path)
    metadata = json.loads(table.schema.metadata[METADATA_KEY.encode()])
    entries = {METADATA_KEY: json.dumps({**metadata, "images": images, "name_bytes": 2 * images})}
    parquet.write_table(table.replace_schema_metadata(entries), path)
    with pytest.raises(ValueError, match=message):
        Latents.load(path)


def test_many_rows_take_time_by_their_number(bomb, tmp_path):
    paths = {
        images: shutil.copy(bomb("x", images=images), tmp_path / f"{images}.parquet") for images in (20_000, 200_000)
    }

    def loaded(images):
        assert len(Latents.load(paths[images])) == images

    assert growth(loaded, 20_000) < TENFOLD


# ---- any other damage ----


@pytest.mark.parametrize("name", PATHS)
@given(data=st.data())
@LAW
def test_any_bytes_changed_end_well(whole, tmp_path, name, data):
    content = bytearray(whole[name, data.draw(st.sampled_from(["float32", "int8"]))])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / name).write_bytes(content[: data.draw(st.integers(len(content) - 20, len(content)))])
    refused_or_works(tmp_path / name)


@pytest.mark.parametrize("name", PATHS)
def test_a_file_cut_off_anywhere_is_refused(whole, tmp_path, name):
    content = whole[name, "float32"]
    for end in range(0, len(content), 37):
        (tmp_path / name).write_bytes(content[:end])
        assert refused_or_works(tmp_path / name)
