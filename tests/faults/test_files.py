"""A full disk, files that may not grow, folders that may not be written to, and two processes that need one bank."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings

import pytest

from tests.conftest import Shapes
from tests.faults.forked import start
from tests.faults.page import record
from vae_augment import VAEAugmentedDataset, config

resource = pytest.importorskip("resource")

TRIALS = int(os.environ.get("FAULT_TRIALS", "1"))  # of each signal and command

WRAPPING = """if True:
    from tests.conftest import Shapes
    from vae_augment import VAEAugmentedDataset, config
    config.PRESETS["default"] = {"steps": 2000, "latent_dim": 4, "width": 8, "image_size": 32}
    print(VAEAugmentedDataset(Shapes()).bank.sha256)
"""


def limited(folder, most_bytes, command):
    """The exit code and the lines of a command where no file, its log among them, may have more bytes."""
    log = folder / "log.txt"
    log.unlink(missing_ok=True)

    def prepare():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    process = start(command, folder, log, prepare)
    process.join(60)
    lines = log.read_text().splitlines()
    log.unlink()
    return process.exitcode, lines


def left(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and "bars/" not in str(path))


def contents(path):
    """Of a file, or of the files below a folder."""
    if path.is_file():
        return path.read_bytes()
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_fit_that_cannot_write_its_bank_says_why_and_leaves_no_partial(here, record_property):
    before = left(here)
    code, (warning, error) = limited(here, 5_000, "fit --data bars --preset fast")
    assert code == 1
    assert warning.startswith("vae-augment: warning: what is finished cannot be kept in bars.safetensors.unfinished: ")
    assert error == "vae-augment: error: [Errno 27] File too large"
    assert left(here) == before
    record(record_property, fault="files may not grow (RLIMIT_FSIZE)", tried="`fit`", times=1)


def test_what_was_kept_before_the_disk_was_full_is_gone_on_from(here, record_property):
    command = "fit --data bars --preset fast"
    assert limited(here, 10_000_000, command)[0] == 0
    whole = (here / "bars.safetensors").read_bytes()
    (here / "bars.safetensors").unlink()
    largest = len(whole) - 1  # each part is smaller than the bank
    code, lines = limited(here, largest, command)
    assert (code, "File too large" in lines[-1]) == (1, True)
    assert [name for name in left(here) if name.startswith("class-")] == [f"class-{k}.part" for k in range(3)]
    assert limited(here, 10_000_000, f"{command} --resume")[0] == 0
    assert (here / "bars.safetensors").read_bytes() == whole
    record(record_property, fault="files may not grow (RLIMIT_FSIZE)", tried="`fit`, then --resume", times=1)


def test_an_export_that_cannot_write_an_image_says_why_and_leaves_no_partial(with_bank, record_property):
    code, lines = limited(with_bank, 60, "generate bars.safetensors --out made --per-class 3")
    assert code == 1
    assert "File too large" in lines[-1]
    assert not [name for name in left(with_bank) if name.endswith((".tmp", ".png"))]
    record(record_property, fault="files may not grow (RLIMIT_FSIZE)", tried="`generate`", times=1)


# ---- a disk of its own, of a few kilobytes ----


@pytest.fixture
def disk(tmp_path):
    """An empty file system of 400 KB, where this process may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(place, free):
    """A file that leaves so many bytes."""
    room = os.statvfs(place)
    (place / "filler").write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - free)))


def ended(command, folder, log, prepare=lambda: None):
    """The exit code of a command, and the last line that it printed."""
    process = start(command, folder, log, prepare)
    process.join(60)
    return process.exitcode, log.read_text().strip().splitlines()[-1]


@pytest.mark.parametrize("pages", [0, 2, 6])
def test_a_fit_on_a_full_disk_says_why_and_goes_on_when_there_is_room(here, disk, pages, record_property):
    ended("fit --data bars --preset fast", here, here / "log.txt")
    fill(disk, 4096 * pages)
    command = f"fit --data bars --preset fast --out {disk}/bars.safetensors"
    code, line = ended(command, here, here / "log.txt")
    assert code == 1
    assert "No space left on device" in line
    assert not [path for path in disk.rglob("*") if path.suffix == ".tmp"]
    (disk / "filler").unlink()
    assert ended(f"{command} --resume", here, here / "log.txt")[0] == 0
    for name in ("bars.safetensors", "bars.png"):
        assert (disk / name).read_bytes() == (here / name).read_bytes()
    assert sorted(path.name for path in disk.iterdir()) == ["bars.png", "bars.safetensors"]
    record(
        record_property, fault="full disk", tried="`fit` on a file system with 0 to 24 KB left, then --resume", times=1
    )


