"""Two processes that would fill one folder: the second is refused, and the first's files are complete."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.commands import contents, run
from tests.faults.forked import start
from tests.faults.page import record
from vae_augment import exporting
from vae_augment.files.folders import LOCK

pytest.importorskip("resource")  # where processes are forked
COMMAND = "generate bars.safetensors --out made --per-class 4"
MANY = (
    "generate bars.safetensors --out made --per-class 400 --workers 0",
    "augment bars.safetensors --data bars --out made --copies 40 --workers 0",
)
INTERLEAVINGS = int(os.environ.get("FAULT_INTERLEAVINGS", "5"))


@pytest.fixture
def first(with_bank, monkeypatch):
    """A process that is generating into "made", and goes on when there is a file "go"."""
    write = exporting.write_quickly

    def wait(folder, name, content):
        write(folder, name, content)
        while not (with_bank / "go").exists():
            time.sleep(0.001)

    with monkeypatch.context() as patched:
        patched.setattr(exporting, "write_quickly", wait)
        process = start(f"{COMMAND} --workers 0", with_bank, with_bank / "log.txt")
    while not list(with_bank.glob("made/*/*.png")):
        time.sleep(0.001)
    yield process
    process.kill()
    process.join()


@pytest.mark.parametrize(
    "second",
    [
        f"{COMMAND} --overwrite",
        f"{COMMAND} --resume",
        COMMAND,
        "augment bars.safetensors --data bars --out made --resume -q",
        "reconstruct bars.safetensors --data bars --out made --overwrite",
        "explore bars.safetensors --out made --overwrite",
    ],
)
def test_a_second_process_is_refused_and_the_firsts_images_are_complete(first, with_bank, second, record_property):
    log = with_bank / "second.txt"
    process = start(second, with_bank, log)
    process.join(60)
    assert process.exitcode == 2
    assert log.read_text() == (
        f"vae-augment: error: made is being filled by process {first.pid}: wait for its end, or name another.\n"
    )
    Path("go").touch()
    first.join(60)
    assert first.exitcode == 0
    run(COMMAND.replace("made", "afresh"))
    assert contents("made") == contents("afresh")
    tried = "`generate`, `augment`, `reconstruct` or `explore` into a folder that `generate` is filling"
    record(record_property, fault="two processes, one folder", tried=tried, times=1)


@pytest.mark.parametrize("option", ["--overwrite", "--resume"])
def test_the_lock_of_a_process_that_was_killed_keeps_nobody_out_and_goes(first, option):
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    assert Path("made", LOCK.format("")).exists()
    assert run(f"{COMMAND} {option}")[0] == 0
    run(COMMAND.replace("made", "afresh"))
    assert contents("made") == contents("afresh")


@pytest.mark.timeout(1800)
def test_interleaved_writers_end_in_whole_images_and_success_is_true(with_bank, record_property):
    """Two writers whose starts lie apart at random, each fifth time with kill -9 of the first."""
    trials, draws = INTERLEAVINGS, random.Random(0)
    for place, command in enumerate(MANY):
        run(command.replace("made", f"alone{place}"))
    refused = 0
    for trial in range(trials):
        many, wanted = MANY[trial % 2], contents(f"alone{trial % 2}")
        shutil.rmtree("made", ignore_errors=True)
        commands = [f"{many} {draws.choice(['', '--overwrite', '--resume'])}" for _ in range(2)]
        first = start(commands[0], with_bank, with_bank / "log.txt")
        time.sleep(draws.uniform(0, 0.6))
        second = start(commands[1], with_bank, with_bank / "log.txt")
        if trial % 5 == 0:
            time.sleep(draws.uniform(0, 0.4))
            first.kill()
        for process in (first, second):
            process.join(120)
        succeeded = [process.exitcode == 0 for process in (first, second)]
        refused += sum(process.exitcode == 2 for process in (first, second))
        found = contents("made") if Path("made").exists() else {}
        assert not any(succeeded) or found == wanted, (trial, commands)
        assert any(succeeded) or trial % 5 == 0, (trial, commands)
        assert {
            name: found[name] for name in found if name in wanted and name.endswith(".png")
        }.items() <= wanted.items()
        assert run(f"{many} --resume")[0] == 0
        assert contents("made") == wanted
    assert refused
    tried = (
        "two `generate` or two `augment`, started up to 0.6 s apart, with or without --overwrite and --resume; "
        "kill -9 in one of five"
    )
    record(record_property, fault="two processes, one folder", tried=tried, times=trials)
