"""Does affinity tell how far to jitter? Log-loss of jittered images, and accuracy with jitter that goes as far.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.affinity [--cell NAME ...] [--seeds N] [--trainings N]

Affinity is that by which `fit` weakens jitter, of the training images alone. Accuracy is balanced, on the test set,
after 600 steps; the trainings of a draw of images differ in the classifier's weights and in all draws. Raw results go
to docs/results/affinity.json; what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from pathlib import Path
from statistics import mean

import torch
from tabulate import tabulate

from tests.benchmarks.kinds_data import CELLS
from vae_augment import VAEBank, fit
from vae_augment.data.loading import FitData
from vae_augment.evaluation.arms import batches, default_classical
from vae_augment.evaluation.intervals import paired_difference, recalls
from vae_augment.files.writing import atomic_write
from vae_augment.fitting.affinity import losses
from vae_augment.fitting.classifier import new_classifier, predict, train_classifier
from vae_augment.images.moves import colour_channels
from vae_augment.seeding import derive

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "affinity.json"
SCALES = (0.8, 0.4, 0.2)
STEPS = 600  # batches of 64
CPU = torch.device("cpu")


@cache
def bank_of(cell: str, seed: int) -> VAEBank:
    return fit(CELLS[cell].train(seed), seed=seed)


def jittered(bank: VAEBank, scale: float) -> VAEBank:
    return bank.with_policy(vae=True, scale=scale, smooth=bank.image_shape[0] == 3)


def lost(cell: str, seed: int) -> dict[str, float]:
    """Log-loss of jittered training images over that of the images as they are, by scale."""
    train = CELLS[cell].train(seed)
    names = {int(label): str(int(label)) for label in train.targets.unique()}
    bank = jittered(bank_of(cell, seed), SCALES[0])
    lost_by = losses(bank, FitData(train.images, train.targets, names), seed=seed, device=CPU)
    return {} if lost_by is None else {str(scale): round(lost_by(scale), 3) for scale in SCALES}


def accuracy(cell: str, seed: int, training: int, scale: float) -> float:
    """Balanced accuracy in percent of a classifier trained with jitter of a scale, or with moves alone for 0."""
    train, test, bank = CELLS[cell].train(seed), CELLS[cell].test(), bank_of(cell, seed)
    classes, weights = int(train.targets.max()) + 1, derive(seed, "classifier", training, 7)
    model = new_classifier(None, tuple(train.images.shape[1:]), classes, weights, CPU)
    arm, bank = ("ours", jittered(bank, scale)) if scale else ("moves", bank)
    usual = {"classical": default_classical(colour_channels(train.images)), "sampling_strategy": None}
    train_classifier(model, batches(arm, train, bank, **usual, seed=100 * seed + training), steps=STEPS, seed=weights)
    return round(recalls(predict(model, test.images), test.targets, classes).mean().item() * 100, 3)


def show(results: dict) -> None:
    headers = ["cell", "draws", *(f"lost at {s:g}, least to most" for s in SCALES), "trainings", "moves alone"]
    rows = []
    for cell, draws in results.items():
        found = [draw["lost"] for draw in draws.values() if draw.get("lost")]
        ends = [f"{min(f[str(s)] for f in found):+.2f} to {max(f[str(s)] for f in found):+.2f}" for s in SCALES]
        known = [list(draw["accuracy"].values()) for draw in draws.values() if "accuracy" in draw]
        row = [cell, len(found), *ends, sum(map(len, known))]
        if known:
            row.append(f"{mean(each['0'] for draw in known for each in draw):.1f}")
            for scale in SCALES[:2]:  # paired by draw of the images
                over = [mean(each[str(scale)] - each["0"] for each in draw) for draw in known]
                row.append(str(paired_difference(over)))
        rows.append(row)
    print(tabulate(rows, [*headers, *(f"jittered by {s:g}, over it" for s in SCALES[:2])], tablefmt="github"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs="*", choices=list(CELLS), default=[])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trainings", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}

    def keep() -> None:
        atomic_write(RESULTS, (json.dumps(results, indent=1) + "\n").encode())

    for cell in options.cell:
        for seed in range(options.seeds):
            draw = results.setdefault(cell, {}).setdefault(str(seed), {})
            if "lost" not in draw:
                draw["lost"] = lost(cell, seed)
                keep()
            for training in range(options.trainings):
                found = draw.setdefault("accuracy", {}).setdefault(str(training), {})
                for scale in (0, *SCALES[:2]):
                    if str(scale) not in found:
                        found[str(scale)] = accuracy(cell, seed, training, scale)
                        keep()
    show(results)


if __name__ == "__main__":
    main()
