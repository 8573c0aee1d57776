"""Parquet files, and the folders that Hugging Face's `datasets` saves and its hub keeps."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.hostile_files import LAW, loaded_or_refused
from vae_augment import fit
from vae_augment.config import FitConfig
from vae_augment.data import open_data, opened
from vae_augment.data.readers import arrow_untrusted
from vae_augment.data.source import Source

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

TINY = FitConfig(steps=2, latent_dim=2, width=8, policy="none")
FEATURES = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["ant", "bee"]}}


def png(shade, mode="RGB"):
    file = io.BytesIO()
    Image.new("L", (10, 9), shade).convert(mode).save(file, "PNG")
    return file.getvalue()


PNGS = [png(30 * k) for k in range(6)]
LABELS = [0, 1, 0, 1, 0, 1]


def table(images=None, labels=LABELS, features=None, **columns):
    images = [{"bytes": data, "path": None} for data in PNGS] if images is None else images
    made = pa.table({"image": images, "label": labels, **columns})
    return made if features is None else made.replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )  # fmt: skip


def written(folder, name="data.parquet", **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table(**options), path)
    return path


def saved(folder, made=None):
    """As Dataset.save_to_disk writes it."""
    folder.mkdir(parents=True)
    made = table(features=FEATURES) if made is None else made
    with pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file, pa.ipc.new_stream(file, made.schema) as to:
        to.write_table(made)
    (folder / "state.json").write_text("{}")
    return folder


def shades(dataset):
    return [np.array(image).flat[0] for image, _ in dataset]


# ---- what is opened ----


@pytest.mark.parametrize("features", [None, FEATURES])
@pytest.mark.parametrize("as_struct", [True, False])
def test_a_parquet_file_is_opened(tmp_path, features, as_struct):
    opened = open_data(written(tmp_path, images=None if as_struct else PNGS, features=features))
    assert (opened.name, opened.source, opened.problems) == ("data", "parquet", ())
    assert shades(opened.dataset) == [0, 30, 60, 90, 120, 150]
    assert [label for _, label in opened.dataset] == LABELS
    assert fit(opened.dataset, config=TINY).classes == (("ant", "bee") if features else ("0", "1"))


def test_columns_are_found_by_what_datasets_has_noted_of_them(tmp_path):
    features = {"photo": {"_type": "Image"}, "kind": {"_type": "ClassLabel", "names": ["ant", "bee"]}}
    made = table(features=FEATURES).rename_columns(["photo", "kind"])
    pq.write_table(
        made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}),
        tmp_path / "a.parquet",
    )
    assert Source(open_data(tmp_path / "a.parquet").dataset).classes == {0: "ant", 1: "bee"}


def test_labels_may_be_names(tmp_path):
    source = Source(open_data(written(tmp_path, labels=["b", "a", "b", "a", "c", "c"])).dataset)
    assert (source.labels.tolist(), source.classes) == ([1, 0, 1, 0, 2, 2], {0: "a", 1: "b", 2: "c"})


def test_a_split_column_divides_the_parts(tmp_path):
    path = written(tmp_path, split=["train", "train", "train", "train", "test", "test"])
    assert [shades(open_data(path, part=part).dataset) for part in ("train", "test")] == [[0, 30, 60, 90], [120, 150]]


@pytest.mark.parametrize("inner", ["", "data"])
def test_a_folder_of_shards_as_the_hub_keeps_them(tmp_path, inner):
    folder = tmp_path / "flowers"
    for k in range(2):
        written(folder / inner, f"train-0000{k}-of-00002.parquet", features=FEATURES)
    written(folder / inner, "test-00000-of-00001.parquet", images=PNGS[:2], labels=[0, 1])
    (folder / "README.md").write_text("# Flowers")
    opened = open_data(folder)
    assert (opened.name, opened.source, len(opened.dataset)) == ("flowers", "parquet", 12)
    assert len(open_data(folder, part="test").dataset) == 2
    for file in folder.rglob("test-*"):
        file.unlink()
    with pytest.raises(ValueError, match=r"flowers must have a split named one of test, .*, got \['train'\]"):
        open_data(folder, part="test")


def test_a_folder_that_datasets_has_saved(tmp_path):
    opened = open_data(saved(tmp_path / "flowers"))
    assert (opened.name, opened.source) == ("flowers", "huggingface")
    assert shades(opened.dataset) == [0, 30, 60, 90, 120, 150]
    assert fit(opened.dataset, config=TINY).classes == ("ant", "bee")


def test_the_parts_of_a_folder_that_datasets_has_saved(tmp_path):
    saved(tmp_path / "flowers" / "train")
    saved(tmp_path / "flowers" / "validation", table(images=PNGS[:2], labels=[0, 1]))
    (tmp_path / "flowers" / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    assert [len(open_data(tmp_path / "flowers", part=part).dataset) for part in ("train", "test")] == [6, 2]


def test_what_datasets_itself_writes_is_opened_and_has_its_fingerprint(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee"])})
    images = [Image.open(io.BytesIO(data)) for data in PNGS]
    made = datasets.Dataset.from_dict({"image": images, "label": LABELS}, features=features)
    made.to_parquet(str(tmp_path / "one.parquet"))
    made.save_to_disk(str(tmp_path / "saved"))
    datasets.DatasetDict(train=made, test=made.select([3, 1])).save_to_disk(str(tmp_path / "parts"))
    for name in ("one.parquet", "saved", "parts"):
        source = Source(open_data(tmp_path / name).dataset)
        assert source.classes == {0: "ant", 1: "bee"}
        assert source.fingerprint() == Source(made).fingerprint()
    assert shades(open_data(tmp_path / "parts", part="test").dataset) == [90, 30]


def test_a_table_has_one_mode(tmp_path):
    dataset = open_data(written(tmp_path, images=[png(9, "L"), png(9, "RGB"), *PNGS[:4]])).dataset
    assert {image.mode for image, _ in dataset} == {"RGB"}


# ---- what cannot be used ----


def test_rows_without_an_image_or_a_label_are_problems(tmp_path):
    images = [{"bytes": data, "path": "a.png"} for data in PNGS]
    images[2]["bytes"] = None  # a path alone leads nowhere that a table may lead
    images[3] = None
    path = written(tmp_path, images=images, labels=[0, None, 0, 1, -1, 1], features=FEATURES)
    opened = open_data(path, on_error="skip")
    assert [str(problem) for problem in opened.problems] == [
        "data.parquet, row 1: it has no label",
        "data.parquet, row 2: it holds no image's bytes",
        "data.parquet, row 3: it holds no image's bytes",
        "data.parquet, row 4: it has no label",
    ]
    assert shades(opened.dataset) == [0, 150]
    with pytest.raises(
        ValueError, match=r"^4 of .*data\.parquet cannot be used: data\.parquet, row 1: it has no label; "
    ):
        open_data(path)


def test_an_image_that_is_none_is_named(tmp_path):
    dataset = open_data(written(tmp_path, images=[*PNGS[:5], b"hello"])).dataset
    with pytest.raises(ValueError, match=r"cannot read item 5 of class '1': it is no image of the formats"):
        fit(dataset, config=TINY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda made: made.drop_columns(["label"]),
            r"must have a column named one of label, .*got the columns 'image'\.",
        ),
        (
            lambda made: made.drop_columns(["image"]),
            r"must have a column named one of image, .*got the columns 'label'\.",
        ),
        (lambda made: made.slice(0, 0), r"must hold at least one image with a label, got none\."),
        (
            lambda made: table(images=[[1, 2]] * 6),
            r"column 'image' of .* must hold the bytes of image files, got list<",
        ),
        (
            lambda made: table(images=["a.png"] * 6),
            r"column 'image' of .* must hold the bytes of image files, got string",
        ),
        (lambda made: table(labels=[[1]] * 6), r"column 'label' of .* must hold whole numbers or names, got list<"),
        (
            lambda made: made.rename_columns(["label", "label"]),
            r"must have columns of different names, got 'label' more",
        ),
        (lambda made: table(labels=[0.5] * 6), r"labels must be whole numbers or names, got 0\.5\."),
    ],
)
def test_tables_of_another_kind_are_refused(tmp_path, change, message):
    pq.write_table(change(table()), tmp_path / "data.parquet")
    with pytest.raises(ValueError, match=message):
        open_data(tmp_path / "data.parquet")


def noted(features):
    return json.dumps({"info": {"features": features}})


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", '{"info": 3}', '{"info": {"features": [1]}}', "[" * 99_999, "\x00"),
        noted({"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": 7}}),
        noted({"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": [1, None]}}),
        noted({"missing": {"_type": "Image"}}),
        noted({"image": {"_type": ["Image"]}, "label": 5}),
    ],
)
def test_what_is_noted_of_columns_need_not_be_right(tmp_path, text):
    pq.write_table(table().replace_schema_metadata({"huggingface": text}), tmp_path / "data.parquet")
    assert len(open_data(tmp_path / "data.parquet").dataset) == 6


def test_what_is_noted_of_columns_is_not_trusted(tmp_path):
    with pytest.raises(ValueError, match=r"column 'label' of .* must hold the bytes of image files, got int64"):
        open_data(written(tmp_path, features={"label": {"_type": "Image"}}))


def test_a_damaged_file_is_refused(tmp_path):
    whole = written(tmp_path).read_bytes()
    for content in (b"", b"hello", whole[:-9], whole[:100], whole[9:]):
        (tmp_path / "data.parquet").write_bytes(content)
        with pytest.raises(ValueError, match=r"data\.parquet is no Parquet file, or is damaged: "):
            open_data(tmp_path / "data.parquet")
    folder = saved(tmp_path / "saved")
    file = folder / "data-00000-of-00001.arrow"
    whole = file.read_bytes()
    for content in (b"hello", whole[: len(whole) // 2], b"\xff" * 200):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"saved holds a damaged file: |must hold at least one image"):
            open_data(folder)
    file.unlink()
    with pytest.raises(ValueError, match=r"saved must hold data-\*\.arrow files beside state\.json, got none\."):
        open_data(folder)


def test_a_large_table_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(arrow_untrusted, "MOST_BYTES", 100)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    with pytest.raises(ValueError, match=r"must have images and labels of at most 100 bytes, unpacked, got [0-9,]+ or"):
        open_data(written(tmp_path))


def test_more_rows_than_there_may_be_are_refused_before_they_are_read(tmp_path, monkeypatch):
    path, folder = written(tmp_path), saved(tmp_path / "saved")
    monkeypatch.setattr(opened, "MOST_ITEMS", 5)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    with pytest.raises(ValueError, match=r"data\.parquet must have at most 5 images, got 6 or more\. Split it\."):
        open_data(path)
    with pytest.raises(ValueError, match=r"saved must have at most 5 images, got 6 or more\. Split it\."):
        open_data(folder)


LONG = b"x" * 2**20
OPEN_EACH = """
import sys
import pyarrow
from vae_augment.data import open_data
from vae_augment.data.readers import arrow_untrusted
arrow_untrusted.MOST_BYTES = 10 * 2**20
for path in sys.argv[1:]:
    try:
        open_data(path)
    except ValueError as error:
        print(pyarrow.default_memory_pool().max_memory() // 2**20, error)
"""


def test_small_files_that_unpack_to_much_take_little_memory(tmp_path):
    images, names, two = {"image": [LONG] * 200}, {"label": [LONG.decode()] * 200}, {"label": LABELS[:2] * 100}
    delta = {"use_dictionary": False, "column_encoding": {"image": "DELTA_BYTE_ARRAY"}}
    pq.write_table(pa.table({**images, **two}), tmp_path / "0.parquet")
    pq.write_table(pa.table({**images, **two}), tmp_path / "1.parquet", **delta)
    pq.write_table(pa.table({"image": PNGS[:1] * 200, **names}), tmp_path / "2.parquet")
    paths = [str(tmp_path / f"{k}.parquet") for k in range(3)]
    assert all(os.path.getsize(path) < 2**18 for path in paths)
    folder, made = saved(tmp_path / "3"), pa.table({"image": [LONG] * 64, "label": LABELS[:2] * 32})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(str(folder / "data-00000-of-00001.arrow"), made.schema, options=options) as to:
        to.write_table(made)
    paths.append(str(folder))
    done = subprocess.run([sys.executable, "-c", OPEN_EACH, *paths], capture_output=True, text=True, check=True)
    for line, path in zip(done.stdout.splitlines(), paths, strict=True):
        megabytes, message = line.split(" ", 1)
        unpacked = "must have images and labels of at most 10,485,760 bytes, unpacked, got 1\\d,"
        assert re.match(rf"{path}(/data.*\.arrow must hold plain batches| {unpacked})", message)
        assert int(megabytes) < 40


def test_lists_are_not_read_at_all(tmp_path):
    assert len(open_data(written(tmp_path, boxes=[[0] * 9] * 6)).dataset) == 6
    made = pa.table({"image": [{"bytes": data} for data in PNGS], "image.bytes": [[0] * 9] * 6, "label": LABELS})
    pq.write_table(made, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"or is damaged: one of the columns image\.bytes, label holds lists\."):
        open_data(tmp_path / "a.parquet")


def test_labels_may_be_places_in_a_dictionary(tmp_path):
    labels = pa.array(["b", "a", "b", None, "c", "c"]).dictionary_encode()
    path = written(tmp_path, labels=labels, split=pa.array(["train"] * 6).dictionary_encode())
    assert Source(open_data(path, on_error="skip").dataset).labels.tolist() == [1, 0, 1, 2, 2]


@pytest.mark.parametrize(
    ("compression", "label", "what"),
    [
        ("zstd", "string", "a batch that is compressed or damaged .*"),
        ("lz4", "string", "a batch that is compressed or damaged .*"),
        (None, pa.dictionary(pa.int32(), pa.string()), "a dictionary"),
        (None, "string_view", "views"),
    ],
)
def test_a_saved_folder_is_not_unpacked_into_memory(tmp_path, monkeypatch, compression, label, what):
    made = pa.table({"image": PNGS[:2], "label": pa.array(["a", "b"]).cast(label)})
    options = pa.ipc.IpcWriteOptions(compression=compression)
    (tmp_path / "state.json").touch()
    with pa.ipc.new_stream(str(tmp_path / "data-0.arrow"), made.schema, options=options) as to:
        to.write_table(made)
    monkeypatch.setattr(pa, "concat_tables", None)
    with pytest.raises(ValueError, match=rf"data-0\.arrow must hold plain batches, .*, got {what}\. Save it so\."):
        open_data(tmp_path)


RUN = b"cos\nsystem\n(S'touch was_run'\ntR."  # a pickle that makes a file


def test_types_that_a_file_brings_run_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    brought = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": RUN}
    for column in ("image", "label"):
        schema = table().schema
        place = schema.get_field_index(column)
        made = table().cast(schema.set(place, schema.field(place).with_metadata(brought)))
        pq.write_table(made, tmp_path / "data.parquet")
        for path in (tmp_path / "data.parquet", saved(tmp_path / column, made)):
            assert len(open_data(path).dataset) == 6
    assert not (tmp_path / "was_run").exists()


def test_an_old_pyarrow_which_runs_code_is_refused(tmp_path, monkeypatch):
    path = written(tmp_path)
    monkeypatch.setattr(pa, "__version__", "14.0.0")
    with pytest.raises(ValueError, match=r"data\.parquet needs pyarrow>=15: pip install"):
        open_data(path)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    path = written(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"data\.parquet needs pyarrow>=15: pip install 'vae-augment\[parquet\]'\."):
        open_data(path)


# ---- files that are missing, and pipes ----


@pytest.mark.parametrize("of", [1, 3])
def test_a_file_that_is_missing_is_told(tmp_path, of):
    (saved(tmp_path / "saved") / "data-00000-of-00001.arrow").rename(tmp_path / f"saved/data-00000-of-0000{of}.arrow")
    for path in (
        written(tmp_path / "hub", f"train-00000-of-0000{of}-0123456789abcdef.parquet").parent,
        tmp_path / "saved",
    ):
        if of == 1:
            assert len(open_data(path).dataset) == 6
        else:
            with pytest.raises(ValueError, match=r"(train|data)-\* must be 3 files, as their names say, got 1\. Get"):
                open_data(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    folder, hub = saved(tmp_path / "saved"), written(tmp_path / "hub", "train.parquet").parent
    os.mkfifo(folder / "data-1.arrow")
    os.mkfifo(hub / "train-1.parquet")
    assert len(open_data(folder).dataset) == len(open_data(hub).dataset) == 6


def test_a_table_of_which_nothing_can_be_used_says_why(tmp_path):
    path = written(tmp_path, images=pa.array([None] * 6, pa.binary()))
    said = (
        r"6 of .* cannot be used: data\.parquet, row 0: it holds no image's bytes; .*; and 1 more\. Nothing is left\.$"
    )
    with pytest.raises(ValueError, match=said):
        open_data(path, on_error="skip")


# ---- any other damage ----


@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize("name", ["data.parquet", "data-0.arrow"])
@given(data=st.data())
@LAW
def test_any_bytes_changed_end_well(tmp_path, name, compression, data):
    path = tmp_path / name
    if name == "data.parquet":
        pq.write_table(table(), path, compression=compression)
    else:
        (tmp_path / "state.json").touch()
        options = pa.ipc.IpcWriteOptions(compression=compression)
        with pa.ipc.new_stream(str(path), table().schema, options=options) as to:
            to.write_table(table())
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    opened = loaded_or_refused(open_data, path if name == "data.parquet" else tmp_path)
    assert opened is None or len(opened.dataset) <= 6
