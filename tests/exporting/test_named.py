"""What reconstruct and decode find in their folder, and what they leave alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import contents, run

RECONSTRUCT = "reconstruct bars.safetensors --data bars --out made"


@pytest.fixture
def made(with_bank):
    """An export of nine images in "made"."""
    assert run(RECONSTRUCT)[0] == 0
    return contents("made")


def test_overwriting_removes_an_earlier_export_and_nothing_else(made):
    Path("made/thesis.txt").write_text("years of work")
    Path("made/down/holiday.png").write_text("mine")
    assert run("reconstruct bars.safetensors --data bars --out made --per-class 1 --overwrite")[0] == 0
    run("reconstruct bars.safetensors --data bars --out afresh --per-class 1")
    others = {"thesis.txt": b"years of work", "down/holiday.png": b"mine"}
    assert contents("made") == contents("afresh") | others


def test_without_the_option_an_export_is_left(made):
    code, out, err = run(RECONSTRUCT)
    assert (code, out) == (2, "")
    assert "made is not empty: name another folder, or empty it first (or remove it first: --overwrite)" in err
    assert contents("made") == made


def test_a_file_in_the_place_of_an_image_is_not_replaced(with_bank):
    run(f"{RECONSTRUCT} --per-class 1")
    names = json.loads(Path("made/manifest.json").read_text())["classes"][1]["files"]
    free = next(name for name in ("3.png", "4.png", "5.png") if name not in names)
    Path("made/down", free).write_bytes(b"mine")
    code, _, err = run(f"{RECONSTRUCT} --overwrite")
    assert code == 2
    assert f"made/down/{free} is not of the export that was here, and would be replaced: move it" in err
    assert Path("made/down", free).read_bytes() == b"mine"


def test_a_file_whose_name_differs_in_case_alone_may_be_the_same_file(with_bank):
    run(f"{RECONSTRUCT} --per-class 1")
    (Path("bars/down") / "Cat.png").write_bytes(next(Path("bars/down").iterdir()).read_bytes())
    Path("made/down/cAT.png").write_bytes(b"mine")
    code, _, err = run(f"{RECONSTRUCT} --overwrite")
    assert (code, "made/down/cAT.png is not of the export that was here" in err) == (2, True)


def test_one_that_was_ended_is_overwritten(made):
    Path("made/manifest.json").rename("made/unfinished.json")
    Path("made/classes.json").unlink()
    Path("made/down/3.png").unlink()
    assert run(f"{RECONSTRUCT} --overwrite")[0] == 0
    assert contents("made") == made


def test_exports_of_either_kind_are_taken_for_such(made):
    code, _, err = run("generate bars.safetensors --out made --per-class 1")
    assert (code, "(or remove it first: --overwrite)" in err) == (2, True)
    code, _, err = run("generate bars.safetensors --out made --per-class 1 --resume")
    assert (code, "made holds images of method 'reconstruction', not" in err) == (2, True)
    assert contents("made") == made
    assert run("generate bars.safetensors --out made --per-class 2 --overwrite")[0] == 0
    run("generate bars.safetensors --out afresh --per-class 2")
    assert contents("made") == contents("afresh")
    assert run(f"{RECONSTRUCT} --overwrite")[0] == 0
    assert contents("made") == made


@pytest.mark.parametrize(
    "files", ['["../../notes.txt"]', '["thesis.txt"]', '"a.png"', "[5]", "null", '[["a.png"]]', '{"a.png": 1}']
)
def test_a_manifest_that_lists_no_images_is_no_export(with_bank, files):
    Path("made/down").mkdir(parents=True)
    Path("made/down/thesis.txt").write_bytes(b"mine")
    entry = f'{{"folder": "down", "images": 1, "files": {files}}}'
    text = f'{{"format": "png", "bank_sha256": "", "method": "reconstruction", "classes": [{entry}]}}'
    Path("made/manifest.json").write_text(text)
    before = contents(".")
    code, _, err = run(f"{RECONSTRUCT} --overwrite")
    if files != '{"a.png": 1}':  # whose keys are names too
        assert (code, "made holds something that is no export" in err) == (2, True)
        assert contents(".") == before
    assert Path("made/down/thesis.txt").read_bytes() == b"mine"
