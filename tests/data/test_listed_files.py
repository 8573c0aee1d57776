"""CSV files that list images and labels."""

from __future__ import annotations

import pytest
from PIL import Image

from vae_augment.data import open_data
from vae_augment.data import opened as opened_data
from vae_augment.data.readers import listed_files
from vae_augment.data.source import Source


@pytest.fixture
def place(tmp_path):
    """A folder with four images, and one beside it that is none of its business."""
    folder = tmp_path / "photos"
    (folder / "in").mkdir(parents=True)
    for k in range(4):
        Image.new("L", (9, 9), 50 * k).save(folder / "in" / f"{k}.png")
    Image.new("L", (9, 9)).save(tmp_path / "secret.png")
    return folder


def opened(place, text, name="labels.csv", **options):
    (place / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return open_data(place / name, **options)


FOUR = "".join(f"in/{k}.png,{'cat' if k % 2 else 'dog'}\n" for k in range(4))


@pytest.mark.parametrize(
    "text",
    [
        "path,label\n" + FOUR,
        "\ufeffpath,label\r\n" + FOUR.replace("\n", "\r\n"),
        FOUR,
        "Label;FileName\n" + "".join(f"{'cat' if k % 2 else 'dog'};in/{k}.png\n" for k in range(4)),
        "id,label,weight,image\n" + "".join(f"{k},{'cat' if k % 2 else 'dog'},1,in/{k}.png\n\n" for k in range(4)),
        "path,label\n" + "".join(f'"in/{k}.png","{"cat" if k % 2 else "dog"}" \n' for k in range(4)),
    ],
    ids=["plain", "excel", "no header", "semicolons", "other columns", "quoted"],
)  # fmt: skip
def test_a_list_of_files_and_labels_is_opened(place, text):
    data = opened(place, text)
    assert (data.name, data.source, data.problems, data.notes) == ("labels", "csv", (), ())
    assert data.dataset.classes == ["cat", "dog"]
    assert [(image.getpixel((0, 0)), label) for image, label in data.dataset] == [(0, 1), (50, 0), (100, 1), (150, 0)]


def test_tabs_divide_a_tsv(place):
    assert len(opened(place, "path\tlabel\nin/0.png\ta, b\nin/1.png\tc\n", "labels.tsv").dataset) == 2


@pytest.mark.parametrize(
    ("labels", "numbers", "names"),
    [
        (["3", "-1", "900", "3"], [3, -1, 900, 3], {-1: "-1", 3: "3", 900: "900"}),
        (["1.0", "2.0", "1.0", "2.00"], [1, 2, 1, 2], {1: "1", 2: "2"}),
        (["01", "02", "01", "02"], [0, 1, 0, 1], {0: "01", 1: "02"}),
        (["1", "cat", "1", "cat"], [0, 1, 0, 1], {0: "1", 1: "cat"}),
        (["True", "False", "True", "False"], [1, 0, 1, 0], {0: "False", 1: "True"}),
        (["9" * 40, "1", "9" * 40, "1"], [1, 0, 1, 0], {0: "1", 1: "9" * 40}),
    ],
)
def test_whole_numbers_stay_what_they_are_and_names_are_sorted(place, labels, numbers, names):
    rows = "".join(f"in/{k}.png,{label}\n" for k, label in enumerate(labels))
    source = Source(opened(place, "path,label\n" + rows).dataset)
    assert (source.labels.tolist(), source.classes) == (numbers, names)


def test_a_split_column_divides_the_parts(place):
    text = "path,label,split\nin/0.png,a,train\nin/1.png,b,train\nin/2.png,a,val\nin/3.png,b,val\n"
    assert [path[-5] for path, _ in opened(place, text).dataset.samples] == ["0", "1"]
    assert [path[-5] for path, _ in opened(place, text, part="test").dataset.samples] == ["2", "3"]
    with pytest.raises(
        ValueError, match=r"labels\.csv must have a split named one of test, testing, .*got \['train'\]"
    ):
        opened(place, "path,label,split\nin/0.png,a,train\n", part="test")
    many = "".join(f"in/0.png,a,s{k:02}\n" for k in range(30))
    with pytest.raises(ValueError, match=r"got \['s00', 's01', .*'s09' and 20 more\]\.$"):
        opened(place, "path,label,split\n" + many, part="test")


def test_a_file_listed_twice_is_noted(place):
    assert opened(place, FOUR + FOUR).notes == ("4 files are listed more than once.",)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("../secret.png,cat", "../secret.png leads out of the folder that the list lies in"),
        ("in/../../secret.png,cat", "in/../../secret.png leads out of the folder that the list lies in"),
        ("{outside}/secret.png,cat", "{outside}/secret.png leads out of the folder that the list lies in"),
        ("/etc/passwd,cat", "/etc/passwd leads out of the folder that the list lies in"),
        ("link.png,cat", "link.png leads out of the folder that the list lies in"),
        ("linked/secret.png,cat", "linked/secret.png leads out of the folder that the list lies in"),
        ("in/9.png,cat", "there is no file in/9.png"),
        ("in,cat", "in is no regular file"),
        (",cat", "it names no file"),
        ("in/0.png,", "it has no label"),
        ("in/0.png", "it has no label"),
        ("a\0b.png,cat", "a file's name cannot hold NUL"),
        ("x" * 300 + ".png,cat", "x" * 80 + " cannot be looked up (File name too long)"),
        ("circle.png,cat", "circle.png"),
    ],
    ids=lambda value: value[:20].replace("\0", "NUL"),
)
def test_a_row_that_cannot_be_used_is_named_by_its_line(place, row, reason):
    (place / "link.png").symlink_to(place.parent / "secret.png")
    (place / "linked").symlink_to(place.parent)
    (place / "circle.png").symlink_to(place / "circle.png")
    row, reason = (text.replace("{outside}", str(place.parent)) for text in (row, reason))
    text = f"path,label\nin/0.png,dog\n{row}\nin/1.png,cat\n"
    skipped = opened(place, text, on_error="skip")
    assert [path[-5] for path, _ in skipped.dataset.samples] == ["0", "1"]
    (problem,) = skipped.problems
    assert str(problem).startswith(f"labels.csv, line 3: {reason}")
    with pytest.raises(
        ValueError, match=r"^1 of .*labels\.csv cannot be used: labels\.csv, line 3: .*--on-error skip\.$"
    ):
        opened(place, text)


