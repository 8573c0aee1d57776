"""What `generate` takes for an export, and what it leaves alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.commands import contents, run
from vae_augment.files.writing import _machine


def test_overwriting_removes_an_export_and_nothing_else(with_bank):
    run("generate bars.safetensors --out made --per-class 6 --seed 1")
    Path("made/thesis.txt").write_text("years of work")
    Path("made/down/notes.txt").write_text("more")
    assert run("generate bars.safetensors --out made --per-class 2 --overwrite")[0] == 0
    run("generate bars.safetensors --out afresh --per-class 2")
    others = {"thesis.txt": b"years of work", "down/notes.txt": b"more"}
    assert contents("made") == contents("afresh") | others


NOT_AN_EXPORTS = [
    "20240131.png",  # a date
    "000002.png",  # the export had two
    "0000001.png",
    "\u0660\u0660\u0660\u0660\u0660\u0661.png",
    ".000002.png.00000000-77-01234567.tmp",
    ".thesis.txt.00000000-77-01234567.tmp",
]


def test_overwriting_leaves_images_that_the_export_did_not_write(with_bank):
    run("generate bars.safetensors --out made --per-class 2")
    for name in NOT_AN_EXPORTS:
        Path("made/down", name).write_bytes(b"mine")
    Path("made/down/.000001.png.00000000-77-01234567.tmp").touch()
    assert run("generate bars.safetensors --out made --count 1 --overwrite")[0] == 0
    run("generate bars.safetensors --out afresh --count 1")
    assert contents("made") == contents("afresh") | {f"down/{name}": b"mine" for name in NOT_AN_EXPORTS}


@pytest.mark.parametrize("name", ["0000001.png", "\u0660\u0660\u0660\u0660\u0660\u0661.png"])
def test_an_image_of_a_like_name_does_not_stand_for_the_exports(with_bank, name):
    run("generate bars.safetensors --out made --per-class 2")
    whole = contents("made")
    Path("made/down/000001.png").rename(f"made/down/{name}")
    assert run("generate bars.safetensors --out made --per-class 2 --resume")[0] == 0
    assert contents("made") == whole | {f"down/{name}": whole["down/000001.png"]}


@pytest.mark.parametrize("option", ["--resume", "--overwrite"])
def test_a_file_in_the_place_of_an_image_is_neither_taken_for_it_nor_replaced(with_bank, option):
    run("generate bars.safetensors --out made --per-class 2")
    mine = Path("made/down/000002.png")
    mine.write_bytes(Path("made/down/000001.png").read_bytes())
    code, _, err = run(f"generate bars.safetensors --out made --per-class 3 {option}")
    assert code == 2
    assert "made/down/000002.png is not of the export that was here, and would be replaced: move" in err
    mine.rename("mine.png")
    assert run("generate bars.safetensors --out made --per-class 3 --resume")[0] == 0
    run("generate bars.safetensors --out afresh --per-class 3")
    assert contents("made") == contents("afresh")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--per-class 2", "made is not empty: name another folder, or empty it first (or continue it: --resume)"),
        ("--per-class 2 --seed 3 --resume", "made holds images of seed 0, not 3: to resume, give the same bank and"),
        ("--per-class 2 --method prior --resume", "made holds images of method "),
        ("--per-class 2 --resume --overwrite", "give resume or overwrite, not both"),
    ],
)
def test_another_export_is_refused_and_left(with_bank, options, message):
    run("generate bars.safetensors --out made --per-class 2")
    before = contents("made")
    code, out, err = run(f"generate bars.safetensors --out made {options}")
    assert (code, out) == (2, "")
    assert message in err
    assert contents("made") == before


@pytest.mark.parametrize("option", ["--resume", "--overwrite"])
@pytest.mark.parametrize(
    "manifest",
    [
        None,
        "hello",
        "[]",
        '{"classes": []}',
        '{"classes": [{"folder": "../bars/down", "images": 3}]}',
        "[" * 100_000,
    ],
)
def test_a_folder_that_is_no_export_is_refused_and_left(with_bank, option, manifest):
    Path("made").mkdir()
    Path("made/000000.png").write_bytes(b"mine")
    if manifest is not None:
        Path("made/manifest.json").write_text(manifest)
    before = contents(".")
    code, _, err = run(f"generate bars.safetensors --out made --per-class 2 {option}")
    assert code == 2
    assert "made holds something that is no export: name another folder, or empty it first" in err
    assert contents(".") == before


@pytest.mark.parametrize("option", ["--resume", "--overwrite"])
def test_a_class_folder_that_is_a_link_is_not_followed(with_bank, option):
    run("generate bars.safetensors --out made --per-class 2")
    for path in list(Path("made/down").iterdir()):
        path.unlink()
    Path("made/down").rmdir()
    Path("elsewhere").mkdir()
    Path("elsewhere/000000.png").write_bytes(b"mine")
    Path("made/down").symlink_to(Path("elsewhere").resolve())
    code, _, err = run(f"generate bars.safetensors --out made --per-class 2 {option}")
    assert code == 2
    assert "down must be a folder, it is a link" in err
    assert contents("elsewhere") == {"000000.png": b"mine"}


@pytest.mark.parametrize("option", ["--resume", "--overwrite"])
@pytest.mark.parametrize("name", ["unfinished.json", "manifest.json", "classes.json"])
def test_a_file_of_an_export_that_is_a_link_is_not_followed(with_bank, name, option):
    run("generate bars.safetensors --out made --per-class 2")
    Path("secret.txt").write_bytes(b"mine")
    if name == "manifest.json":  # an export all the same
        Path("made/manifest.json").rename("made/unfinished.json")
    Path("made", name).unlink(missing_ok=True)
    Path("made", name).symlink_to("../secret.txt")
    before = contents("made")
    code, _, err = run(f"generate bars.safetensors --out made --per-class 3 {option}")
    assert code == 2
    assert f"made/{name} must be a file, it is a link: remove it, or name another folder" in err
    assert contents("made") == before
    assert Path("secret.txt").read_bytes() == b"mine"


def test_nothing_is_removed_before_a_link_is_refused(with_bank):
    run("generate bars.safetensors --out made --count 1")
    before = contents("made")
    Path("made/down").symlink_to(with_bank / "empty")
    assert run("generate bars.safetensors --out made --per-class 2 --overwrite")[0] == 2
    assert contents("made") == before


@pytest.mark.parametrize("option", ["", "--resume", "--overwrite"])
@pytest.mark.parametrize("name", ["unfinished.json", "manifest.json", "classes.json"])
def test_a_half_written_file_of_an_export_that_was_just_begun_is_nothing(with_bank, name, option):
    Path("made").mkdir()
    for partial in (f".{name}.00000000-77-01234567.tmp", f".{name}.{_machine()}-{os.getpid()}-01234567.tmp"):
        Path("made", partial).touch()
    assert run(f"generate bars.safetensors --out made --per-class 1 {option}")[0] == 0
    assert len(list(Path("made").rglob("*.png"))) == 3


@pytest.mark.parametrize("name", ["thesis.txt", "", "manifest.json.txt"])
def test_a_half_written_file_of_something_else_is_something(with_bank, name):
    Path("made").mkdir()
    Path("made", f".{name}.00000000-77-01234567.tmp").touch()
    code, _, err = run("generate bars.safetensors --out made --per-class 1 --resume")
    assert (code, "made holds something that is no export" in err) == (2, True)
