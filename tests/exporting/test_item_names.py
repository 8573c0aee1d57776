from __future__ import annotations

import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from vae_augment.data import open_data
from vae_augment.data.source import Source
from vae_augment.exporting.item_names import MOST_CHARACTERS, check_item_names, item_names, png_names
from vae_augment.files.folder_names import UNSAFE_CHARACTERS, caseless

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)


# ---- of a dataset's items ----


def test_items_are_named_after_their_files(here):
    source = Source(open_data("bars").dataset)
    assert item_names(source) == tuple(f"{i}.png" for i in range(9))


def test_items_without_files_are_numbered_in_the_dataset_that_holds_them():
    numbers = TensorDataset(torch.zeros(12, 1, 9, 9, dtype=torch.uint8), torch.arange(12) % 2)
    assert item_names(Source(Subset(numbers, [11, 3, 4]))) == ("000011", "000003", "000004")
    assert item_names(Source(ConcatDataset([Subset(numbers, [0, 1]), Subset(numbers, [1, 2])]))) == (
        *("000000", "000001"),
        *("000001", "000002"),
    )


@pytest.mark.skipif(os.name == "nt", reason="names of files are Unicode there")
def test_a_file_whose_name_is_no_unicode_is_written_escaped(tmp_path):
    folder = tmp_path / "cat"
    folder.mkdir()
    try:
        Image.new("L", (9, 9)).save(os.path.join(os.fsencode(folder), b"caf\xe9.png").decode(errors="surrogateescape"))
    except OSError:
        pytest.skip("this file system takes Unicode alone")
    assert item_names(Source(open_data(tmp_path).dataset)) == ("caf\\udce9.png",)


@pytest.mark.parametrize("text", ["", "x" * (MOST_CHARACTERS + 1)])
def test_samples_that_are_no_names_of_files_are_numbered(shapes, text):
    shapes.samples = [text] * len(shapes)
    assert item_names(Source(shapes))[:2] == ("000000", "000001")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", ""], "names must have 1 to 1,024 characters, got 0 in item 1"),
        (["x" * 1025], "names must have 1 to 1,024 characters, got 1,025 in item 0"),
        (["a\0b"], "names must be Unicode without NUL, got 'a.x00b' in item 0"),
        (["\ud800"], "names must be Unicode without NUL"),
    ],
)
def test_names_that_no_file_could_keep_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        check_item_names(names)


# ---- of their PNGs ----


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["a.jpg", "b.PNG", "c.tar", "000012", "d"], ["a", "b", "c.tar", "000012", "d"]),
        (["a.jpg", "a.png", "A.webp", "a"], ["a", "a~2", "A~3", "a~4"]),
        (["a~2", "a", "a", "a~2"], ["a~2", "a", "a~3", "a~2~2"]),
        (["caf\u00e9.png", "cafe\u0301.png"], ["caf\u00e9", "cafe\u0301~2"]),
        (["../../etc/passwd", "..", ".", "/"], ["%2E.%2F..%2Fetc%2Fpasswd", "%2E%2E", "%2E", "%2F"]),
        (["C:\\x", "a\nb", "50%", "CON.png"], ["C%3A%5Cx", "a%0Ab", "50%25", "%43ON"]),
        ([".png", "..png"], ["%2Epng", "%2E"]),
    ],
)
def test_names_are_kept_where_they_can_be(names, files):
    assert png_names(names, [0] * len(names)) == [f"{file}.png" for file in files]


def test_each_class_has_names_of_its_own():
    assert png_names(["a", "a", "a"], [0, 1, 0]) == ["a.png", "a.png", "a~2.png"]


@given(st.lists(st.tuples(TEXT | st.sampled_from(["a", "A", "a~2", "a.png"]), st.integers(0, 1)), max_size=30))
def test_any_names_stay_in_their_folders_and_apart(items):
    names, labels = [name for name, _ in items], [label for _, label in items]
    files = png_names(names, labels)
    assert len({(caseless(file), label) for file, label in zip(files, labels, strict=True)}) == len(items)
    for file in files:
        assert not set(file) & (UNSAFE_CHARACTERS - {"%"})
        assert file[0] not in ". "
        assert os.path.basename(file) == file
        assert file.endswith(".png")
        assert len(file.encode()) <= 250
    assert png_names(names[:3], labels[:3]) == files[:3]


def test_many_names_alike_take_no_time():
    files = png_names(["a"] * 20_000 + [f"a~{n}" for n in range(20_000)], [0] * 40_000)
    assert len(set(files)) == 40_000
