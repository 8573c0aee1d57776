"""Processes that work for another one end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.forked import start
from vae_augment import exporting

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes in /proc")

WAITING = """if True:
    import subprocess, sys
    works = "import os, sys, vae_augment.processes as p; p.end_with(os.getppid()); print(os.getpid(), flush=True); "
    subprocess.Popen([sys.executable, "-c", works + "sys.stdin.read()"], stdin=subprocess.PIPE).wait()
"""


def goes(process, seconds=5.0):
    """Whether a process ends within that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def test_a_process_ends_with_its_parent():
    parent = subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True)
    number = int(parent.stdout.readline())
    assert not goes(number, 0.2)
    parent.kill()
    assert goes(number)
    parent.communicate()


@pytest.mark.slow
def test_workers_of_an_export_that_is_killed_write_no_more(with_bank, monkeypatch):
    encode = exporting.encode_pngs
    monkeypatch.setattr(exporting, "encode_pngs", lambda images: map(slowly, encode(images)))
    command = "generate bars.safetensors --out made --per-class 1000 --workers 2"
    process = start(command, with_bank, with_bank / "log.txt")
    while not any(with_bank.glob("made/*/*.png")):
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    time.sleep(0.2)
    left = sorted(with_bank.glob("made/*/*.png"))
    time.sleep(0.4)
    assert sorted(with_bank.glob("made/*/*.png")) == left


def slowly(content):
    time.sleep(0.02)
    return content
