"""What the wrapper costs a training loop: images a second of its DataLoader over those of the base's.

Every fourth item generated, every fourth jittered, moved as the fit's policy does and not moved, batches of 64, 0 and 2
workers. The loaders take turns within a round; a round is three epochs of each after a first that is not counted.
Ratios are of one round; the table gives their median and range. For scale, the same base with albumentations'
ElasticTransform on half of the images, for one epoch in the first round; and a pool of finished images in the
wrapper's place (tests.benchmarks.speed.pool), in every round.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import albumentations
import numpy as np
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.datasets import MNIST, ImageFolder

from tests.benchmarks.digit_features import distance_of
from tests.benchmarks.speed.measured import data_folder, seconds_of
from tests.benchmarks.speed.pool import Pooled
from tests.benchmarks.usefulness import images_of
from vae_augment import FitConfig, VAEAugmentedDataset, fit

BATCH, EPOCHS, SHARES = 64, 3, {"p_generate": 0.25, "p_jitter": 0.25}
ROUNDS = 3
STEPS = 100  # in the short form; the policy of a whole fit may be another


def with_elastic(after: Callable) -> Callable:
    elastic = albumentations.ElasticTransform(p=0.5)
    return lambda image: after(elastic(image=np.asarray(image))["image"])


def mnist(root: Path) -> dict[str, Dataset]:
    to_tensor = transforms.ToTensor()
    return {
        "base": MNIST(root, transform=to_tensor),
        "raw": MNIST(root),
        "elastic": MNIST(root, transform=with_elastic(to_tensor)),
    }


def sign_digits(root: Path) -> dict[str, Dataset]:
    crop = transforms.Compose([transforms.RandomResizedCrop(64), transforms.ToTensor()])
    from_array = transforms.Compose([transforms.ToPILImage(), crop])
    folder = root / "sign-digits" / "train"
    return {
        "base": ImageFolder(folder, transform=crop),
        "raw": ImageFolder(folder),
        "elastic": ImageFolder(folder, transform=with_elastic(from_array)),
    }


def images_a_second(dataset: Dataset, workers: int, epochs: int = EPOCHS) -> float:
    loader = DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    for _ in loader if epochs == EPOCHS else ():
        pass
    start = time.perf_counter()
    for _ in range(epochs):
        for _ in loader:
            pass
    return epochs * len(dataset) / (time.perf_counter() - start)


def compare(name: str, datasets: dict[str, Dataset], workers: int, rounds: int) -> dict:
    base, wrapper, unmoved, pool = (datasets[key] for key in ("base", "wrapper", "unmoved", "pool"))
    elastic = images_a_second(datasets["elastic"], workers, epochs=1)
    rates, still, pooled, refreshed = [], [], [], []
    for _ in range(rounds):
        rates.append((images_a_second(base, workers), images_a_second(wrapper, workers)))
        still.append(images_a_second(unmoved, workers) / rates[-1][0])
        refreshing = seconds_of(pool.refresh)
        pooled.append(images_a_second(pool, workers) / rates[-1][0])
        refreshed.append(1 / (1 / pooled[-1] + refreshing * rates[-1][0] / len(base)))
    ratios = sorted(wrapped / plain for plain, wrapped in rates)
    return {
        "data": name,
        "workers": workers,
        "base, images/s": round(statistics.median(plain for plain, _ in rates)),
        "wrapper / base": round(statistics.median(ratios), 3),
        "range": f"{ratios[0]:.2f} to {ratios[-1]:.2f}",
        "without moves / base": round(statistics.median(still), 3),
        "elastic / base": round(elastic / rates[0][0], 3),
        "pool, made anew / base": round(statistics.median(refreshed), 3),
        "pool, kept / base": round(statistics.median(pooled), 3),
    }


def measure(short: bool) -> dict:
    root, rows, distance = data_folder(), [], {}
    for data, name, opened in (
        ("mnist", "MNIST, ToTensor", mnist(root)),
        ("sign-digits", "sign-digits, RandomResizedCrop(64), ToTensor", sign_digits(root)),
    ):
        base = opened["base"]
        bank = fit(base, config=FitConfig(steps=STEPS) if short else FitConfig(), progress=False)
        if data == "mnist":
            distance = {"MNIST, distance": distance_of(bank)}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "pool.npy")
            pool = Pooled(opened["raw"], base.transform, images_of(data, True), bank, path, **SHARES)
            moving, still = (
                VAEAugmentedDataset(base, each, **SHARES) for each in (bank, bank.with_policy(moves="none"))
            )
            datasets = {**opened, "wrapper": moving, "unmoved": still, "pool": pool}
            rows += [compare(name, datasets, workers, 1 if short else ROUNDS) for workers in (0, 2)]
    return {"rows": rows, **distance}
