"""Gains of test-time augmentation and of logit adjustment, however a classifier was trained.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.predictions [--cell NAME ...] [--seeds N] [--threads N]

One small CNN a seed and arm, which predicts the whole test set in four ways. Raw results go to
docs/results/predictions.json, resumable.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path

import torch

from tests.benchmarks.kinds_data import CELLS as KINDS
from tests.benchmarks.usefulness import CELLS as USEFULNESS
from tests.benchmarks.usefulness import images_of, training_images
from vae_augment.evaluation.arms import InMemory, batches, default_classical
from vae_augment.evaluation.intervals import paired_difference, recalls
from vae_augment.evaluation.prediction import Counted, Prediction
from vae_augment.files.writing import atomic_write
from vae_augment.fitting.classifier import new_classifier, train_classifier
from vae_augment.images.moves import colour_channels
from vae_augment.seeding import derive

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "predictions.json"
STEPS, COPIES = 600, 8
NAMES = ("mnist-10", "sign-digits-10", "magnetic-tiles-20", "mnist-long-tail")
ARMS = ("none", "classical", "oversampling+classical")
WAYS = {
    "as it is": Prediction(),
    "averaged": Prediction(copies=COPIES),
    "adjusted": Prediction(adjusted=True),
    "both": Prediction(copies=COPIES, adjusted=True),
}


def images(name: str, seed: int) -> tuple[InMemory, InMemory]:
    """Training and test images of a cell."""
    if name in KINDS:
        return KINDS[name].train(seed), KINDS[name].test()
    return training_images(USEFULNESS[name], seed), images_of(USEFULNESS[name].data, False)


def run(name: str, arm: str, seed: int) -> dict[str, float]:
    """Balanced accuracy in percent of each way to predict."""
    train, test = images(name, seed)
    classes, weights = int(train.targets.max()) + 1, derive(seed, "classifier")
    model = new_classifier(None, tuple(train.images.shape[1:]), classes, weights, torch.device("cpu"))
    classical = default_classical(colour_channels(train.images))
    served = batches(arm, train, None, classical=classical, sampling_strategy=None, seed=seed)
    counted = Counted(served, classes)
    train_classifier(model, iter(counted), steps=STEPS, seed=weights)
    found = {way: predict(model, test.images, counted.seen, seed) for way, predict in WAYS.items()}
    return {way: round(recalls(p, test.targets, classes).mean().item() * 100, 3) for way, p in found.items()}


def table(content: dict) -> str:
    """Means of the seeds, and the differences from predictions as they are with their intervals."""
    from tabulate import tabulate

    rows = []
    for name, arm in product(NAMES, ARMS):
        seeds = list(content.get(f"{name} {arm}", {}).values())
        if seeds:
            plain = f"{sum(seed['as it is'] for seed in seeds) / len(seeds):.1f}"
            over = (str(paired_difference([s[way] - s["as it is"] for s in seeds])) for way in list(WAYS)[1:])
            rows.append([name, arm, len(seeds), plain, *over])
    return tabulate(rows, ("cell", "trained with", "seeds", *WAYS), "github", disable_numparse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs="*", choices=NAMES, default=list(NAMES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="torch's")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    content = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for seed, name, arm in product(range(options.seeds), options.cell, ARMS):
        record = content.setdefault(f"{name} {arm}", {})
        if str(seed) not in record:
            record[str(seed)] = run(name, arm, seed)
            print(name, arm, seed, record[str(seed)], flush=True)
            atomic_write(RESULTS, (json.dumps(content, indent=1) + "\n").encode())
    print(table(content))


if __name__ == "__main__":
    main()
