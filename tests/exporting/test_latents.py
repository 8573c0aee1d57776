from __future__ import annotations

import builtins
import sys
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pyarrow
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from safetensors import safe_open

from tests.latents import PATHS, made
from vae_augment.bank.tensor_file import METADATA_KEY
from vae_augment.exporting import latents_parquet
from vae_augment.exporting.latents import Latents, check_ending

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)
LAW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)


def same(a, b):
    plain = ("names", "class_to_idx", "image_shape", "bank_sha256")
    both = (a.logvar is None) == (b.logvar is None) and all(getattr(a, name) == getattr(b, name) for name in plain)
    codes = torch.equal(a.mean, b.mean) and (a.logvar is None or torch.equal(a.logvar, b.logvar))
    return both and codes and torch.equal(a.labels, b.labels) and list(a.class_to_idx) == list(b.class_to_idx)


# ---- what is written is read ----


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("logvar", [True, False])
def test_single_precision_comes_back_to_the_bit(tmp_path, name, logvar):
    latents = made(logvar=logvar)
    latents.save(tmp_path / name)
    assert same(Latents.load(tmp_path / name), latents)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_both_containers_give_the_same_codes(tmp_path, dtype):
    latents, read = made(), []
    for name in PATHS:
        latents.save(tmp_path / name, dtype=dtype)
        read.append(Latents.load(tmp_path / name))
    assert same(*read)
    step = (latents.mean.amax(0) - latents.mean.amin(0)).max() / 254
    bound = 2**-9 if dtype == "float16" else 0.51 * step
    for codes, exact in ((read[0].mean, latents.mean), (read[0].logvar, latents.logvar)):
        assert codes.dtype == torch.float32
        assert 0 < (codes - exact).abs().max() <= bound


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_the_same_latents_give_the_same_bytes(tmp_path, name, dtype):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        made().save(tmp_path / folder / name, dtype=dtype)
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("name", PATHS)
def test_fewer_bytes_a_number_are_a_smaller_file(tmp_path, name):
    sizes = []
    for dtype in ("float32", "float16", "int8"):
        for latents in (made(2000), replace(made(2000), logvar=None)):
            latents.save(tmp_path / name, dtype=dtype)
            sizes.append((tmp_path / name).stat().st_size)
    assert sizes[0] > sizes[1] > sizes[3] > sizes[5]
    assert sizes[0] > sizes[2] > sizes[4] > sizes[5]


@given(names=st.lists(TEXT, min_size=1, max_size=8))
@LAW
def test_any_names_come_back(tmp_path, names):
    count = len(names)
    latents = replace(made(count), names=tuple(names), class_to_idx=made().class_to_idx)
    for name in PATHS:
        latents.save(tmp_path / name)
        assert Latents.load(tmp_path / name).names == tuple(names)


def test_classes_keep_their_order_and_may_have_no_image(tmp_path):
    latents = replace(made(), class_to_idx={"z": 7, "down": 1, "a\n": -5, "across": 0, "slanted": 2})
    latents.save(tmp_path / "l.safetensors", dtype="int8")
    read = Latents.load(tmp_path / "l.safetensors")
    assert list(read.class_to_idx.items()) == list(latents.class_to_idx.items())
    assert read.counts == {"z": 0, "down": 3, "a\n": 0, "across": 4, "slanted": 3}


# ---- what the formats are, as docs/file_format.md says ----


def test_the_safetensors_file_is_as_specified(tmp_path):
    latents = made()
    latents.save(tmp_path / "l.safetensors", dtype="int8")
    with safe_open(tmp_path / "l.safetensors", framework="pt") as file:
        read = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        assert set(file.metadata()) == {METADATA_KEY}
    assert {name: (str(t.dtype), list(t.shape)) for name, t in read.items()} == {
        "mean": ("torch.int8", [10, 4]),
        "mean.step": ("torch.float32", [3, 4]),
        "mean.offset": ("torch.float32", [3, 4]),
        "logvar": ("torch.int8", [10, 4]),
        "logvar.step": ("torch.float32", [3, 4]),
        "logvar.offset": ("torch.float32", [3, 4]),
        "labels": ("torch.int64", [10]),
        "names": ("torch.uint8", [sum(len(name.encode()) + 1 for name in latents.names)]),
    }
    assert bytes(read["names"].tolist()) == b"".join(name.encode() + b"\0" for name in latents.names)
    rows = latents.labels  # of the three classes, in order
    assert torch.equal(
        read["mean.offset"][rows] + read["mean.step"][rows] * read["mean"].float(),
        Latents.load(tmp_path / "l.safetensors").mean,
    )


