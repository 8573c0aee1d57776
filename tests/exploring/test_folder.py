"""What `explore` takes for an exploration, and what it leaves alone."""

import json
from pathlib import Path

import pytest

from tests.commands import contents, run
from vae_augment.exploring.folder import CONTENTS, check, write
from vae_augment.files.folders import filling

ABOUT = {"bank_sha256": "ab", "seed": 0}
COMMAND = "explore bars.safetensors --out made --only traversals,dimensions"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "new" / "folder"


def explored(folder, overwrite=False, **files):
    """Write files of an exploration: map_png=b"1" is of map.png."""
    named = {name.replace("_", "."): content for name, content in files.items()}
    with filling(folder):
        check(folder, named, overwrite=overwrite)
        write(folder, named, ABOUT)


def test_files_are_written_with_what_they_are_of(folder):
    explored(folder, map_png=b"1", map_csv=b"2")
    there = contents(folder)
    assert json.loads(there.pop(CONTENTS)) == {**ABOUT, "files": ["map.csv", "map.png"]}
    assert there == {"map.png": b"1", "map.csv": b"2"}


def test_overwriting_replaces_an_exploration_and_nothing_else(folder):
    explored(folder, **{"map.png": b"1", "traversals-a.png": b"2"})
    (folder / "thesis.txt").write_bytes(b"years of work")
    (folder / "inner").mkdir()
    explored(folder, overwrite=True, map_png=b"3", plane_png=b"4")
    there = contents(folder)
    assert json.loads(there.pop(CONTENTS))["files"] == ["map.png", "plane.png"]
    assert there == {"map.png": b"3", "plane.png": b"4", "thesis.txt": b"years of work"}


def test_a_folder_in_the_place_of_an_earlier_file_is_left_alone(folder):
    explored(folder, map_png=b"1", map_csv=b"2")
    (folder / "map.csv").unlink()
    (folder / "map.csv").mkdir()
    (folder / "map.csv" / "thesis.txt").write_bytes(b"years of work")
    explored(folder, overwrite=True, map_png=b"3")
    there = contents(folder)
    assert json.loads(there.pop(CONTENTS))["files"] == ["map.png"]
    assert there == {"map.png": b"3", "map.csv/thesis.txt": b"years of work"}


def test_an_exploration_that_was_ended_can_be_overwritten(folder, monkeypatch):
    def ended(path, content):
        raise KeyboardInterrupt("ended")

    with monkeypatch.context() as patched:
        patched.setattr("vae_augment.exploring.folder.atomic_write", ended)
        with pytest.raises(KeyboardInterrupt, match="ended"):
            explored(folder, map_png=b"1")
    (folder / "map.png").write_bytes(b"half")
    explored(folder, overwrite=True, map_png=b"1")
    assert contents(folder)["map.png"] == b"1"


@pytest.mark.parametrize("named", [None, "hello", "[]", '{"files": ["../thesis.txt"]}', '{"files": ["thesis.txt"]}'])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_exploration_is_refused(tmp_path, named, overwrite):
    (tmp_path / "thesis.txt").write_text("years of work")
    if named is not None:
        (tmp_path / CONTENTS).write_text(named)
    said = "holds something that is no exploration" if overwrite else r"is not empty: name another folder, or empty it"
    with pytest.raises(FileExistsError, match=said):
        check(tmp_path, ["map.png"], overwrite=overwrite)


def test_links_are_not_followed(folder, tmp_path):
    (tmp_path / "mine.png").write_bytes(b"mine")
    explored(folder, map_png=b"1", plane_png=b"2")
    for name in ("map.png", "plane.png"):
        (folder / name).unlink()
        (folder / name).symlink_to(tmp_path / "mine.png")
    with pytest.raises(FileExistsError, match=r"map.png must be a file, it is a link"):
        check(folder, ["map.png"], overwrite=True)
    write(folder, {}, ABOUT)  # which would remove both
    assert (folder / "map.png").is_symlink()
    assert (tmp_path / "mine.png").read_bytes() == b"mine"


def test_the_command_refuses_before_any_work_and_leaves_all(with_bank, monkeypatch):
    monkeypatch.setattr("vae_augment.data.open_data", None)  # not called
    before = contents(".")
    code, out, err = run("explore bars.safetensors --data bars --out bars --overwrite")
    assert (code, out) == (2, "")
    assert err == (
        "vae-augment: error: bars holds something that is no exploration: name another folder, or empty it first.\n"
    )
    assert contents(".") == before


def test_the_command_overwrites_its_own(with_bank):
    assert run(COMMAND)[0] == 0
    first = contents("made")
    code, _, err = run(COMMAND)
    assert code == 2
    assert "made is not empty: name another folder, or empty it first (or replace the exploration: --overwrite)" in err
    Path("made/notes.txt").write_text("mine")
    assert run("explore bars.safetensors --out made --only dimensions --overwrite")[0] == 0
    assert sorted(contents("made")) == ["dimensions.csv", CONTENTS, "notes.txt"]
    Path("made/notes.txt").unlink()
    assert run(f"{COMMAND} --overwrite")[0] == 0
    assert contents("made") == first
