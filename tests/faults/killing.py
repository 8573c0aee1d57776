"""Kill -9 at random instants of fit, generate and a cached fit, resume, and compare with a run that nobody disturbed.

    python -m pytest --junitxml=report.xml tests/faults
    python -m tests.faults.killing --count 100 --report report.xml --page docs/reliability.md

Each trial is a process that is killed at an instant drawn evenly from the time that the undisturbed one took since its
first file appeared; then, sometimes, once more while it resumes. Between kills and after them every file that has a
final name must be whole, and what was finished must be there still, untouched.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors import safe_open
from torch.utils.data import Dataset

from tests.faults.forked import start
from tests.faults.page import rows, written
from vae_augment import VAEAugmentedDataset, config
from vae_augment.data import subsample
from vae_augment.mnist_sample import MNISTSample

AGAIN = 0.3  # of the trials are killed once more


@dataclass(frozen=True)
class Task:
    """Work that writes below the folder it runs in.

    Args:
        name: for the table.
        tried: likewise.
        work: a command's arguments, or a function, by whether it resumes.
        begun: files whose appearance is its first step, as a pattern.
        finished: files that, once there, are to stay as they are until it ends, as a pattern.
        result: the file that they become part of and may then be gone, as a pattern. "": none.
        prepare: puts there what it needs.
    """

    name: str
    tried: str
    work: Callable[[bool], str | Callable[[], object]]
    begun: str
    finished: str
    result: str = ""
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
    parts = "bank.safetensors.unfinished"
    return _command("fit", command, f"{parts}/*", f"{parts}/class-*.part", "bank.safetensors")


def generate_task(bank: Path, options: str) -> Task:
    def prepare(folder: Path) -> None:
        shutil.copy(bank, folder / "bank.safetensors")

    command = f"generate bank.safetensors --out made {options}"
    return _command("generate", command, "made/*/*.png", "made/*/*.png", prepare=prepare)


def _command(name: str, command: str, *patterns: str, **options: Any) -> Task:
    return Task(name, f"`vae-augment {command}`", lambda resume: command + " --resume" * resume, *patterns, **options)


def cache_task(dataset: Dataset[Any]) -> Task:
    """Wrapping a dataset that has no bank yet: one is fitted into the cache, by the preset "fast"."""

    def work() -> None:
        os.environ["VAE_AUGMENT_CACHE"] = "cache"
        config.PRESETS["default"] = config.PRESETS["fast"]
        VAEAugmentedDataset(dataset)

    banks = "cache/banks"
    return Task(
        "cache",
        "`VAEAugmentedDataset(dataset)`, whose bank is fitted into the cache",
        lambda resume: work,
        f"{banks}/*.unfinished/*",
        f"{banks}/*.unfinished/class-*.part",
        f"{banks}/*.safetensors",
    )


def started(task: Task, folder: Path, *, resume: bool) -> multiprocessing.Process:
    return start(task.work(resume), folder, folder / "log.txt")


def undisturbed(task: Task, folder: Path) -> tuple[dict[str, bytes], float]:
    """What the work writes, and how long it takes from its first step to its end, in seconds."""
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
        tally.lost += len(lost(kept, task, folder))
        kept = {path: path.stat().st_ino for path in folder.glob(task.finished)}
    tally.kept.append(len(kept))
    process = started(task, folder, resume=True)
    gone = set()
    while process.is_alive():
        gone |= lost(kept, task, folder)
        time.sleep(0.01)
    process.join()
    tally.lost += len(gone)
    tally.corrupt += len(broken(folder))
    if process.exitcode != 0 or outputs(folder) != wanted:
        tally.unequal += 1
        print(f"unequal: {folder}: exit code {process.exitcode}\n{(folder / 'log.txt').read_text()[-2000:]}")


def outputs(folder: Path) -> dict[str, bytes]:
    """All that is in a folder but the log and locks."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not _aside(path))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def broken(folder: Path) -> list[Path]:
    """Files under a final name that are not whole."""
    files = (
        path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".") and not _aside(path)
    )
    return [path for path in files if not whole(path)]


def _aside(path: Path) -> bool:
    return path.suffix in (".txt", ".lock")


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
    return path.stat().st_size > 0


def lost(kept: dict[Path, int], task: Task, folder: Path) -> set[Path]:
    """Finished files that are gone, or were written again; but not those whose result is there."""
    found = set()
    for path, inode in kept.items():
        try:
            if path.stat().st_ino != inode:
                found.add(path)
        except FileNotFoundError:
            found.add(path)
    there = bool(task.result) and any(folder.glob(task.result))  # looked at last: it is written first
    return set() if there else found


def run(task: Task, count: int, *, seed: int = 0) -> Tally:
    """Trials of a task, each in a folder of its own."""
    tally, draws = Tally(), random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        wanted, first = undisturbed(task, _made(Path(place) / "undisturbed"))
        again, second = undisturbed(task, _made(Path(place) / "again"))
        assert again == wanted
        seconds = min(first, second)  # the first may be slow, and kills would come after the end of others
        for number in range(count):
            folder = _made(Path(place) / str(number))
            trial(task, folder, wanted, seconds, draws, tally)
            if tally.clean:
                shutil.rmtree(folder)
    return tally


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--report", type=Path, help="a JUnit report of tests/faults, for the page's other rows")
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    import vae_augment.cli.fit
    import vae_augment.evaluation
    import vae_augment.exporting  # noqa: F401  # everything, once

    table, clean = [], True
    with tempfile.TemporaryDirectory() as place:
        bank = Path(place) / "bank.safetensors"
        fit = fit_task("mnist", f"--preset fast --per-class {options.per_class}")
        process = started(fit, Path(place), resume=False)
        process.join()
        for task in (fit, generate_task(bank, "--per-class 500"), cache_task(subsample(MNISTSample(), 10, seed=0))):
            tally = run(task, options.count)
            print(task.name, tally, flush=True)
            clean &= tally.clean
            table.append(row(task, tally))
    if options.report:
        table += rows(options.report)
    if options.page:
        options.page.write_text(written(table))
    return 0 if clean else 1


def row(task: Task, tally: Tally) -> list[str]:
    """A task's row of docs/reliability.md."""
    lost = f"{tally.corrupt} corrupt files, {tally.lost} finished parts lost, {tally.unequal} results unequal"
    return ["kill -9", task.tried, f"{tally.trials} trials, {tally.kills} kills", lost]


if __name__ == "__main__":
    sys.exit(main())
