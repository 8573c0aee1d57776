"""What the wrapper costs a training loop: images a second of its DataLoader over those of the base's.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.loader [--rounds 5] [--json FILE]

Every fourth item generated, every fourth jittered, batches of 64, 0 and 2 workers. The loaders take turns within a
round; a round is three epochs of each after a first that is not counted. Ratios are of one round; the table gives
their median and range. For scale, the same base with albumentations' ElasticTransform on half of the images.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import albumentations
import numpy as np
from tabulate import tabulate
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.datasets import MNIST, ImageFolder

from vae_augment import FitConfig, VAEAugmentedDataset, fit

BATCH, EPOCHS, SHARES = 64, 3, {"p_generate": 0.25, "p_jitter": 0.25}
STEPS = 40  # how long a bank was trained does not change how long it takes to use


def with_elastic(after: Callable) -> Callable:
    elastic = albumentations.ElasticTransform(p=0.5)
    return lambda image: after(elastic(image=np.asarray(image))["image"])


def mnist(root: Path) -> dict[str, Dataset]:
    to_tensor = transforms.ToTensor()
    return {
        "base": MNIST(root, transform=to_tensor),
        "elastic": MNIST(root, transform=with_elastic(to_tensor)),
    }


def sign_digits(root: Path) -> dict[str, Dataset]:
    crop = transforms.Compose([transforms.RandomResizedCrop(64), transforms.ToTensor()])
    from_array = transforms.Compose([transforms.ToPILImage(), crop])
    folder = root / "sign-digits" / "train"
    return {
        "base": ImageFolder(folder, transform=crop),
        "elastic": ImageFolder(folder, transform=with_elastic(from_array)),
    }


def images_a_second(dataset: Dataset, workers: int) -> float:
    loader = DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    for _ in loader:
        pass
    start = time.perf_counter()
    for _ in range(EPOCHS):
        for _ in loader:
            pass
    return EPOCHS * len(dataset) / (time.perf_counter() - start)


def compare(name: str, datasets: dict[str, Dataset], workers: int, rounds: int) -> dict:
    rates = [{kind: images_a_second(ds, workers) for kind, ds in datasets.items()} for _ in range(rounds)]
    row: dict = {"data": name, "workers": workers}
    row["base, images/s"] = round(statistics.median(r["base"] for r in rates))
    for kind in datasets:
        if kind != "base":
            ratios = sorted(r[kind] / r["base"] for r in rates)
            row[kind] = round(statistics.median(ratios), 3)
            row[f"{kind}, range"] = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeded", action="store_true", help="with seed=0 instead of fresh draws")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if "VAE_AUGMENT_DATA" not in os.environ:
        raise SystemExit("set VAE_AUGMENT_DATA to a folder that holds MNIST and sign-digits.")
    root = Path(os.environ["VAE_AUGMENT_DATA"])
    seed, rows = 0 if options.seeded else None, []
    for name, opened in (
        ("MNIST, ToTensor", mnist(root)),
        ("sign-digits, RandomResizedCrop(64), ToTensor", sign_digits(root)),
    ):
        bank = fit(opened["base"], config=FitConfig(steps=STEPS))
        wrapped = VAEAugmentedDataset(opened["base"], bank, seed=seed, **SHARES)
        datasets = {"base": opened["base"], "wrapper": wrapped, "elastic": opened["elastic"]}
        rows += [compare(name, datasets, workers, options.rounds) for workers in (0, 2)]
    print(tabulate(rows, headers="keys"))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
