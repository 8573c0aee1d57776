"""NumPy files: the names that others give their arrays, and files that lie about what they hold."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from contextlib import suppress

import numpy as np
import pytest

from vae_augment import fit
from vae_augment.config import FitConfig
from vae_augment.data import examine, open_data, opened
from vae_augment.data.readers import arrays as module
from vae_augment.data.source import Source

TINY = FitConfig(steps=2, latent_dim=2, width=8, policy="none")
IMAGES = np.random.default_rng(0).integers(0, 255, (6, 9, 10), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def saved(folder, **arrays):
    np.savez_compressed(folder / "data.npz", **arrays)
    return folder / "data.npz"


def header(shape, dtype="|u1", version=b"\x01\x00", extra=""):
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}{extra}}}".encode()
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


# ---- what is opened ----


@pytest.mark.parametrize(
    "names",
    [("images", "labels"), ("x", "y"), ("X", "y"), ("data", "labels"), ("arr_0", "arr_1"), ("image", "label"),
     ("images", "targets"), ("x_train", "y_train"), ("train_images", "train_labels"), ("X_train", "y_train")],
)  # fmt: skip
def test_arrays_are_found_by_their_usual_names(tmp_path, names):
    opened = open_data(saved(tmp_path, **{names[0]: IMAGES, names[1]: LABELS, "mean": np.zeros(3)}))
    assert (opened.name, opened.source, opened.problems) == ("data", "arrays", ())
    assert [label for _, label in opened.dataset] == LABELS.tolist()
    assert np.array_equal(opened.dataset[4][0], IMAGES[4])
    assert fit(opened.dataset, config=TINY).image_shape == (1, 9, 10)


@pytest.mark.parametrize(
    "names",
    [("x_train", "y_train", "x_test", "y_test"), ("train_images", "train_labels", "test_images", "test_labels")],
)
def test_parts_are_told_apart(tmp_path, names):
    path = saved(tmp_path, **dict(zip(names, (IMAGES, LABELS, IMAGES[:2], LABELS[:2]), strict=True)))
    assert [len(open_data(path, part=part).dataset) for part in ("train", "test")] == [6, 2]


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("images", "labels"),
        ("x_train", "y_train"),
        ("a", "a_labels"),
        ("a", "a.labels"),
        ("train_images", "train_labels"),
    ],
)
def test_the_labels_of_an_npy_lie_beside_it(tmp_path, images, labels):
    np.save(tmp_path / f"{images}.npy", IMAGES)
    np.save(tmp_path / f"{labels}.npy", LABELS)
    dataset = open_data(tmp_path / f"{images}.npy").dataset
    assert isinstance(dataset.data, np.memmap)
    assert [label for _, label in dataset] == LABELS.tolist()
    assert fit(dataset, config=TINY).classes == ("0", "1", "2")


@pytest.mark.parametrize("channels", range(1, 17))
@pytest.mark.parametrize("first", [False, True])
def test_images_have_1_to_16_channels_first_or_last(tmp_path, channels, first):
    shape = (4, channels, 20, 24) if first else (4, 20, 24, channels)
    images = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    dataset = open_data(saved(tmp_path, images=images, labels=[0, 1, 0, 1])).dataset
    assert fit(dataset, config=TINY).image_shape == (channels, 20, 24)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint16", "int64", "float16", "float32", "float64", ">u2"])
def test_images_are_numbers_of_any_kind(tmp_path, dtype):
    dataset = open_data(saved(tmp_path, images=IMAGES.astype(dtype), labels=LABELS)).dataset
    bank = fit(dataset, config=TINY)
    assert all(info.status in ("ok", "few-samples", "collapsed") for info in bank.class_infos)


@pytest.mark.parametrize(
    ("labels", "numbers", "names"),
    [
        (["b", "a", "b", "a", "c", "c"], [1, 0, 1, 0, 2, 2], ["a", "b", "c"]),
        ([b"b", b"a", b"b", b"a", b"c", b"c"], [1, 0, 1, 0, 2, 2], ["a", "b", "c"]),
        ([b"\xff", b"\xfe"] * 3, [1, 0, 1, 0, 1, 0], [r"\xfe", r"\xff"]),  # no UTF-8, and still two
        ([5, -3, 5, -3, 70000, 5], [5, -3, 5, -3, 70000, 5], ["70000", "-3", "5"]),
        ([0.0, 1.0, 0.0, 1.0, 2.0, 2.0], [0, 1, 0, 1, 2, 2], ["0", "1", "2"]),
        ([True, False, True, False, True, True], [1, 0, 1, 0, 1, 1], ["False", "True"]),
        ([[0], [1], [0], [1], [2], [2]], [0, 1, 0, 1, 2, 2], ["0", "1", "2"]),
    ],
)
def test_labels_are_numbers_or_names(tmp_path, labels, numbers, names):
    source = Source(open_data(saved(tmp_path, images=IMAGES, labels=np.array(labels))).dataset)
    assert source.labels.tolist() == numbers
    assert sorted(source.classes.values()) == sorted(names)


def test_a_missing_label_is_a_problem(tmp_path):
    path = saved(tmp_path, images=IMAGES, labels=np.array([0, 1, np.nan, 0, 1, np.nan]))
    with pytest.raises(ValueError, match=r"^2 of .*data\.npz cannot be used: data\.npz, item 2: it has no label; "):
        open_data(path)
    opened = open_data(path, on_error="skip")
    assert ([str(p) for p in opened.problems], [label for _, label in opened.dataset]) == (
        ["data.npz, item 2: it has no label", "data.npz, item 5: it has no label"],
        [0, 1, 0, 1],
    )
    assert np.array_equal(opened.dataset[2][0], IMAGES[3])


@pytest.mark.slow
def test_a_class_may_have_60000_images_beside_one_of_one(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (60_001, 8, 8), np.uint8)
    labels = np.zeros(60_001, np.int64)
    labels[7] = 1
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", labels)
    bank = fit(open_data(tmp_path / "images.npy").dataset, config=TINY)
    assert [(info.images, info.status == "few-samples") for info in bank.class_infos] == [(60_000, False), (1, True)]


# ---- what is refused ----


KINDS = r"must be numbers of shape \[N, H, W\], .* got"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES}, r"must hold images and labels, as 'images' and 'labels', got the arrays 'images'\."),
        ({}, r"got the arrays none\."),
        ({"pixels_x": IMAGES, "labels": LABELS}, r"got the arrays 'labels', 'pixels_x'\."),
        ({"images": IMAGES[0], "labels": LABELS}, rf"{KINDS} uint8 of shape \[9, 10\]"),
        ({"images": IMAGES.astype(complex), "labels": LABELS}, rf"{KINDS} complex128 of shape"),
        ({"images": IMAGES.astype(str), "labels": LABELS}, rf"{KINDS} <U3 of shape"),
        ({"images": IMAGES, "labels": LABELS[:4]}, r"got shape \[4\] for images of shape \[6, 9, 10\]"),
        ({"images": IMAGES, "labels": np.eye(6)}, r"got shape \[6, 6\] .*, not one column a class\."),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, r"must hold at least one image with a label, got 0 images\."),
        ({"images": IMAGES, "labels": np.zeros(6, "V4")}, r"labels of .* must be whole numbers or names, got \|V4\."),
        ({"images": IMAGES, "labels": np.array([0.5, 1, 0, 1, 0, 1])}, r"must be whole numbers or names, got 0\.5\."),
    ],
)  # fmt: skip
def test_arrays_of_another_kind_are_refused(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        open_data(saved(tmp_path, **arrays))


class Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_no_object_is_unpickled(tmp_path):
    held = np.array([Trap(tmp_path / "sprung")] * 6, dtype=object)
    for name in ("images", "labels", "classes"):
        arrays = {"images": IMAGES, "labels": LABELS, name: held}
        np.savez(tmp_path / "data.npz", **arrays)
        with pytest.raises(
            ValueError, match=rf"{name}\.npy must hold numbers or text, got Python objects or records\."
        ):
            open_data(tmp_path / "data.npz")
    np.save(tmp_path / "images.npy", held, allow_pickle=True)
    np.save(tmp_path / "labels.npy", LABELS)
    with pytest.raises(ValueError, match=r"images\.npy must hold numbers or text, got Python objects or records\."):
        open_data(tmp_path / "images.npy")
    (tmp_path / "images.npy").write_bytes(pickle.dumps(held))
    with pytest.raises(ValueError, match=r"images\.npy is no array as NumPy saves it"):
        open_data(tmp_path / "images.npy")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            header((6, 10**6, 10**6)) + b"x",
            r"images\.npy has 6,000,000,000,000 bytes, more than 4,294,967,296\. Save it",
        ),
        (header((6, 9, 10)) + bytes(30), r"is damaged: images\.npy is said to hold 540 bytes, and holds at most \d+\."),
        (header((6, 10**30, 10**9)) + b"x", r"images\.npy has 6,000,.* bytes, more than"),
        (header((-6, 9, 10)) + bytes(540), r"images\.npy|images of|damaged"),
        (header((6, 9, 10), "|O") + bytes(540), r"must hold numbers or text, got Python objects or records\."),
        (header((6, 9, 10), "<f4444") + bytes(540), r"is no array as NumPy saves it"),
        (header("__import__('os').abort()") + bytes(540), r"is no array as NumPy saves it"),
        (header("(" * 5000 + "6" + ")" * 5000), r"is no array as NumPy saves it"),
        (header((6, 9, 10), version=b"\x07\x00") + bytes(540), r"is no array as NumPy saves it"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", r"is no array as NumPy saves it"),
        (b"", r"is no array as NumPy saves it"),
        (b"hello", r"is no array as NumPy saves it"),
    ],
    ids=range(12),
)
def test_an_array_that_lies_about_itself_is_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        open_data(archive(tmp_path / "data.npz", images=content, labels=npy(LABELS)))
    (tmp_path / "images.npy").write_bytes(content)
    np.save(tmp_path / "labels.npy", LABELS)
    with pytest.raises(ValueError, match=r"images\.npy"):
        open_data(tmp_path / "images.npy")


def test_a_large_array_is_refused_before_it_is_unpacked(tmp_path, lowered):
    lowered(module, "MOST_BYTES", 539)
    with pytest.raises(ValueError, match=r"images\.npy has 540 bytes, more than 539\. Save it as an \.npy file\."):
        open_data(saved(tmp_path, images=IMAGES, labels=LABELS))


def test_labels_and_names_have_a_bound_of_their_own(tmp_path, lowered):
    lowered(module, "MOST_LABEL_BYTES", 47)
    np.save(tmp_path / "images.npy", IMAGES)
    np.save(tmp_path / "labels.npy", LABELS)
    for path in (saved(tmp_path, images=IMAGES, labels=LABELS), tmp_path / "images.npy"):
        with pytest.raises(
            ValueError, match=r"labels\.npy has 48 bytes, more than 47\. Give numbers, or shorter names\."
        ):
            open_data(path)
    with pytest.raises(ValueError, match=r"classes\.npy has 60 bytes, more than 47\. Give numbers, or shorter"):
        open_data(saved(tmp_path, images=IMAGES, labels=LABELS.astype(np.uint8), classes=["camel", "ant", "bee"]))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((6, 1, 1), r"images of .*\.np[yz] must be at least 8x8 pixels, got 1x1\."),
        ((6, 3, 1, 9), r"images of .*\.np[yz] must be at least 8x8 pixels, got 3x1x9\."),
        ((8, 9, 9), r"\.np[yz] must have at most 7 images, got 8 or more\. Divide it\."),
    ],
)
def test_small_images_and_many_are_refused_before_anything_is_read(tmp_path, lowered, shape, message):
    lowered(opened, "MOST_ITEMS", 7)
    labels = npy(np.zeros(shape[0], np.uint8))
    with pytest.raises(ValueError, match=message):
        open_data(archive(tmp_path / "data.npz", images=header(shape), labels=labels))  # nothing after the header
    np.save(tmp_path / "images.npy", np.zeros(shape, np.uint8))
    (tmp_path / "labels.npy").write_bytes(labels)
    with pytest.raises(ValueError, match=message):
        open_data(tmp_path / "images.npy")


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (["ant", "bee", "cat"], ["ant", "bee", "cat"]),
        ([b"ant", b"bee", b"cat"], ["ant", "bee", "cat"]),
        ([7, 8, 9], []),
        ([[1, 0], [0, 1]], []),
        ([["ant"], ["bee"], ["cat"]], "[3, 1]"),
        ("ant", "[]"),
        (["a"] * 100_001, "[100001]"),
    ],
    ids=["text", "bytes", "numbers", "rows of numbers", "rows", "a scalar", "too many"],
)
def test_names_of_classes_are_a_list_of_text_or_bytes(tmp_path, classes, names):
    path = saved(tmp_path, images=IMAGES, labels=LABELS, classes=np.array(classes))
    if isinstance(names, str):
        message = rf"must be an array of one dimension, of at most 100,000, got shape {re.escape(names)}\."
        with pytest.raises(ValueError, match=rf"^names of classes of .*data\.npz {message}"):
            open_data(path)
        return
    opened_data = open_data(path)
    assert opened_data.dataset.classes == names
    assert [row[0] for row in examine(opened_data, progress=False).rows()] == (names or ["0", "1", "2"])


def test_a_damaged_archive_is_refused(tmp_path):
    whole = saved(tmp_path, images=IMAGES, labels=LABELS).read_bytes()
    turned = len(whole) // 3
    damaged = whole[:turned] + bytes([whole[turned] ^ 255]) + whole[turned + 1 :]
    for content in (b"", b"hello", whole[:-40], whole[:200], whole[40:], damaged):
        (tmp_path / "data.npz").write_bytes(content)
        with pytest.raises(
            ValueError, match=r"data\.npz(: images\.npy is no array| must be an \.npz file| is damaged)"
        ):
            open_data(tmp_path / "data.npz")


def test_any_damage_to_an_archive_is_an_image_set_or_a_value_error(tmp_path):
    whole, draws = saved(tmp_path, images=IMAGES, labels=LABELS).read_bytes(), np.random.default_rng(0)
    path = tmp_path / "data.npz"
    for _ in range(400):
        content = bytearray(whole)
        for place in draws.integers(0, len(whole), draws.integers(1, 4)):
            content[place] = draws.integers(256)
        path.write_bytes(content)
        with suppress(ValueError):  # alone
            open_data(path)


def test_an_npy_without_labels_says_where_they_are_looked_for(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    with pytest.raises(
        ValueError, match=r"a\.npy needs its labels beside it, as a_labels\.npy or as a file of a\.npz\."
    ):
        open_data(tmp_path / "a.npy")


def test_images_that_are_not_finite_are_named(tmp_path):
    images = IMAGES.astype(np.float32)
    images[3, 2, 1] = np.nan
    with pytest.raises(ValueError, match=r"item 3 of class '0': an image holds values that are not finite\."):
        fit(open_data(saved(tmp_path, images=images, labels=LABELS)).dataset, config=TINY)
