"""No kind of data is harmed? Our default beside the arms that people would pick, on many kinds and sizes.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.kinds [--cell NAME ...] [--arm NAME ...] [--seeds N] [--steps N ...]

Every seed draws other training images, fits its own bank and starts all arms from the same weights, with the same
batches, for the same number of steps. Raw results go to docs/results/kinds/CELL.json, one run after the other, and
what is there is not run again; our arms are named by the recipe of `fit`, and those of each recipe are kept.
docs/kinds.md is made from them.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path

import torch

from tests.benchmarks.kinds_data import CELLS, Cell
from tests.benchmarks.kinds_page import write_page
from vae_augment import VAEBank, fit
from vae_augment.evaluation.arms import batches, default_classical
from vae_augment.evaluation.intervals import recalls
from vae_augment.files.writing import atomic_write
from vae_augment.fitting import RECIPE
from vae_augment.fitting.classifier import new_classifier, predict, train_classifier
from vae_augment.images.moves import colour_channels
from vae_augment.seeding import derive

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "kinds"
OURS = ("ours", "moves", "ours+classical", "ours+trivialaugment")
OTHERS = ("none", "classical", "trivialaugment", "randaugment", "augmix", "mixup+classical", "cutmix+classical")
STEPS = (600, 2_400)  # batches of 64
CPU = torch.device("cpu")


def run(arm: str, cell: Cell, seed: int, steps: int, bank: VAEBank | None) -> float:
    """Balanced accuracy in percent of a classifier that is trained with an arm."""
    train, test = cell.train(seed), cell.test()
    classes = int(train.targets.max()) + 1
    weights = derive(seed, "classifier")
    model = new_classifier(None, tuple(train.images.shape[1:]), classes, weights, CPU)
    classical = default_classical(colour_channels(train.images))
    images = batches(arm, train, bank, classical=classical, sampling_strategy=None, seed=seed)
    train_classifier(model, images, steps=steps, seed=weights)
    return round(recalls(predict(model, test.images), test.targets, classes).mean().item() * 100, 3)


def run_cell(name: str, arms: list[str], seeds: range, steps: list[int]) -> None:
    """All runs of a cell that are not there yet."""
    path, cell = RESULTS / f"{name}.json", CELLS[name]
    content = json.loads(path.read_text()) if path.exists() else {"cell": name, "seeds": {}}
    for seed in seeds:
        record = content["seeds"].setdefault(str(seed), {})
        bank = None
        for arm, count in product(arms, steps):
            results = record.setdefault(f"{arm}@{RECIPE}" if arm in OURS else arm, {})
            if str(count) in results:
                continue
            ours, policy = record.get(f"ours@{RECIPE}", {}), record.get(f"policy@{RECIPE}")
            same = arm == "moves" and str(count) in ours and policy is not None and not policy["vae"]
            if arm in OURS and bank is None and not same:
                bank = fit(cell.train(seed), seed=seed)
                record[f"policy@{RECIPE}"] = bank.policy.to_dict()
            results[str(count)] = ours[str(count)] if same else run(arm, cell, seed, count, bank)
            print(name, seed, count, arm, results[str(count)], flush=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, (json.dumps(content, indent=1) + "\n").encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs="*", choices=list(CELLS), default=list(CELLS))
    parser.add_argument("--arm", nargs="*", default=[*OTHERS, *OURS])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", nargs="*", type=int, default=list(STEPS))
    parser.add_argument("--table", action="store_true", help="make the page from what is there, run nothing")
    parser.add_argument("--threads", type=int, default=0, help="torch's, so that two cells can run side by side")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    for name in [] if options.table else options.cell:
        run_cell(name, options.arm, range(options.seeds), options.steps)
    write_page(RESULTS, RESULTS.parents[1] / "kinds.md")


if __name__ == "__main__":
    main()
