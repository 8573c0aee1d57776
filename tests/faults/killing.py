"""Kill -9 at random instants of fit and generate, resume, and compare with a run that nobody disturbed.

    python -m tests.faults.killing --count 100 --page docs/reliability.md

Each trial is a process that is killed at an instant drawn evenly from the time that the undisturbed one took since its
first file appeared; then, sometimes, once more while it resumes. Between kills and after them every file that has a
final name must be whole, and what was finished must be there still, untouched.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from safetensors import safe_open

AGAIN = 0.3  # of the trials are killed once more


@dataclass(frozen=True)
class Task:
    """A command that writes below the folder it runs in.

    Args:
        name: for the table.
        command: its arguments.
        begun: files whose appearance is its first step, as a pattern.
        finished: files that, once there, are to stay as they are until it ends, as a pattern.
        prepare: puts there what it needs.
    """

    name: str
    command: str
    begun: str
    finished: str
    prepare: Callable[[Path], None] = lambda folder: None


@dataclass
class Tally:
    """What became of the trials of a task."""

    trials: int = 0
    kills: int = 0
    corrupt: int = 0
    lost: int = 0
    unequal: int = 0
    kept: list[int] = field(default_factory=list)  # files found finished by each resume

    @property
    def clean(self) -> bool:
        return not (self.corrupt or self.lost or self.unequal)


def fit_task(data: str, options: str) -> Task:
    command = f"fit --data {data} {options} --out bank.safetensors"
    return Task("fit", command, "bank.safetensors.unfinished/*", "bank.safetensors.unfinished/class-*.part")


def generate_task(bank: Path, options: str) -> Task:
    command = f"generate bank.safetensors --out made {options}"
    copy = lambda folder: shutil.copy(bank, folder / "bank.safetensors")  # noqa: E731
    return Task("generate", command, "made/*/*.png", "made/*/*.png", copy)


def started(task: Task, folder: Path, *, resume: bool) -> multiprocessing.Process:
    """The command in a process forked from this one, which has imported everything: only its own work takes time."""
    process = multiprocessing.get_context("fork").Process(target=_run, args=(task, folder, resume))
    process.start()
    return process


def _run(task: Task, folder: Path, resume: bool) -> None:
    from vae_augment.cli import main

    os.setsid()  # so that its workers can be waited for
    os.chdir(folder)
    log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    main(shlex.split(task.command) + ["--resume"] * resume)


def undisturbed(task: Task, folder: Path) -> tuple[dict[str, bytes], float]:
    """What the command writes, and how long it takes from its first step to its end, in seconds."""
    task.prepare(folder)
    process = started(task, folder, resume=False)
    begun = _wait_for_begin(task, folder, process)
    process.join()
    assert process.exitcode == 0, (folder / "log.txt").read_text()
    return outputs(folder), time.monotonic() - begun


def _wait_for_begin(task: Task, folder: Path, process: multiprocessing.Process) -> float:
    while process.is_alive() and not any(folder.glob(task.begun)):
        time.sleep(0.001)
    return time.monotonic()


def trial(
    task: Task, folder: Path, wanted: dict[str, bytes], seconds: float, draws: random.Random, tally: Tally
) -> None:
    """One run, killed at a random instant, perhaps twice, and resumed to its end."""
    task.prepare(folder)
    tally.trials += 1
    kept: dict[Path, int] = {}
    for resume in (False, True)[: 1 + (draws.random() < AGAIN)]:
        process = started(task, folder, resume=resume)
        begun = _wait_for_begin(task, folder, process)
        time.sleep(max(0.0, draws.uniform(0, seconds) - (time.monotonic() - begun)))
        if process.is_alive():
            tally.kills += 1
            os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        tally.corrupt += len(broken(folder))
        tally.lost += len(lost(kept))
        kept = {path: path.stat().st_ino for path in folder.glob(task.finished)}
    tally.kept.append(len(kept))
    process = started(task, folder, resume=True)
    gone = set()
    while process.is_alive():  # a class's part may go only when the bank is there
        if not (folder / "bank.safetensors").exists() or task.name == "generate":
            gone |= lost(kept)
        time.sleep(0.01)
    process.join()
    tally.lost += len(gone)
    tally.corrupt += len(broken(folder))
    if process.exitcode != 0 or outputs(folder) != wanted:
        tally.unequal += 1
        print(f"unequal: {folder}: exit code {process.exitcode}\n{(folder / 'log.txt').read_text()[-2000:]}")


def outputs(folder: Path) -> dict[str, bytes]:
    """All that is in a folder but the log."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "log.txt")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def broken(folder: Path) -> list[Path]:
    """Files under a final name that are not whole."""
    return [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".") and not whole(path)]


def whole(path: Path) -> bool:
    try:
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
        elif path.suffix in (".safetensors", ".part"):
            with safe_open(path, framework="pt") as file:
                [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118
    except FileNotFoundError:  # a part that its class has made needless meanwhile
        return True
    except Exception as error:
        print(f"broken: {path}: {error}")
        return False
    return path.stat().st_size > 0 or path.name == "log.txt"


def lost(kept: dict[Path, int]) -> set[Path]:
    """Finished files that are not there any more, or that were written again."""
    found = set()
    for path, inode in kept.items():
        try:
            if path.stat().st_ino != inode:
                found.add(path)
        except FileNotFoundError:
            found.add(path)
    return found


def run(task: Task, count: int, *, seed: int = 0) -> Tally:
    """Trials of a task, each in a folder of its own."""
    tally, draws = Tally(), random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        wanted, seconds = undisturbed(task, _made(Path(place) / "undisturbed"))
        for number in range(count):
            folder = _made(Path(place) / str(number))
            trial(task, folder, wanted, seconds, draws, tally)
            if tally.clean:
                shutil.rmtree(folder)
    return tally


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


PAGE = """# Reliability

What was tried to break files, and what was lost. `make faults` runs it and writes this page; a shorter form is in `make
test` (tests/faults).

| fault | what was tried | trials | kills | corrupt files | finished parts lost or done again | results unequal |
|---|---|---|---|---|---|---|
{rows}

A trial is one run, killed at an instant drawn evenly from its first file to its end, in three of ten trials once more
while it resumes, then resumed to its end. Equal means byte for byte: the bank and its contact sheet, or every PNG, the
manifest and classes.json, and no other file. A part is a class of the fit, or an image. Where no kill is counted
the run had just ended.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--per-class", type=int, default=100)
    options = parser.parse_args()
    import vae_augment.cli.fit
    import vae_augment.evaluation
    import vae_augment.exporting  # noqa: F401  # everything, once

    rows, clean = [], True
    with tempfile.TemporaryDirectory() as place:
        bank = Path(place) / "bank.safetensors"
        fit = fit_task("mnist", f"--preset fast --per-class {options.per_class}")
        process = started(fit, Path(place), resume=False)
        process.join()
        for task in (fit, generate_task(bank, "--per-class 500")):
            tally = run(task, options.count)
            print(task.name, tally)
            clean &= tally.clean
            rows.append(
                f"| kill -9 | `vae-augment {task.command}` | {tally.trials} | {tally.kills} | {tally.corrupt} "
                f"| {tally.lost} | {tally.unequal} |"
            )
    if options.page:
        options.page.write_text(PAGE.format(rows="\n".join(rows)))
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
