"""What do unlabelled images add? Ours with a bank that has seen them, beside moves alone and the images themselves.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.unlabelled [--cell NAME ...] [--seeds N] [--threads N] [--table]

Every seed draws other labelled and unlabelled images and starts all arms from the same weights, with the same batches
and number of steps. "ours" shows the classifier labelled and generated images alone; "pseudo" shows it the unlabelled
images to which classifiers find labels. Raw results go to docs/results/unlabelled/CELL.json, resumable;
docs/unlabelled.md is made from them.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from tests.benchmarks.kinds_data import CELLS as KINDS
from tests.benchmarks.kinds_data import folder, mnist
from vae_augment import VAEBank, fit
from vae_augment.data.loading import FitData
from vae_augment.data.unlabelled import without
from vae_augment.evaluation.arms import InMemory, batches, default_classical
from vae_augment.evaluation.intervals import paired_difference, recalls
from vae_augment.files.writing import atomic_write
from vae_augment.fitting import RECIPE
from vae_augment.fitting.checkpoint import Checkpoint
from vae_augment.fitting.classifier import new_classifier, predict, train_classifier
from vae_augment.fitting.pseudo_labels import adopt
from vae_augment.images.moves import colour_channels
from vae_augment.seeding import derive, draw_items, generator

PAGE = """# Images without labels

What unlabelled images add: balanced accuracy on whole test sets of one small CNN after {steps} steps of 64 images. In
every seed all arms train on the same labelled images, from the same initial weights. Differences are paired by seed,
with 95 % intervals of Student's t. Rows and seeds that are not listed have not been run yet. Made by
`python -m tests.benchmarks.unlabelled`; raw results are in [results/unlabelled](results/unlabelled).

- *moves*, *ours*: what `VAEAugmentedDataset(train_ds, unlabelled=others)` serves, without and with the VAE: the
  classifier sees labelled and generated images alone.
- *pseudo*: moves, and in half of each batch the unlabelled images themselves, with the labels found for them.
- *foreign*: half of the unlabelled images are digits of none of the classes.

{table}

What became of the unlabelled images, means of the seeds:

{found}
"""
RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "unlabelled"
ARMS = ("none", "classical", "moves", "ours", "pseudo")
STEPS = 600  # batches of 64
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Cell:
    """A kind of data with labelled images, and others without.

    Args:
        kind: a cell of `kinds_data`, which draws the labelled images and has the test set.
        count: unlabelled images, drawn from the rest of the training set; None: all of it.
        known: labels below it are those of classes; of the others come the foreign images. None: all are classes.
        foreign: share of the unlabelled images that belong to no class.
    """

    kind: str
    count: int | None
    known: int | None = None
    foreign: float = 0.0

    def _classes(self, data: InMemory) -> InMemory:
        chosen = data.targets < (self.known or 10**6)
        return InMemory(data.images[chosen], data.targets[chosen])

    def train(self, seed: int) -> InMemory:
        return self._classes(KINDS[self.kind].train(seed))

    def test(self) -> InMemory:
        return self._classes(KINDS[self.kind].test())

    def unlabelled(self, seed: int) -> Tensor:
        """Images [M, C, H, W] that are none of the labelled ones."""
        labelled = KINDS[self.kind].train(seed).images
        whole = (mnist if self.kind.startswith("mnist") else folder("sign-digits", 3))("train", labelled.shape[-1])
        if self.count is None:
            return without(whole.images, labelled)
        foreign = whole.targets >= (self.known or 10**6)
        few = round(self.count * self.foreign)
        drawn = [
            draw_items(foreign.long(), group, generator(seed, "unlabelled", group), number)
            for group, number in ((0, self.count - few), (1, few))
        ]
        return without(whole.images[torch.cat(drawn)], labelled)


CELLS = {
    "mnist-10+4000": Cell("mnist-10", 4_000),
    "mnist-50+4000": Cell("mnist-50", 4_000),
    "sign-digits-10+rest": Cell("sign-digits-10", None),
    "mnist-0-to-4-10+2000": Cell("mnist-10", 2_000, known=5),
    "mnist-0-to-4-10+4000-half-foreign": Cell("mnist-10", 4_000, known=5, foreign=0.5),
}


def accuracy(arm: str, cell: Cell, seed: int, bank: VAEBank | None, adopted: InMemory | None) -> float:
    """Balanced accuracy in percent on the test set."""
    train, test = cell.train(seed), cell.test()
    classes, weights = int(train.targets.max()) + 1, derive(seed, "classifier")
    model = new_classifier(None, tuple(train.images.shape[1:]), classes, weights, CPU)
    classical = default_classical(colour_channels(train.images))
    images = batches(arm, train, bank, classical=classical, sampling_strategy=None, seed=seed, adopted=adopted)
    train_classifier(model, images, steps=STEPS, seed=weights)
    return round(recalls(predict(model, test.images), test.targets, classes).mean().item() * 100, 3)


def run_cell(name: str, seed: int) -> None:
    """All runs of a cell and seed that are not there yet."""
    path, cell = RESULTS / f"{name}.json", CELLS[name]
    content = json.loads(path.read_text()) if path.exists() else {"cell": name, "seeds": {}}
    record = content["seeds"].setdefault(str(seed), {})
    if record.get("recipe") == RECIPE and all(arm in record for arm in ARMS):
        return
    train, more = cell.train(seed), cell.unlabelled(seed)
    start = time.perf_counter()
    bank = fit(train, unlabelled=TensorDataset(more), seed=seed)
    record |= {"recipe": RECIPE, "seconds": round(time.perf_counter() - start, 1), "policy": bank.policy.to_dict()}
    record["unlabelled"] = bank.data["unlabelled"]
    data = FitData(train.images, train.targets, {k: str(k) for k in train.targets.unique().tolist()})
    found = adopt(data, more, bank.policy.without_vae(), seed, CPU, Checkpoint(None, "")).data
    for arm in ARMS:
        record[arm] = accuracy(arm, cell, seed, bank, InMemory(found.images, found.labels))
        print(name, seed, arm, record[arm], flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, (json.dumps(content, indent=1) + "\n").encode())


def page() -> str:
    """docs/unlabelled.md."""
    from tabulate import tabulate

    rows, found = [], []
    for name in CELLS:
        path = RESULTS / f"{name}.json"
        seeds = list(json.loads(path.read_text())["seeds"].values()) if path.exists() else []
        figures = {arm: [seed[arm] for seed in seeds] for arm in ARMS}
        if figures["ours"]:
            shown = [f"{fmean(values):.1f}" for values in figures.values()]
            pairs = [zip(figures["ours"], figures[arm], strict=True) for arm in ("moves", "pseudo")]
            over = [str(paired_difference([ours - theirs for ours, theirs in pair])) for pair in pairs]
            rows.append([name, len(figures["ours"]), *shown, *over])
            said = [seed["unlabelled"] for seed in seeds]
            adopted = fmean(sum(each["adopted"].values()) for each in said)
            shares = (f"{100 * fmean(each[key] for each in said):.1f} %" for key in ("right", "sure"))
            found.append([name, f"{fmean(each['images'] for each in said):.0f}", f"{adopted:.0f}", *shares])
    headers = ("cell", "seeds", *ARMS, "ours over moves", "over pseudo")
    of_found = ("cell", "images", "taken for a class", "labelled images left out: right", "mean probability of a label")
    tables = (tabulate(r, h, "github", disable_numparse=True) for r, h in ((rows, headers), (found, of_found)))
    return PAGE.format(steps=STEPS, table=next(tables), found=next(tables))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs="*", choices=list(CELLS), default=list(CELLS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="torch's")
    parser.add_argument("--table", action="store_true", help="make the page from what is there, run nothing")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    for name in [] if options.table else options.cell:
        for seed in range(options.seeds):
            run_cell(name, seed)
    atomic_write(RESULTS.parents[1] / "unlabelled.md", page().encode())


if __name__ == "__main__":
    main()