def test_a_path_that_stays_inside_may_be_absolute_or_winding(place):
    text = f"path,label\n{place}/in/0.png,a\nin/../in/1.png,b\n./in/2.png,a\n"
    assert len(opened(place, text).dataset) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"labels\.csv must list images and labels, got an empty file\."),
        ("\n\n", r"labels\.csv must list images and labels, got an empty file\."),
        ("path,label\n", r"labels\.csv must list at least one image, got none\."),
        (
            "name,label\nin/0.png,a\n",
            r"must have a column named one of path, file, .*, got the columns 'name', 'label'\.",
        ),
        ("path,kind\nin/0.png,a\n", r"must have a column named one of label, .*, got the columns 'path', 'kind'\."),
        (b"path,label\nin/0.png,\xff\n", r"must be text in UTF-8, got other bytes at position 20\."),
        (f"path,label\n{'x' * 200_000},a\n", r"must be a CSV file: field larger than field limit \(131072\)\."),
    ],
    ids=["empty", "blank", "no rows", "no path", "no label", "latin-1", "endless field"],
)
def test_a_list_that_cannot_be_used_is_refused(place, text, message):
    with pytest.raises(ValueError, match=message):
        opened(place, text)


def test_a_large_list_is_refused_before_it_is_read(place, lowered):
    lowered(listed_files, "MOST_BYTES", 10)
    with pytest.raises(ValueError, match=r"labels\.csv must have at most 10 bytes, got 52\."):
        opened(place, FOUR)


@pytest.mark.parametrize("header", ["", "path,label\n", "path,label,split\n"])
def test_a_list_of_many_rows_is_refused(place, lowered, header):
    lowered(opened_data, "MOST_ITEMS", 4)
    assert len(opened(place, header.replace(",split", "") + FOUR).dataset) == 4
    with pytest.raises(ValueError, match=r"labels\.csv must have at most 4 images, got 5 or more\. Divide it\."):
        opened(place, header + FOUR + "in/0.png,dog\n")


@pytest.mark.parametrize("row", ["ab," * 20, 'a,"b\n' + "c\n" * 20 + '"', 'a,b,"' + "c\n" * 20])
def test_a_long_row_is_refused_before_it_is_divided(place, lowered, row):
    lowered(listed_files, "MOST_CHARACTERS", 30)
    assert len(opened(place, FOUR + FOUR).dataset) == 8
    with pytest.raises(ValueError, match=r"labels\.csv must have rows of at most 30 characters, got more in one\."):
        opened(place, FOUR + row + "\n" + FOUR)


def test_a_list_that_is_not_there_is_said_to_be_a_file(place):
    with pytest.raises(FileNotFoundError, match=r"no file at .*missing\.csv\."):
        open_data(place / "missing.csv")


def test_a_list_of_which_nothing_can_be_used_says_why(tmp_path):
    (tmp_path / "a.csv").write_text("path,label\nb\\c.png,x\n")
    with pytest.raises(ValueError, match=r"1 of .*a\.csv cannot be used: a\.csv, line 2: .*\. Nothing is left\.$"):
        open_data(tmp_path / "a.csv", on_error="skip")
