"""One writer at a time fills a folder, and it leaves nothing behind that says so; tests/faults has two processes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import filelock
import pytest

from tests.commands import contents
from vae_augment.files import folders
from vae_augment.files.folders import filling

LOCK = folders.LOCK.format("")  # of a whole folder


def fill(folder):
    with filling(folder):
        (folder / "file").write_bytes(b"mine")


def refused(folder, message):
    with pytest.raises(FileExistsError, match=message), filling(folder):
        raise AssertionError


def test_a_folder_is_made_and_its_lock_goes(tmp_path):
    fill(tmp_path / "new" / "folder")
    assert contents(tmp_path) == {"new/folder/file": b"mine"}


def test_a_folder_that_nothing_is_written_into_goes_again(tmp_path):
    with pytest.raises(OSError, match="full"), filling(tmp_path / "new" / "folder"):
        raise OSError("full")
    assert list(tmp_path.iterdir()) == []


def test_a_second_writer_is_told_who_the_first_is(tmp_path):
    with filling(tmp_path):
        refused(tmp_path, f"{tmp_path.name} is being filled by process {os.getpid()}: wait for its end, or name")
        assert (tmp_path / LOCK).exists()  # the second has left it
        (tmp_path / LOCK).write_text("")
        refused(tmp_path, "is being filled by another process: wait")
    fill(tmp_path)


def test_a_lock_that_nobody_holds_keeps_nobody_out(tmp_path):
    for left in ("", str(os.getpid()), "Infinity", "hello"):
        (tmp_path / LOCK).write_text(left)
        fill(tmp_path)
    assert contents(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize("error", [OSError(37, "No locks available"), NotImplementedError("no flock")])
def test_where_there_are_no_locks_folders_are_filled_all_the_same(tmp_path, monkeypatch, error):
    def acquire(*arguments, **options):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    fill(tmp_path)
    assert contents(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_what_a_killed_process_left_where_there_is_no_flock_keeps_nobody_out(tmp_path, number):
    code = (
        "import errno, fcntl, os, sys\nfrom pathlib import Path\nfrom vae_augment.files.folders import filling\n"
        "def flock(*arguments): raise OSError(int(sys.argv[2]), 'no flock')\n"
        "fcntl.flock = flock\n"
        "with filling(Path(sys.argv[1])):\n    Path(sys.argv[1], 'file').touch()\n    os._exit(int(sys.argv[3]))"
    )
    for code_wanted in (3, 4):
        command = [sys.executable, "-W", "error", "-c", code, tmp_path, str(number), str(code_wanted)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (code_wanted, "")


def test_a_link_in_the_locks_place_is_not_followed(tmp_path):
    (tmp_path / "thesis.txt").write_bytes(b"years of work")
    (tmp_path / LOCK).symlink_to("thesis.txt")
    refused(tmp_path, f"{LOCK} must be a file, it is a link: remove it, or name another folder")
    assert (tmp_path / "thesis.txt").read_bytes() == b"years of work"


def test_a_file_or_a_dangling_link_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("hello")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        refused(tmp_path / name, f"{name} must be a folder, it is a file, or a link to none")
