import os
import stat
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torchvision.datasets import EMNIST, FashionMNIST

from vae_augment.files import (
    MAX_NAME_BYTES,
    RESERVED_NAMES,
    atomic_write,
    cache_folder,
    folder_name,
    folder_names,
    write_quickly,
)

ODD_NAMES = ["a/b", "..", ".", "a\\b", "nul\0byte", "CON", "con.txt", "LPT1", "tail.", "tail ", " head", ".hidden",
             "100%", "%2e", "zwölf", "😀 face", "a:b?*<>|\"", "new\nline", "\x7f"]  # fmt: skip


# ---- atomic_write ----


def quickly(path, content):
    write_quickly(str(path.parent), path.name, content)


@pytest.mark.parametrize("write", [atomic_write, quickly])
def test_writing_creates_and_then_replaces_and_leaves_nothing_else(tmp_path, write):
    path = tmp_path / "file"
    for content in (b"old", b"", b"new" * 10_000):
        write(path, content)
        assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["file"]


def test_writing_takes_a_path_as_text(tmp_path):
    atomic_write(str(tmp_path / "file"), b"x")
    assert (tmp_path / "file").read_bytes() == b"x"


@pytest.mark.parametrize("exists", [True, False])
def test_a_symlink_is_followed_and_stays(tmp_path, exists):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "target", tmp_path / "link"
    if exists:
        target.write_bytes(b"old")
    link.symlink_to(target)
    atomic_write(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_mode_obeys_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        atomic_write(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize(
    ("write", "failing"), [(atomic_write, "replace"), (atomic_write, "fsync"), (quickly, "replace")]
)
@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt("stop")], ids=["full disk", "ctrl-c"])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, write, failing, error):
    def fail(*_):
        raise error

    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(type(error), match=str(error)):
        write(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_long_name_is_written_too(tmp_path):
    atomic_write(tmp_path / ("n" * 255), b"x")
    assert os.listdir(tmp_path) == ["n" * 255]


@pytest.mark.parametrize("write", [atomic_write, quickly])
def test_a_missing_folder_is_an_error(tmp_path, write):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write(tmp_path / "nowhere" / "file", b"x")


# ---- folder names ----


def assert_is_safe_and_reversible(name):
    folder = folder_name(name)
    assert unquote(folder, errors="strict") == name
    assert not set(folder) & set('<>:"/\\|?*\0\n')
    assert folder.split(".")[0].casefold() not in RESERVED_NAMES
    assert folder[0] not in ". "
    assert folder[-1] not in ". "


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_escaped_reversibly(name):
    assert_is_safe_and_reversible(name)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16))
def test_any_name_is_escaped_reversibly(name):
    assert_is_safe_and_reversible(name)


@given(st.text(st.sampled_from("cConN.% /a1"), min_size=1, max_size=6))
def test_any_name_of_awkward_parts_is_escaped_reversibly(name):
    assert_is_safe_and_reversible(name)


@pytest.mark.parametrize("name", ["0 - zero", "T-shirt", "café", "猫", "console", "a.b"])
def test_ordinary_names_stay_as_they_are(name):
    assert folder_name(name) == name


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_folder_name_makes_one_folder_below_its_parent(tmp_path, name):
    (tmp_path / folder_name(name)).mkdir()
    (made,) = tmp_path.iterdir()
    assert unquote(made.name) == name
    assert Path(tmp_path, folder_name(name)).resolve().parent == tmp_path.resolve()


def test_an_empty_name_is_refused():
    with pytest.raises(ValueError, match="class name must not be empty"):
        folder_name("")


@pytest.mark.parametrize("name", ["x" * (MAX_NAME_BYTES + 1), "x" * 300, "😀" * 60, "/" * 100])
def test_a_name_too_long_for_a_folder_is_refused(name):
    with pytest.raises(ValueError, match="is too long"):
        folder_name(name)


@pytest.mark.parametrize(
    "names",
    [
        [str(n) for n in range(11)],
        FashionMNIST.classes,
        sorted(EMNIST.classes_split_dict["digits"]),
        ["b", "a"],
        ["10", "9", "8"],
        [f"{n:03d}" for n in range(100)],
        [str(n) for n in range(1001)],
        ["Z/", "a", "../x"],
    ],
    ids=lambda names: f"{len(names)} from {names[0]}",
)
def test_sorted_folders_are_in_label_order(names):
    folders = folder_names(names)
    assert sorted(folders) == folders
    assert len(set(folders)) == len(names)
    plain = [folder_name(name) for name in names]
    assert [folder[-len(name) :] for folder, name in zip(folders, plain, strict=True)] == plain


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5), min_size=1, max_size=12))
def test_any_names_sort_into_label_order_or_are_refused(names):
    try:
        folders = folder_names(names)
    except ValueError as error:
        assert "differ by more than upper and lower case" in str(error)  # noqa: PT017
        assert len({name.casefold() for name in names}) < len(names)
    else:
        assert sorted(folders) == folders
        assert len({folder.casefold() for folder in folders}) == len(names)


def test_names_already_in_order_get_no_index():
    assert folder_names(["cat", "dog", "owl"]) == ["cat", "dog", "owl"]


def test_eleven_numbers_get_an_index_of_two_digits():
    assert folder_names([str(n) for n in range(11)])[::5] == ["00_0", "05_5", "10_10"]


@pytest.mark.parametrize("names", [["cat", "Cat"], ["a", "b", "a"], ["STRASSE", "straße"]])
def test_names_that_share_a_folder_are_refused(names):
    with pytest.raises(ValueError, match="differ by more than upper and lower case"):
        folder_names(names)


# ---- the cache ----


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("VAE_AUGMENT_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


@pytest.mark.parametrize("value", [None, ""])
def test_the_cache_is_else_the_users(monkeypatch, value):
    monkeypatch.delenv("VAE_AUGMENT_CACHE")
    if value is not None:
        monkeypatch.setenv("VAE_AUGMENT_CACHE", value)
    assert cache_folder().name == "vae-augment"
    assert cache_folder().is_absolute()
