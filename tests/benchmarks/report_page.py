"""What a report takes: seconds, and megabytes of the page.

    python -m tests.benchmarks.report_page BANK --data DATA [--root ROOT]

Times the command on a bank and its data; then pages of banks of 100 classes with random weights and random images,
which no image format makes small: real ones take less.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from tabulate import tabulate

from tests.random_banks import random_bank
from vae_augment.config import PRESETS
from vae_augment.data.loading import FitData
from vae_augment.report.page import report_html

CLASSES, IMAGES = 100, 20


def of_command(bank: Path, data: str, root: Path | None) -> list[object]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "report.html")
        options = [] if root is None else ["--root", str(root)]
        started = time.perf_counter()
        command = [
            sys.executable,
            "-m",
            "vae_augment",
            "report",
            str(bank),
            "--data",
            data,
            "--out",
            str(out),
            *options,
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return [bank.stem, time.perf_counter() - started, out.stat().st_size / 1e6]


def of_many_classes(preset: str, shape: tuple[int, int, int]) -> list[object]:
    options = PRESETS[preset]
    bank = random_bank(shape, latent_dim=options["latent_dim"], width=options["width"], classes=CLASSES)
    labels = torch.arange(CLASSES).repeat_interleave(IMAGES)
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (len(labels), *shape), dtype=torch.uint8, generator=random)
    started = time.perf_counter()
    page = report_html(bank.with_policy(method="gaussian"), data=FitData(images, labels, {}))
    name = f"{CLASSES} classes, {preset}, {'x'.join(map(str, shape))}"
    return [name, time.perf_counter() - started, len(page.encode()) / 1e6]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bank", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--root", type=Path)
    given = parser.parse_args()
    rows = [of_command(given.bank, given.data, given.root)]
    for preset, shape in (("default", (1, 28, 28)), ("default", (3, 32, 32)), ("default", (3, 64, 64))):
        rows.append(of_many_classes(preset, shape))
    rows.append(of_many_classes("best", (3, 128, 128)))
    print(tabulate(rows, ("page", "s", "MB"), floatfmt=".1f"))


if __name__ == "__main__":
    main()
