"""Families of moves on each kind of data: log-loss on folds of the training images, beside accuracy on the test set.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.families [--cell NAME ...] [--seeds N] [--table]

No VAE is fitted. The first figure is what `fit` chooses moves by; the second, which no choice sees, shows whether that
order is right; it is kept when the recipe of `fit` rises and the moves are the same. Raw results go to
docs/results/families/CELL.json, resumable; docs/kinds.md is made from those of the newest recipe in them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

import torch
from torch import Tensor

from tests.benchmarks.kinds import CPU, RESULTS
from tests.benchmarks.kinds_data import CELLS, Cell
from tests.benchmarks.kinds_page import FAMILY_RESULTS, write_page
from vae_augment.bank.policy import Policy
from vae_augment.data.loading import FitData
from vae_augment.evaluation.arms import batches, default_classical
from vae_augment.evaluation.intervals import recalls
from vae_augment.files.writing import atomic_write
from vae_augment.fitting import RECIPE
from vae_augment.fitting.classifier import new_classifier, predict, train_classifier
from vae_augment.fitting.cross_validation import CrossValidation
from vae_augment.images.moves import FAMILIES, FLIPPED, MIRRORED, MOVES, colour_channels, with_flips
from vae_augment.seeding import derive, generator

SHARE, STEPS = 0.85, 600  # of the images that are moved; of the classifier that is tested


def families(channels: int) -> list[str]:
    names, flipped = FAMILIES["colour" if channels >= 3 else "grey"], "combined" if channels >= 3 else "several"
    return ["none", *names, *(with_flips(name, flips) for name in ("none", flipped) for flips in (MIRRORED, FLIPPED))]


def moved(cell: Cell, seed: int, name: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of the images, of which a share is moved."""
    train, draws, moves = cell.train(seed), generator(seed, "families"), MOVES[name]
    real = batches("none", train, None, classical=default_classical(1), sampling_strategy=None, seed=seed)
    for images, labels in real:
        some = (torch.rand(len(images), generator=draws) < SHARE).nonzero()[:, 0]
        if moves is not None:
            images[some] = moves.draw(images[some], draws)
        yield images, labels


def accuracy(cell: Cell, seed: int, name: str) -> float:
    """Balanced accuracy in percent on the test set."""
    train, test = cell.train(seed), cell.test()
    classes, weights = int(train.targets.max()) + 1, derive(seed, "classifier")
    model = new_classifier(None, tuple(train.images.shape[1:]), classes, weights, CPU)
    train_classifier(model, moved(cell, seed, name), steps=STEPS, seed=weights)
    return round(recalls(predict(model, test.images), test.targets, classes).mean().item() * 100, 3)


def run_cell(name: str, seed: int) -> None:
    path, cell = FAMILY_RESULTS / f"{name}.json", CELLS[name]
    content = json.loads(path.read_text()) if path.exists() else {"cell": name, "recipes": {}, "seeds": {}}
    record, before, train = {}, content["seeds"].get(str(seed), {}), cell.train(seed)
    names = families(colour_channels(train.images))
    if content["recipes"].get(str(seed)) == RECIPE and all(family in before for family in names):
        return
    labels = {label: str(label) for label in train.targets.unique().tolist()}
    trial = CrossValidation(FitData(train.images, train.targets, labels), seed=seed, device=CPU)
    for family in names:
        share = 0.0 if family == "none" else SHARE
        trial.judge({family: Policy(0.0, share, scale=0.0, keep_detail=True, moves=family)}, trial.folds)
        over = {other: [round(value, 4) for value in trial.over(family, other)] for other in record}
        moves, known = repr(MOVES[family]), before.get(family, {})
        tested = known["accuracy"] if known.get("moves") == moves else accuracy(cell, seed, family)
        record[family] = {"over": over, "accuracy": tested, "moves": moves}
        print(name, seed, family, record[family], flush=True)
    content["seeds"][str(seed)], content["recipes"][str(seed)] = record, RECIPE
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, (json.dumps(content, indent=1) + "\n").encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs="*", choices=list(CELLS), default=list(CELLS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--table", action="store_true", help="make the page from what is there, run nothing")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    for name in [] if options.table else options.cell:
        for seed in range(options.seeds):
            run_cell(name, seed)
    write_page(RESULTS, RESULTS.parents[1] / "kinds.md")


if __name__ == "__main__":
    main()
