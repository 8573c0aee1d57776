"""How good a bank of MNIST is: reconstruction, active dimensions, generated digits judged by a CNN, variety.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.quality [--bank FILE] [--sample] [--json FILE]

Without --bank one is fitted, with the default preset. --sample uses the images inside the package. The test images
are used to measure alone: no VAE and no choice of ours has seen them.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import torch
from tabulate import tabulate
from torch import Tensor
from torchvision.datasets import MNIST

from tests.benchmarks.judge import correct, train_judge
from vae_augment import FitConfig, VAEBank, fit
from vae_augment.data import places
from vae_augment.mnist_sample import MNISTSample

GENERATED_PER_CLASS, JUDGE_STEPS, PAIRS = 500, 2000, 2000
TRAIN_ON_GENERATED_PER_CLASS = 2000


def images_of(dataset) -> tuple[Tensor, Tensor]:
    return dataset.data[:, None], dataset.targets  # uint8 [N, 1, 28, 28], int64 [N]


def open_mnist(sample: bool) -> tuple:
    if sample:
        return MNISTSample(train=True), MNISTSample(train=False)
    for place in places():
        if (place / "MNIST").is_dir():
            return MNIST(place, train=True), MNIST(place, train=False)
    raise SystemExit("MNIST is not on this machine: set VAE_AUGMENT_DATA, or use --sample.")


def pairwise_distance(images: Tensor, generator: torch.Generator) -> float:
    """Mean Euclidean distance of random pairs, pixels in 0..1."""
    flat = images.flatten(1).float() / 255
    a, b = (torch.randint(len(flat), (PAIRS,), generator=generator) for _ in range(2))
    return (flat[a] - flat[b]).norm(dim=1)[a != b].mean().item()


def measure(bank: VAEBank, train_ds, test_ds) -> dict:
    generator = torch.Generator().manual_seed(0)
    (train_x, train_y), (test_x, test_y) = images_of(train_ds), images_of(test_ds)
    error = (bank.reconstruct(test_x, test_y) - test_x.float() / 255).square().mean((1, 2, 3))
    judge = train_judge(train_x, train_y, steps=JUDGE_STEPS)
    labels = torch.arange(10).repeat_interleave(GENERATED_PER_CLASS)
    generated = bank.sample(labels, generator=generator)
    recognised = correct(judge, generated, labels).float()
    many = torch.arange(10).repeat_interleave(TRAIN_ON_GENERATED_PER_CLASS)
    student = train_judge(bank.sample(many, generator=generator), many, steps=JUDGE_STEPS)
    classes = [
        {
            "class": info.name,
            "test_rmse": math.sqrt(error[test_y == info.label].mean().item()),
            "active_dims": info.active,
            "recognised": recognised[labels == info.label].mean().item(),
            "variety": pairwise_distance(generated[labels == info.label], generator)
            / pairwise_distance(train_x[train_y == info.label], generator),
        }
        for info in bank.class_infos
    ]
    return {
        "train_images": len(train_x),
        "test_rmse": math.sqrt(error.mean().item()),
        "judge_test_accuracy": correct(judge, test_x, test_y).float().mean().item(),
        "recognised": recognised.mean().item(),
        "trained_on_generated_test_accuracy": correct(student, test_x, test_y).float().mean().item(),
        "classes": classes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bank", type=Path)
    parser.add_argument("--sample", action="store_true")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    train_ds, test_ds = open_mnist(options.sample)
    seconds = None
    if options.bank:
        bank = VAEBank.load(options.bank)
    else:
        started = time.perf_counter()
        bank = fit(train_ds, config=FitConfig(preset=options.preset))
        seconds = time.perf_counter() - started
    result = {"fit_seconds": seconds, **measure(bank, train_ds, test_ds)}
    headers = {"test_rmse": "RMSE (test)", "active_dims": "active dims"}
    print(tabulate([{headers.get(k, k): v for k, v in c.items()} for c in result["classes"]], "keys", floatfmt=".3f"))
    for name, value in result.items():
        if name != "classes" and value is not None:
            print(f"{name:36} {value:.4f}" if isinstance(value, float) else f"{name:36} {value}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
