"""Fits of 20,000 images of MNIST on other schedules: larger batches with the rate to match, fewer steps at a higher.

Each is a whole fit from nothing, without the policy's choice, and the distance of what its bank draws.
"""

from __future__ import annotations

import time

from torch.utils.data import Subset
from torchvision.datasets import MNIST

from tests.benchmarks.digit_features import distance_of
from tests.benchmarks.speed.measured import data_folder
from vae_augment import FitConfig, fit

# share of the default's steps, images a step, Adam's peak rate over the default's
SCHEDULES = (
    (1.0, 128, 1.0),
    (0.5, 256, 1.0),
    (0.5, 256, 1.4),
    (0.5, 256, 2.0),
    (0.25, 512, 2.0),
    (0.5, 128, 1.0),
    (0.5, 128, 2.0),
)
IMAGES = 20_000


def fitted(share: float, batch: int, rate: float) -> dict:
    data, default = Subset(MNIST(data_folder()), range(IMAGES)), FitConfig()
    steps = round(share * (default.resolve(len(data)).steps or 0))
    config = FitConfig(steps=steps, batch_size=batch, learning_rate=rate * default.learning_rate, policy="none")
    started = time.perf_counter()
    bank = fit(data, config=config, progress=False)
    seconds = round(time.perf_counter() - started, 1)
    row = {"steps": share, "batch": batch, "rate": rate, "seconds": seconds, "distance": distance_of(bank)}
    print(row, flush=True)
    return row


def measure(short: bool) -> dict:
    return {"rows": [fitted(*schedule) for schedule in SCHEDULES[: 2 if short else None]]}