@pytest.mark.parametrize("pages", [0, 3, 20])
def test_an_export_on_a_full_disk_says_why_and_goes_on_when_there_is_room(with_bank, disk, pages, record_property):
    command = "generate bars.safetensors --per-class 20 --out"
    ended(f"{command} made", with_bank, with_bank / "log.txt")
    fill(disk, 4096 * pages)
    code, line = ended(f"{command} {disk}/made", with_bank, with_bank / "log.txt")
    assert code == 1
    assert "No space left on device" in line
    whole = {path: path.stat().st_ino for path in disk.rglob("*.png")}
    assert not [path for path in disk.rglob("*") if path.suffix == ".tmp"]
    (disk / "filler").unlink()
    assert ended(f"{command} {disk}/made --resume", with_bank, with_bank / "log.txt")[0] == 0
    assert {path: path.stat().st_ino for path in whole} == whole
    assert contents(disk / "made") == contents(with_bank / "made")
    tried = "`generate` on a file system with 0 to 80 KB left, then --resume"
    record(record_property, fault="full disk", tried=tried, times=1)


# ---- folders that may not be written to ----


def nobody():
    """Give up root's rights, which permissions do not hold back."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


@pytest.fixture
def locked(with_bank):
    """A folder that may be read and not written to; all others may be."""
    for path in [with_bank, *with_bank.parents]:
        if path.stat().st_uid == os.geteuid() and path != path.parent:
            path.chmod(path.stat().st_mode | 0o055)
    place = with_bank / "locked"
    place.mkdir()
    place.chmod(0o555)
    yield place
    place.chmod(0o755)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("fit --data bars --out locked/b.safetensors", "--out: the folder locked may not be written to."),
        ("generate bars.safetensors --out locked/made", "[Errno 13] Permission denied: 'locked/made'"),
        ("evaluate --data bars --json locked/a.json", "--json: the folder locked may not be written to."),
    ],
)
def test_a_folder_that_may_not_be_written_to_is_named(locked, command, message, record_property):
    code, line = ended(command, locked.parent, locked.parent / "log.txt", nobody)
    assert code == 1
    assert line == f"vae-augment: error: {message}"
    assert list(locked.iterdir()) == []
    tried = "`fit`, `generate` and `evaluate` into it"
    record(record_property, fault="folder that may not be written to", tried=tried, times=1)


def wrapping():
    with warnings.catch_warnings(record=True) as given:
        print(VAEAugmentedDataset(Shapes()).bank.classes)
    for warning in given:
        print(f"{warning.category.__name__}: {warning.message}")


@pytest.mark.parametrize("mode", [0o555, 0], ids=["may be read", "may not be read"])
@pytest.mark.parametrize("work", ["doctor", wrapping], ids=["doctor", "wrapping"])
def test_a_cache_that_may_not_be_written_to_costs_a_fit_and_no_more(locked, work, mode, record_property):
    locked.chmod(mode)
    log = locked.parent / "log.txt"
    code, _ = ended(work, locked.parent, log, lambda: (nobody(), os.environ.update(VAE_AUGMENT_CACHE="locked")))
    locked.chmod(0o755)
    said = log.read_text()
    assert "Traceback" not in said
    if work == "doctor":
        assert code == 1
        assert "VAE_AUGMENT_CACHE" in said
    else:
        assert (code, str(Shapes.classes) in said) == (0, True)
        assert "CacheWarning: the bank could not be kept in locked/banks/" in said
    assert list(locked.iterdir()) == []
    fault = f"folder that may not be {'written to' if mode else 'read'}"
    tried = "`doctor`" if work == "doctor" else "`VAEAugmentedDataset(dataset)`"
    record(record_property, fault=fault, tried=f"{tried} with it as its cache", times=1)


@pytest.mark.parametrize("mode", [0o444, 0], ids=["may be read", "may not be read"])
def test_a_bank_in_a_cache_of_somebody_else_is_used_where_it_may_be_read(locked, mode, record_property):
    locked.chmod(0o755)
    log = locked.parent / "log.txt"
    assert ended(wrapping, locked.parent, log, lambda: os.environ.update(VAE_AUGMENT_CACHE="locked"))[0] == 0
    (kept,) = locked.rglob("*.safetensors")
    kept.chmod(mode)
    for folder in (locked, kept.parent):
        folder.chmod(0o555)
    before = kept.stat().st_ino
    log.unlink()
    code, _ = ended(wrapping, locked.parent, log, lambda: (nobody(), os.environ.update(VAE_AUGMENT_CACHE="locked")))
    kept.parent.chmod(0o755)
    said = log.read_text()
    assert (code, str(Shapes.classes) in said) == (0, True)
    assert ("fitting a bank" in said, "CacheWarning: the bank could not be kept" in said) == (mode == 0, mode == 0)
    assert kept.stat().st_ino == before
    tried = "`VAEAugmentedDataset(dataset)` with a bank in its cache"
    record(record_property, fault="folder that may not be written to", tried=tried, times=1)


# ---- signals ----


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("command", "begun"),
    [
        ("fit --data bars --preset fast", "bars.safetensors.unfinished/*"),
        ("generate bars.safetensors --out made --per-class 400", "made/*/*.png"),
        ("generate bars.safetensors --out made --per-class 400 --workers 2", "made/*/*.png"),
    ],
    ids=["fit", "generate", "two workers"],
)
def test_a_signal_stops_a_command_which_is_resumed(with_bank, monkeypatch, command, begun, number, record_property):
    monkeypatch.setattr("vae_augment.checkpoint.SECONDS", 0.1)
    monkeypatch.setattr("vae_augment.training.SNAPSHOT_EVERY", 5)
    monkeypatch.setitem(config.PRESETS, "fast", {"steps": 300, "latent_dim": 4, "width": 8, "image_size": 32})
    whole, log = with_bank / "whole", with_bank / "log.txt"
    shutil.copytree(with_bank / "bars", whole / "bars")
    shutil.copy(with_bank / "bars.safetensors", whole)
    assert ended(command, whole, log)[0] == 0
    draws = random.Random(number)
    for _ in range(TRIALS):
        shutil.rmtree(with_bank / "made", ignore_errors=True)
        process = start(command, with_bank, log)
        while process.is_alive() and not any(with_bank.glob(begun)):
            time.sleep(0.001)
        time.sleep(draws.uniform(0, 0.3))
        if process.is_alive():
            os.kill(process.pid, number)
        process.join(60)
        assert process.exitcode in (0, 1)  # 0: it had ended
        if process.exitcode:
            assert f"stopped by {number.name}. What is finished is kept. Go on with:" in log.read_text()
        assert ended(f"{command} --resume", with_bank, log)[0] == 0
        assert list(with_bank.rglob("*.tmp")) == []  # what a worker had begun, and was swept
        for name in ("made", "bars.safetensors", "bars.png"):
            if (whole / name).exists():
                assert contents(with_bank / name) == contents(whole / name)
    record(record_property, fault=number.name, tried=f"`{command.split()[0]}`, then --resume", times=TRIALS)


# ---- two processes ----


def test_two_processes_that_need_one_bank_fit_it_once(here, record_property):
    both = [
        subprocess.Popen(
            [sys.executable, "-c", WRAPPING],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=__file__.split("/tests/")[0],
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # two of two threads slow each other tenfold
        )
        for _ in range(2)
    ]
    ends = [process.communicate(timeout=100) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert len({out for out, _ in ends}) == 1
    said = sorted("fitting a bank on" in err for _, err in ends)
    assert said == [False, True], ends
    assert [path.suffix for path in (here / "cache" / "banks").iterdir() if path.suffix != ".lock"] == [".safetensors"]
    record(record_property, fault="two processes, one cache", tried="both wrap a dataset that has no bank yet", times=1)
