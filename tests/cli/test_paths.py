"""Paths that a command line names: what cannot be written to is said before any work, and nothing is replaced."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import pytest

from tests.commands import run
from tests.faults.forked import start
from vae_augment.files.writing import atomic_write

EVALUATE = "evaluate --data bars --per-class 2 --preset fast --seeds 1 --steps 2 --arms none"
LONG = "n" * 300


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("fit --data bars --out pipe", 2, "--out must be a file, pipe is a device or a pipe."),
        ("fit --data bars --out /dev/null", 2, "--out must be a file, /dev/null is a device or a pipe."),
        ("fit --data bars --out loop", 2, "--out: loop cannot be a file: it is a link to itself."),
        ("fit --data bars --out dangling", 2, "--out: no folder {here}/gone."),
        (f"fit --data bars --out {LONG}", 2, "--out: nnn… cannot be a file: File name too long."),
        (f"fit --data {LONG}", 2, "File name too long"),
        (f"info {LONG}", 2, "File name too long"),
        (f"generate bars.safetensors --out {LONG}", 2, "File name too long"),
        ("generate bars.safetensors --out bars.safetensors/in", 2, "Not a directory"),
        (f"{EVALUATE} --json {LONG}", 2, "--json: nnn… cannot be a file: File name too long."),
        (f"{EVALUATE} --json a.json --plot a.json", 2, "--plot must be another file than --json, got a.json for both."),
        (
            f"{EVALUATE} --bank bars.safetensors --json bars.safetensors",
            2,
            "--json must be another file than --bank, got bars.safetensors for both.",
        ),
        ("fit --data bars --device meta", 2, "device must be 'auto' or one that torch can use here, got 'meta'"),
        ("fit --data bars --device hpu", 2, "device must be 'auto' or one that torch can use here, got 'hpu'"),
        ("generate bars.safetensors --out new --count 1000000000000", 2, "count must be a whole number from 1 to 1,"),
    ],
)
def test_a_path_that_cannot_be_written_to_is_said_before_any_work(with_bank, command, code, message):
    os.mkfifo(with_bank / "pipe")
    (with_bank / "loop").symlink_to("loop")
    (with_bank / "dangling").symlink_to("gone/bank")
    before = sorted(with_bank.rglob("*"))
    given, out, err = run(command)
    assert (given, out) == (code, "")
    *start, end = message.format(here=with_bank).split("nnn…")
    assert all(part in err for part in (*start, end)), err
    assert len(err.splitlines()) == 1
    assert sorted(with_bank.rglob("*")) == before


def test_a_full_disk_is_said_before_any_work(here, monkeypatch):
    def full(dir):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vae_augment.files.writing.tempfile.TemporaryFile", full)
    said = "vae-augment: error: --out: the folder . may not be written to: No space left on device.\n"
    assert run("fit --data bars --out new.safetensors") == (1, "", said)


@pytest.mark.parametrize("command", ["fit --data bars --out bars/down/1.safetensors", "fit --data a.csv --out a.csv"])
def test_a_bank_does_not_replace_the_data(here, command):
    (here / "bars" / "down" / "1.png").write_bytes(next((here / "bars" / "down").iterdir()).read_bytes())
    (here / "a.csv").write_text("".join(f"{path},{path.parent.name}\n" for path in here.glob("bars/*/*.png")))
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    code, out, err = run(command)
    assert (code, out) == (2, "")
    assert "is part of the data, and would be replaced. Name another file." in err
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before


def test_figures_may_go_into_a_pipe(here):
    os.mkfifo(here / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((here / "pipe").read_bytes()))
    reader.start()
    assert run(f"{EVALUATE} --json pipe")[0] == 0
    reader.join(10)
    assert json.loads(read[0])["rows"]
    assert (here / "pipe").is_fifo()


def test_a_device_is_written_to_and_stays(here):
    atomic_write("/dev/null", b"nothing")
    assert Path("/dev/null").is_char_device()


def test_closed_streams_are_as_if_they_led_nowhere(with_bank):
    def prepare():
        os.close(2)
        sys.stderr = None

    process = start("generate bars.safetensors --out made --count 6", with_bank, with_bank / "log.txt", prepare)
    process.join(60)
    assert process.exitcode == 0
    assert len(list(with_bank.glob("made/*/*.png"))) == 6


def test_what_a_terminal_cannot_show_is_printed_escaped(with_bank):
    def prepare():
        sys.stdout.reconfigure(encoding="latin-1", errors="strict")
        sys.stderr.reconfigure(encoding="latin-1", errors="strict")

    for name in ("😀", os.fsdecode(b"o\xff")):
        log = with_bank / "log.txt"
        process = start(f"generate bars.safetensors --out '{name}' --count 3", with_bank, log, prepare)
        process.join(60)
        assert process.exitcode == 0, log.read_text()
        assert len(list((with_bank / name).glob("*/*.png"))) == 3
    assert "\\U0001f600" in log.read_text(encoding="latin-1")
