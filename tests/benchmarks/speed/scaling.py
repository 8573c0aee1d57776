"""What more classes and more images cost: time and memory of a fit of MNIST, and the size of its bank.

The same 60,000 images are relabelled into 10, 100 and 1,000 classes, each digit cut into equal parts. Every fit is a
process of its own; the two ends take turns.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from torchvision.datasets import MNIST

from tests.benchmarks.digit_features import distance_of
from tests.benchmarks.speed.measured import data_folder, in_child, peak_megabytes
from vae_augment import VAEBank, fit
from vae_augment.evaluation.arms import InMemory

CLASSES, IMAGES = (10, 100, 1_000), (5_000, 20_000, 60_000)


def relabelled(classes: int, images: int) -> InMemory:
    """The first images of MNIST, each digit cut into as many classes."""
    data = MNIST(data_folder())
    pixels, digits = data.data[:images, None], data.targets[:images]
    labels = torch.empty_like(digits)
    parts = classes // 10
    for digit in range(10):
        items = (digits == digit).nonzero()[:, 0]
        labels[items] = digit * parts + torch.arange(len(items)) % parts
    return InMemory(pixels, labels)


def fitted(classes: int, images: int, path: Path) -> dict:
    data = relabelled(classes, images)
    started = time.perf_counter()
    bank = fit(data, progress=False)
    taken = time.perf_counter() - started
    bank.save(path)
    peak = peak_megabytes()
    failed = sum(info.status == "failed" for info in bank.class_infos)
    size = path.stat().st_size / classes / 1000
    figures = {"seconds": taken, "peak, MB": peak, "KB a class": round(size, 1), "failed": failed}
    return figures | {"distance": distance_of(bank)}


def loaded(path: Path, whole: bool) -> dict:
    """Seconds and memory of opening a bank, or one class of it."""
    before, started = peak_megabytes(), time.perf_counter()
    bank = VAEBank.load(path, classes=None if whole else [0])
    taken = time.perf_counter() - started
    bank.sample(torch.zeros(1, dtype=torch.long))
    return {"seconds": taken, "memory, MB": round(peak_megabytes() - before, 1), "classes": len(bank.classes)}


def measure(short: bool) -> dict:
    classes, images = ((10, 100), (2_000, 5_000)) if short else (CLASSES, IMAGES)
    cells = [(count, images[-1]) for count in classes] + [(10, count) for count in images[:-1]]
    taken: dict[tuple[int, int], list[dict]] = {cell: [] for cell in cells}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(1 if short else 2):
            for cell in cells:
                if turn and cell not in (cells[0], cells[len(classes) - 1]):
                    continue
                path = Path(folder, f"{cell[0]}-{cell[1]}.safetensors")
                taken[cell].append(in_child(__spec__.name, "fit", *cell, path))
                print(*cell, taken[cell][-1], flush=True)
        largest = Path(folder, f"{classes[-1]}-{images[-1]}.safetensors")
        opened = {what: in_child(__spec__.name, what, largest) for what in ("one", "all")}
    rows = [
        {
            "classes": count,
            "images": total,
            "fit, s": round(median(one["seconds"] for one in done), 1),
            **{name: done[0][name] for name in ("peak, MB", "KB a class", "failed", "distance")},
        }
        for (count, total), done in taken.items()
    ]
    ends = zip(taken[cells[0]], taken[cells[len(classes) - 1]], strict=True)
    return {
        "rows": rows,
        "time, most classes over fewest": round(median(b["seconds"] / a["seconds"] for a, b in ends), 3),
        "memory, most classes over fewest": round(rows[len(classes) - 1]["peak, MB"] / rows[0]["peak, MB"], 3),
        "opening the bank of most classes": opened,
    }


def child() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("fit", "one", "all"))
    parser.add_argument("rest", nargs="+")
    options = parser.parse_args()
    if options.what == "fit":
        classes, images, path = options.rest
        print(json.dumps(fitted(int(classes), int(images), Path(path))))
    else:
        print(json.dumps(loaded(Path(options.rest[0]), options.what == "all")))


if __name__ == "__main__":
    child()
