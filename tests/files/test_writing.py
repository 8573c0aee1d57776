import os
import re
import stat
import subprocess
import sys
import time
import unicodedata
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torchvision.datasets import EMNIST, FashionMNIST

from vae_augment.files import writing
from vae_augment.files.folder_names import MAX_NAME_BYTES, RESERVED_NAMES, UNSAFE_CHARACTERS, folder_name, folder_names
from vae_augment.files.writing import (
    _is_zombie,
    _machine,
    atomic_write,
    cache_folder,
    filled_at_once,
    sweep,
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


def test_the_file_is_on_disk_before_its_name_is_and_then_the_name_is(tmp_path, monkeypatch):
    done = []
    sync, replace = os.fsync, os.replace

    def synced(descriptor):
        sync(descriptor)
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            done.append(("folder synced", found.st_ino == tmp_path.stat().st_ino, os.listdir(tmp_path)))
        else:
            done.append(("file synced", found.st_size))

    def replaced(source, target):
        done.append(("renamed", Path(source).read_bytes(), Path(target).name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    atomic_write(tmp_path / "file", b"hello")
    assert done == [("file synced", 5), ("renamed", b"hello", "file"), ("folder synced", True, ["file"])]


# ---- folder names ----


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16)
HASHED = re.compile(r"(?s).*~[0-9a-f]{8,}")


def assert_is_safe(folder):
    assert not set(folder) & (UNSAFE_CHARACTERS - {"%"})
    assert folder.split(".")[0].casefold() not in RESERVED_NAMES
    assert folder[0] not in ". "
    assert folder[-1] not in ". "
    assert not re.search("%(?![0-9A-F]{2})", folder)
    assert len(folder.encode()) <= 255


def assert_is_safe_and_reversible(name):
    assert unquote(folder_name(name), errors="strict") == name
    assert_is_safe(folder_name(name))


def folded(name):
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_escaped_reversibly(name):
    assert_is_safe_and_reversible(name)


@given(ANY_TEXT)
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


@pytest.mark.parametrize("name", ["\ud800", "cat \udcff"])
def test_a_name_that_is_no_unicode_is_refused(name):
    with pytest.raises(ValueError, match=r"class name must be Unicode, got a lone surrogate in '.*\\ud"):
        folder_name(name)


@pytest.mark.parametrize("name", ["x" * MAX_NAME_BYTES, "é" * (MAX_NAME_BYTES // 2), "/" * 66])
def test_a_name_that_just_fits_is_kept_whole(name):
    assert_is_safe_and_reversible(name)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("x" * (MAX_NAME_BYTES + 1), "x" * 191),
        ("x" * 300, "x" * 191),
        ("ab" + "😀" * 60, "ab" + "😀" * 47),  # 191 bytes hold 47.25
        ("/" * 100, "%2F" * 63),
        ("CON." + "x" * 300, "%43ON." + "x" * 185),
        (".." + "x" * 300, "%2E." + "x" * 187),
        ("x" * 190 + ". " + "x" * 100, "x" * 190 + "."),
    ],
    ids=range(7),
)
def test_a_name_too_long_for_a_folder_is_cut_between_characters_and_hashed(name, kept):
    folder = folder_name(name)
    assert re.fullmatch(re.escape(kept) + "~[0-9a-f]{8}", folder)
    assert folder_name(name) == folder != folder_name(name + "x")
    assert_is_safe(folder)


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


AWKWARD_TEXT = st.text(
    st.sampled_from("cCoOnN.% /~a1éÉß\u017f\u212a猫") | st.sampled_from("e\u0301\u0345\u200b"), min_size=1, max_size=4
)
LONG_TEXT = st.tuples(st.sampled_from("xX/é😀"), st.integers(60, 300), AWKWARD_TEXT).map(lambda t: t[0] * t[1] + t[2])


@given(st.lists(ANY_TEXT | AWKWARD_TEXT | LONG_TEXT, min_size=1, max_size=12, unique=True))
def test_any_distinct_names_have_safe_folders_that_every_file_system_tells_apart(names):
    folders = folder_names(names)
    assert sorted(folders) == folders
    assert len({folded(folder) for folder in folders}) == len({folder.casefold() for folder in folders}) == len(names)
    for folder in folders:
        assert_is_safe(folder)
    own = [folder.removeprefix(f"{row:0{len(str(len(names) - 1))}d}_") for row, folder in enumerate(folders)]
    assert all(unquote(folder) == name or HASHED.fullmatch(folder) for folder, name in zip(own, names, strict=True))


@given(st.lists(AWKWARD_TEXT | LONG_TEXT, min_size=1, max_size=8, unique=True), st.randoms())
def test_folders_are_a_function_of_the_names_in_whatever_order(names, random):
    def of(names):
        return {name: folder.split("_", 1)[-1] for name, folder in zip(names, folder_names(names), strict=True)}

    again = random.sample(names, len(names))
    assert of(names) == of(again)


@given(st.lists(ANY_TEXT, min_size=1, max_size=8, unique_by=folded))
def test_names_that_fit_and_differ_are_escaped_and_no_more(names):
    folders = folder_names(sorted(names, key=folder_name))
    assert [unquote(folder, errors="strict") for folder in folders] == sorted(names, key=folder_name)


def test_names_already_in_order_get_no_index():
    assert folder_names(["cat", "dog", "owl"]) == ["cat", "dog", "owl"]


def test_eleven_numbers_get_an_index_of_two_digits():
    assert folder_names([str(n) for n in range(11)])[::5] == ["00_0", "05_5", "10_10"]


ALIKE = [["Cat", "cat"], ["STRASSE", "straße"], ["caf\u00e9", "cafe\u0301"], ["CAF\u00c9", "cafe\u0301"]]


@pytest.mark.parametrize("names", ALIKE)
def test_names_that_a_file_system_takes_for_one_get_a_hash_and_others_do_not(names):
    names = sorted(names)
    *hashed, other = folder_names([*names, "dog" if names[0][0] in "Cc" else "z"])
    assert other in ("dog", "z")
    assert [folder[: folder.rindex("~")] for folder in hashed] == names
    assert all(re.fullmatch(".*~[0-9a-f]{8}", folder) for folder in hashed)
    assert len({folder[folder.rindex("~") :] for folder in hashed}) == 2


def test_the_hash_stays_the_same_so_that_an_export_can_be_resumed():
    assert folder_names(["Cat", "cat"]) == ["Cat~9b3ee55f", "cat~6a8b12bb"]
    assert folder_name("x" * 300) == "x" * 191 + "~b12499e1"


def test_a_class_that_is_named_like_a_hashed_one_gives_way():
    first, second = folder_names(["Cat", "cat"])
    names = ["Cat", first, second.upper(), "cat"]
    folders = folder_names(sorted(names))
    found = dict(zip(sorted(names), folders, strict=True))
    assert (found["Cat"], found["cat"]) == (first, second)
    assert found[first].startswith(f"{first}~")
    assert found[second.upper()].startswith(f"{second.upper()}~")


def test_a_chain_of_names_each_like_the_hashed_one_before_ends():
    names = ["Cat", "cat"]
    for _ in range(40):
        folders = {name: folder.split("_", 1)[-1] for name, folder in zip(names, folder_names(names), strict=True)}
        names.append(folders[names[-2]])
    assert len({folded(folder) for folder in folder_names(names)}) == 42


def test_names_whose_hashes_are_equal_get_longer_ones(monkeypatch):
    blake2b = writing.hashlib.blake2b
    monkeypatch.setattr(
        writing.hashlib,
        "blake2b",
        lambda content, digest_size: blake2b(b"" if digest_size < 12 else content, digest_size=digest_size),
    )
    for names in (["Cat", "cat"], ["x" * 300, "x" * 301]):
        folders = folder_names(names)
        assert len({folded(folder) for folder in folders}) == 2
        assert all(re.fullmatch(".*~[0-9a-f]{24}", folder) for folder in folders)


@pytest.mark.parametrize("names", [["a", "b", "a"], ["x" * 300] * 2])
def test_equal_names_are_refused(names):
    with pytest.raises(ValueError, match=r"class names must differ, got '.{1,80}' 2 times\."):
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


# ---- folders filled at once ----


def test_a_folder_is_filled_at_once(tmp_path):
    (tmp_path / "to" / "a").mkdir(parents=True)
    (tmp_path / "to" / "a" / "old").write_text("old")
    (tmp_path / "to" / "a" / "same").write_text("old")
    with filled_at_once(tmp_path / "to", "it") as inside:
        (inside / "a" / "b").mkdir(parents=True)
        (inside / "a" / "b" / "new").write_text("new")
        (inside / "a" / "same").write_text("new")
        assert not (tmp_path / "to" / "a" / "b").exists()
    found = {str(p.relative_to(tmp_path)): p.read_text() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {"to/a/old": "old", "to/a/same": "new", "to/a/b/new": "new"}
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["a"]


def test_a_folder_that_is_not_filled_to_the_end_stays_as_it_was(tmp_path):
    def half():
        with filled_at_once(tmp_path / "new" / "to", "it") as inside:
            (inside / "a").write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        half()
    assert list(tmp_path.iterdir()) == []


# ---- partials of processes that are gone ----


def test_a_process_that_nobody_has_buried_is_gone(tmp_path):
    if not Path("/proc/self").exists():
        pytest.skip("looks for processes in /proc")
    process = subprocess.Popen([sys.executable, "-c", ""])
    while not _is_zombie(process.pid):
        time.sleep(0.001)
    (tmp_path / f".a.png.{_machine()}-{process.pid}-01234567.tmp").touch()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []
    process.wait()
    assert not _is_zombie(os.getpid())
