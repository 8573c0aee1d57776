"""A full disk, files that may not grow, signals, and two processes that need one bank."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.faults.forked import start
from tests.faults.page import record
from tests.faults.running import ended
from vae_augment import config
from vae_augment.fitting import callbacks

resource = pytest.importorskip("resource")

TRIALS = int(os.environ.get("FAULT_TRIALS", "1"))  # of each signal and command

WRAPPING = """if True:
    from tests.conftest import Shapes
    from vae_augment import VAEAugmentedDataset, config
    config.PRESETS["default"] = {"steps": 1500, "latent_dim": 4, "width": 8, "image_size": 32}
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


# ---- signals ----


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("command", "begun"),
    [
        ("fit --data bars --preset fast", "bars.safetensors.unfinished/*"),
        ("generate bars.safetensors --out made --per-class 400", "made/*/*.png"),
        ("generate bars.safetensors --out made --per-class 400 --workers 2", "made/*/*.png"),
        ("augment bars.safetensors --data bars --out made --copies 40 --workers 2", "made/*/*.png"),
    ],
    ids=["fit", "generate", "two workers", "augment"],
)
def test_a_signal_stops_a_command_which_is_resumed(
    with_bank, lowered, monkeypatch, command, begun, number, record_property
):
    lowered(callbacks, "SECONDS", 0.1)
    lowered(callbacks, "KEEP_EVERY", 5)
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
