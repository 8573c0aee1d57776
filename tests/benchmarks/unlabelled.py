"""Gains from images that the classifier does not see: unlabelled ones, and those of somebody else's bank.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.unlabelled [--cell NAME ...] [--seeds N] [--threads N] [--table]

Every seed draws other labelled and unlabelled images and starts all arms from the same weights, with the same batches
and number of steps. "ours" serves the labelled, generated and unlabelled images, "generated" all but the unlabelled,
"pseudo" all but the generated. Raw results go to docs/results/unlabelled/CELL.json, resumable; docs/unlabelled.md is
made from them, and a table of docs/results.md. Somebody else's bank is fitted once, on images that no seed draws.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean

import torch
from tabulate import tabulate
from torch import Tensor
from torch.utils.data import TensorDataset

from tests.benchmarks.kinds_data import CELLS as KINDS
from vae_augment import FitConfig, VAEBank, fit
from vae_augment.data.unlabelled import others_than
from vae_augment.evaluation.arms import InMemory, batches, default_classical
from vae_augment.evaluation.intervals import paired_difference, recalls
from vae_augment.files.writing import atomic_write
from vae_augment.fitting import RECIPE
from vae_augment.fitting.classifier import new_classifier, predict, train_classifier
from vae_augment.images.kinds import kind_of_images
from vae_augment.images.moves import colour_channels
from vae_augment.images.tensors import digests
from vae_augment.seeding import derive, draw_items, generator

PAGE = """# Images without labels

What unlabelled images add: balanced accuracy on whole test sets of one small CNN after {steps} steps of 64 images. In
every seed all arms train on the same labelled images, from the same initial weights. Differences are paired by seed,
with 95 % intervals of Student's t. Rows and seeds that are not listed have not been run yet. The recipe is of `fit`.
Made by `python -m tests.benchmarks.unlabelled`; raw results are in [results/unlabelled](results/unlabelled).

- *moves*: what `VAEAugmentedDataset(train_ds)` serves without the VAE.
- *ours*: what `VAEAugmentedDataset(train_ds, unlabelled=others)` serves: labelled, generated and unlabelled images.
- *generated*: the same with `p_unlabelled=0`; the classifier sees labelled and generated images alone.
- *pseudo*: moves, and in half of each batch the unlabelled images themselves, with the labels found for them.
- *bank-of-500*: somebody else's bank, of 500 other labelled images a class, fitted to be shared (`--share`), as
  `VAEAugmentedDataset(ds, theirs)`.
- *foreign*: half of the unlabelled images are digits of none of the classes.

{table}

Half of the unlabelled images of no class, over the same without them: {foreign}.

What became of the unlabelled images, means of the seeds:

{found}

How well a bank to share hides the images that it was fitted on, from as many that were left out (0.5 is chance):