def test_the_table_is_read_by_anyone(tmp_path):
    latents = made()
    latents.save(tmp_path / "l.parquet")
    table = parquet.read_table(tmp_path / "l.parquet")
    assert table.column_names == ["name", "label", *(f"mean_{k}" for k in range(4)), *(f"logvar_{k}" for k in range(4))]
    assert table["name"].to_pylist() == list(latents.names)
    assert table["label"].to_pylist() == latents.labels.tolist()
    assert table["logvar_3"].to_pylist() == latents.logvar[:, 3].tolist()
    assert table["mean_0"].type == pyarrow.float32()


def test_the_table_of_bytes_is_as_specified(tmp_path):
    latents = made()
    latents.save(tmp_path / "l.parquet", dtype="int8")
    table = parquet.read_table(tmp_path / "l.parquet")
    assert table.column_names == ["name", "label", "mean", "logvar"]
    codes = np.stack([np.frombuffer(held, np.int8) for held in table["mean"].to_pylist()])
    step, offset = (
        np.frombuffer(b64decode(table.schema.metadata[f"vae_augment.mean.{of}".encode()]), "<f4").reshape(3, 4)
        for of in ("step", "offset")
    )
    rows = latents.labels.numpy()  # of the three classes, in order
    assert np.array_equal(offset[rows] + step[rows] * codes, Latents.load(tmp_path / "l.parquet").mean.numpy())


def test_a_table_of_many_rows_comes_back(tmp_path, lowered):
    lowered(latents_parquet, "AT_ONCE", 7)
    for dtype in ("float32", "int8"):
        read = []
        for name in PATHS:
            made(100).save(tmp_path / name, dtype=dtype)
            read.append(Latents.load(tmp_path / name))
        assert same(*read)


# ---- what cannot be written ----


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": torch.zeros(10)}, "mean must be float32 .N, L., got torch.float32 .10."),
        ({"mean": torch.zeros(10, 4).double()}, "mean must be float32 .N, L., got torch.float64"),
        ({"mean": torch.zeros(0, 4)}, "mean must be float32"),
        ({"logvar": torch.zeros(10, 5)}, "logvar must be as mean, got torch.float32 .10, 5."),
        ({"labels": torch.zeros(9, dtype=torch.long)}, "there must be 10 labels .int64. and names, one per image"),
        ({"labels": torch.zeros(10)}, "there must be 10 labels"),
        ({"names": ("a",)}, "there must be 10 labels"),
        ({"labels": torch.full((10,), 9)}, r"labels must be among the classes' \[0, 1, 2\], got 9"),
        ({"mean": torch.full((10, 4), torch.nan)}, "tensor 'mean' of the latents holds a number that is not finite"),
        ({"logvar": torch.full((10, 4), torch.inf)}, "tensor 'logvar' of the latents holds a number that is not"),
        ({"bank_sha256": "none"}, "bank_sha256 must be 64 hexadecimal digits, got 'none'"),
        ({"names": ("",) * 10}, "names must have 1 to 1,024 characters, got 0 in item 0"),
    ],
)
def test_what_does_not_belong_together_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(made(), **change)


@pytest.mark.parametrize("name", ["latents", "latents.npz", "latents.safetensors.gz"])
def test_another_ending_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"path must end in .safetensors or .parquet, got 'latents"):
        made().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_a_type_cannot_hold_leaves_the_file_as_it_was(tmp_path):
    made().save(tmp_path / "l.safetensors")
    before = (tmp_path / "l.safetensors").read_bytes()
    large = replace(made(), mean=torch.full((10, 4), 1e5))
    with pytest.raises(ValueError, match="float16 holds numbers up to 65504, got a code of 100000"):
        large.save(tmp_path / "l.safetensors", dtype="float16")
    with pytest.raises(ValueError, match="dtype must be one of 'float32', 'float16', 'int8', got 'bfloat16'"):
        large.save(tmp_path / "l.safetensors", dtype="bfloat16")
    assert (tmp_path / "l.safetensors").read_bytes() == before


def test_a_table_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    made().save(tmp_path / "l.parquet")
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.split(".")[0] == "pyarrow":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    for name in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    message = r"parquet needs pyarrow>=15: pip install 'vae-augment\[parquet\]'"
    with pytest.raises(ValueError, match=message):
        made().save(tmp_path / "new.parquet")
    with pytest.raises(ValueError, match=message):
        Latents.load(tmp_path / "l.parquet")
    with pytest.raises(ValueError, match=message):
        check_ending(tmp_path / "l.parquet")
    made().save(tmp_path / "l.safetensors")
    assert len(Latents.load(tmp_path / "l.safetensors")) == 10
