"""Gains of a start from other classes: banks of few images, fitted alone or from others' warm start.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.starts [--cell NAME ...] [--seeds N] [--threads N]

Digits 5 to 9, with 0 to 4 as the others; half of Omniglot's characters, with the other half. Every seed draws other
images of the few; all arms start from the same weights. Raw results go to docs/results/starts/CELL.json, resumable.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from tests.benchmarks.kinds_data import archive, mnist
from vae_augment import VAEBank, fit
from vae_augment.bank.policy import Policy, generating
from vae_augment.evaluation.arms import InMemory, batches, default_classical
from vae_augment.evaluation.intervals import paired_difference, recalls
from vae_augment.files.writing import atomic_write
from vae_augment.fitting.classifier import new_classifier, predict, train_classifier
from vae_augment.seeding import derive, draw_items, generator

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "starts"
STEPS = 600  # batches of 64
OF_OTHERS = 500  # images a class
# name: (images of a part at a side, side, classes of the others, images a class of the few)
CELLS = {
    "digits-5-to-9-10": (mnist, 28, 5, 10),
    "digits-5-to-9-5": (mnist, 28, 5, 5),
    "characters-68-of-136-5": (archive("omniglot"), 28, 68, 5),
}
ARMS = ("moves", "jittered, alone", "jittered, started", "generated, alone", "generated, started")
CPU = torch.device("cpu")


def drawn(data: InMemory, labels: range, count: int, seed: int) -> InMemory:
    """So many images of some classes."""
    items = torch.cat([draw_items(data.targets, label, generator(seed, "starts", label), count) for label in labels])
    return InMemory(data.images[items], data.targets[items])


@cache
def others(name: str) -> VAEBank:
    """A bank of the other classes."""
    load, side, first, _ = CELLS[name]
    return fit(drawn(load("train", side), range(first), OF_OTHERS, 0))


def accuracy(arm: str, train: InMemory, test: InMemory, bank: VAEBank, seed: int) -> float:
    """Balanced accuracy in percent of a classifier of the few."""
    first, classes = int(train.targets.min()), len(train.targets.unique())
    weights = derive(seed, "classifier")
    model = new_classifier(None, tuple(train.images.shape[1:]), classes, weights, CPU)
    source = "moves" if arm == "moves" else "ours"
    served = batches(source, train, bank, classical=default_classical(1), sampling_strategy=None, seed=seed)
    train_classifier(model, ((images, labels - first) for images, labels in served), steps=STEPS, seed=weights)
    return round(recalls(predict(model, test.images), test.targets - first, classes).mean().item() * 100, 3)


def run_cell(name: str, seed: int) -> None:
    """All runs of a cell and seed that are not there yet."""
    path, (load, side, first, count) = RESULTS / f"{name}.json", CELLS[name]
    content = json.loads(path.read_text()) if path.exists() else {}
    record = content.setdefault(str(seed), {})
    if all(arm in record for arm in ARMS):
        return
    everything, whole = load("train", side), load("test", side)
    few = range(first, int(everything.targets.max()) + 1)
    train = drawn(everything, few, count, seed)
    kept = whole.targets >= first
    test = InMemory(whole.images[kept], whole.targets[kept])
    alone = fit(train, seed=seed)
    started = fit(train, start=others(name), seed=seed).subset(list(few))
    moves = alone.policy.without_vae()
    policies: dict[str, Policy] = {
        "jittered": replace(moves, vae=True),
        "generated": generating(moves, "drawings", "others"),
    }
    for arm in ARMS:
        kind, _, whose = arm.partition(", ")
        bank = started if whose == "started" else alone
        policy = policies.get(kind, moves)
        record[arm] = accuracy(arm, train, test, VAEBank(replace(bank.content, policy=policy)), seed)
        print(name, seed, arm, record[arm], flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, (json.dumps(content, indent=1) + "\n").encode())


def table() -> str:
    """Means of the seeds, and the differences of arms from moves with their intervals."""
    from tabulate import tabulate

    rows = []
    for name in CELLS:
        path = RESULTS / f"{name}.json"
        seeds = list(json.loads(path.read_text()).values()) if path.exists() else []
        if seeds:
            moves = sum(seed["moves"] for seed in seeds) / len(seeds)
            over = (str(paired_difference([seed[arm] - seed["moves"] for seed in seeds])) for arm in ARMS[1:])
            rows.append([name, len(seeds), f"{moves:.1f}", *over])
    return tabulate(rows, ("cell", "seeds", *ARMS), "github", disable_numparse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs="*", choices=list(CELLS), default=list(CELLS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="torch's")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    for name in options.cell:
        for seed in range(options.seeds):
            run_cell(name, seed)
    print(table())


if __name__ == "__main__":
    main()