{hidden}
"""
RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "unlabelled"
ARMS = ("none", "classical", "moves", "generated", "ours", "pseudo")
UNCHANGED = ("none", "classical")  # whatever the recipe is
PAIRS = (("ours", "moves"), ("ours", "pseudo"), ("generated", "moves"), ("generated", "pseudo"))
OWN, MIXED = "mnist-0-to-4-10+2000", "mnist-0-to-4-10+4000-half-foreign"
STEPS = 600  # batches of 64
MOST_SEEDS = 5
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Cell:
    """A kind of data with labelled images, and others without.

    Args:
        kind: a cell of `kinds_data`, which draws the labelled images and has the test set.
        count: unlabelled images, drawn from the rest of the training set; None: all of it.
        known: labels below it are those of classes; of the others come the foreign images. None: all are classes.
        foreign: share of the unlabelled images that belong to no class.
        theirs: labelled images a class of somebody else's bank, in place of unlabelled images.
    """

    kind: str
    count: int | None
    known: int | None = None
    foreign: float = 0.0
    theirs: int = 0

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(arm for arm in ARMS if arm not in ("generated", "pseudo") or not self.theirs)

    def _classes(self, data: InMemory) -> InMemory:
        chosen = data.targets < (self.known or 10**6)
        return InMemory(data.images[chosen], data.targets[chosen])

    def train(self, seed: int) -> InMemory:
        return self._classes(KINDS[self.kind].train(seed))

    def test(self) -> InMemory:
        return self._classes(KINDS[self.kind].test())

    def unlabelled(self, seed: int) -> Tensor:
        """Images [M, C, H, W] that are none of the labelled ones."""
        labelled, whole = KINDS[self.kind].train(seed).images, self._whole()
        if self.count is None:
            return whole.images[others_than(labelled, whole.images)]
        foreign = whole.targets >= (self.known or 10**6)
        few = round(self.count * self.foreign)
        drawn = [
            draw_items(foreign.long(), group, generator(seed, "unlabelled", group), number)
            for group, number in ((0, self.count - few), (1, few))
        ]
        images = whole.images[torch.cat(drawn)]
        return images[others_than(labelled, images)]

    def _whole(self) -> InMemory:
        """The whole training set."""
        kind = KINDS[self.kind]
        return kind.kind.load("train", kind.side)

    def others(self) -> InMemory:
        """Labelled images of somebody else: none that a seed draws."""
        whole, drawn = self._whole(), [KINDS[self.kind].train(seed).images for seed in range(MOST_SEEDS)]
        marks = {mark for images in drawn for mark in digests(images)}
        free = torch.tensor([mark not in marks for mark in digests(whole.images)])
        labels = torch.where(free, whole.targets, -1)
        items = [draw_items(labels, k, generator(0, "theirs", k), self.theirs) for k in range(int(labels.max()) + 1)]
        return InMemory(whole.images[torch.cat(items)], whole.targets[torch.cat(items)])


CELLS = {
    "mnist-10+4000": Cell("mnist-10", 4_000),
    "mnist-50+4000": Cell("mnist-50", 4_000),
    "sign-digits-10+rest": Cell("sign-digits-10", None),
    "fashion-mnist-10+4000": Cell("fashion-mnist-10", 4_000),
    "cifar-10-50+4000": Cell("cifar-10-50", 4_000),
    "mnist-10-bank-of-500": Cell("mnist-10", None, theirs=500),
    "mnist-50-bank-of-500": Cell("mnist-50", None, theirs=500),
    OWN: Cell("mnist-10", 2_000, known=5),
    MIXED: Cell("mnist-10", 4_000, known=5, foreign=0.5),
}


def accuracy(arm: str, cell: Cell, seed: int, bank: VAEBank | None, more: Tensor | None) -> float:
    """Balanced accuracy in percent on the test set."""
    train, test = cell.train(seed), cell.test()
    classes, weights = int(train.targets.max()) + 1, derive(seed, "classifier")
    model = new_classifier(None, tuple(train.images.shape[1:]), classes, weights, CPU)
    classical = default_classical(colour_channels(train.images))
    source, more = ("ours", None) if arm == "generated" else (arm, more)
    images = batches(source, train, bank, classical=classical, sampling_strategy=None, seed=seed, unlabelled=more)
    train_classifier(model, images, steps=STEPS, seed=weights)
    return round(recalls(predict(model, test.images), test.targets, classes).mean().item() * 100, 3)


@cache
def bank_of_others(cell: Cell) -> VAEBank:
    return fit(cell.others(), config=FitConfig(share=True))


def run_cell(name: str, seed: int) -> None:
    """All runs of a cell and seed that are not there yet."""
    path, cell = RESULTS / f"{name}.json", CELLS[name]
    content = json.loads(path.read_text()) if path.exists() else {"cell": name, "seeds": {}}
    record = content["seeds"].setdefault(str(seed), {})
    if record.get("recipe") == RECIPE and all(arm in record for arm in cell.arms):
        return
    train, more = cell.train(seed), None
    start = time.perf_counter()
    if cell.theirs:
        bank = bank_of_others(cell)
        record["membership"] = bank.data["membership"]
        policy = bank.policy_for(torch.bincount(train.targets).tolist(), kind=kind_of_images(train.images))
    else:
        more = cell.unlabelled(seed)
        bank = fit(train, unlabelled=TensorDataset(more), seed=seed)
        record["unlabelled"], policy = bank.data["unlabelled"], bank.policy
    record |= {"recipe": RECIPE, "seconds": round(time.perf_counter() - start, 1), "policy": policy.to_dict()}
    for arm in cell.arms:
        if arm in record and arm in UNCHANGED:
            continue
        record[arm] = accuracy(arm, cell, seed, bank, more)
        print(name, seed, arm, record[arm], flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, (json.dumps(content, indent=1) + "\n").encode())


def _over(seeds: list[dict], one: str, other: str) -> str:
    """The paired difference of two arms; "-" if they were not run."""
    differences = [seed[one] - seed[other] for seed in seeds if one in seed and other in seed]
    return str(paired_difference(differences)) if differences else "-"


def _done() -> dict[str, list[dict]]:
    """The records of each cell that has been run."""
    paths = {name: RESULTS / f"{name}.json" for name in CELLS}
    return {name: list(json.loads(path.read_text())["seeds"].values()) for name, path in paths.items() if path.exists()}


def gains() -> str:
    """A table of what each arm reaches, a row for each cell."""
    rows = []
    for name, seeds in _done().items():
        figures = {arm: [seed[arm] for seed in seeds if arm in seed] for arm in ARMS}
        over = [_over(seeds, *pair) for pair in PAIRS]
        shown = [f"{fmean(values):.1f}" if values else "-" for values in figures.values()]
        recipes = ", ".join(sorted({str(seed["recipe"]) for seed in seeds}))
        rows.append([name, recipes, len(seeds), *shown, *over])
    headers = ("cell", "recipe", "seeds", *ARMS, *(f"{one} over {other}" for one, other in PAIRS))
    return tabulate(rows, headers, "github", disable_numparse=True)


def page() -> str:
    """docs/unlabelled.md."""
    found, hidden = [], []
    for name, seeds in _done().items():
        said = [seed["unlabelled"] for seed in seeds if "unlabelled" in seed]
        if said:
            adopted = fmean(sum(each["adopted"].values()) for each in said)
            shares = (f"{100 * fmean(each[key] for each in said):.1f} %" for key in ("right", "sure"))
            found.append([name, f"{fmean(each['images'] for each in said):.0f}", f"{adopted:.0f}", *shares])
        attacked = next((seed["membership"] for seed in seeds if "membership" in seed), None)
        if attacked is not None:
            areas = ("{:.2f} ({:.2f} to {:.2f})".format(*attacked[by]) for by in ("reconstruction", "generated"))
            hidden.append([name, attacked["images"], *areas, attacked["made_distance"], attacked["real_distance"]])
    of_found = ("cell", "images", "taken for a class", "labelled images left out: right", "mean probability of a label")
    of_hidden = ("cell", "images", "area by reconstruction", "area by generated images", "generated to nearest", "real")
    tables = (tabulate(r, h, "github", disable_numparse=True) for r, h in ((found, of_found), (hidden, of_hidden)))
    return PAGE.format(steps=STEPS, table=gains(), foreign=_foreign(), found=next(tables), hidden=next(tables))


def _foreign() -> str:
    """Differences that foreign images make, by arm, as text."""
    paths = [RESULTS / f"{name}.json" for name in (MIXED, OWN)]
    if not all(path.exists() for path in paths):
        return "not run yet"
    found = [json.loads(path.read_text())["seeds"] for path in paths]
    pairs = [(found[0][seed], found[1][seed]) for seed in found[0] if seed in found[1]]
    over = {arm: paired_difference([mixed[arm] - own[arm] for mixed, own in pairs]) for arm in ("generated", "ours")}
    return ", ".join(f"*{arm}* {difference}" for arm, difference in over.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs="*", choices=list(CELLS), default=list(CELLS))
    parser.add_argument("--seeds", type=int, default=MOST_SEEDS)
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
