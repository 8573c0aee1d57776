"""docs/kinds.md, made from the raw results of tests.benchmarks.kinds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from tabulate import tabulate

from vae_augment.evaluation.intervals import Difference, paired_difference
from vae_augment.fitting import RECIPE

FAMILY_RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "families"
BEFORE = 12  # the recipe whose default went by the number of images and their channels alone
ARMS = (
    *("none", "classical", "trivialaugment", "randaugment", "augmix", "mixup+classical", "cutmix+classical"),
    *("moves", "ours", "ours+classical", "ours+trivialaugment"),
)
INTRODUCTION = """# Kinds of data

Our default beside the arms that people would pick, on kinds of data that have little in common: balanced accuracy on
whole test sets of one small CNN, trained for 600 and for 2,400 steps of 64 images. In every seed all arms train on the
same images, from the same initial weights, with the same batches. Differences are paired by seed, with 95 % intervals
of Student's t. Made by `python -m tests.benchmarks.kinds`; raw results are in [results/kinds](results/kinds).

- *classical*: random rotation of 15 degrees, shift and scaling of 10 %; for colour brightness and contrast by 20 %.
- *trivialaugment*, *randaugment*, *augmix*: torchvision's, with its defaults. *mixup* and *cutmix*: beside classical.
- *ours*: `VAEAugmentedDataset(train_ds)` with nothing set. *moves*: the same without the VAE.
- *regret*: the accuracy of the best arm in the row, less that of ours.
"""


FAMILIES_HEAD = """
## What tells kinds apart

Families of moves, each on 85 % of the images and without a VAE: log-loss of held-out images over none, on five folds of
the training images, by which `fit` chooses, and balanced accuracy on the test set, which it does not see. Means of the
seeds there are; the standard error is one seed's. Made by `python -m tests.benchmarks.families`.
"""


class Row(NamedTuple):
    """A cell at one length of training."""

    cell: str
    steps: str
    seeds: dict[str, dict[str, Any]]  # of each seed, results by arm

    def accuracies(self, arm: str, recipe: int) -> dict[str, float]:
        """Accuracy by seed of an arm, where it was run."""
        found = {}
        for seed, record in self.seeds.items():
            results = record.get(arm, record.get(f"{arm}@{recipe}", {}))
            if self.steps in results:
                found[seed] = results[self.steps]
        return found

    def over(self, arm: str, other: str, recipe: int) -> Difference | None:
        ours, theirs = self.accuracies(arm, recipe), self.accuracies(other, recipe)
        pairs = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
        return paired_difference(pairs) if len(pairs) > 1 else None

    def regret(self, recipe: int) -> float | None:
        """Points that the best arm is above ours, over the seeds that both have; 0 where ours is the best."""
        differences = [0.0]
        ours = self.accuracies("ours", recipe)
        for arm in ARMS:
            other = self.accuracies(arm, recipe)
            if pairs := [other[seed] - ours[seed] for seed in ours if seed in other]:
                differences.append(fmean(pairs))
        return max(differences) if ours else None


def rows(results: Path) -> Iterator[Row]:
    for path in sorted(results.glob("*.json"), key=lambda path: _order(path.stem)):
        content = json.loads(path.read_text())
        for steps in ("600", "2400"):
            yield Row(content["cell"], steps, content["seeds"])


def _order(cell: str) -> tuple[str, int]:
    kind, _, count = cell.rpartition("-")
    return kind, int(count)


def summary(all_rows: list[Row], recipe: int) -> list[str]:
    """A line of the first table: regrets, and cells in which ours does harm."""
    regrets = [regret for row in all_rows if (regret := row.regret(recipe)) is not None]
    if not regrets:
        return []
    harmed = []
    for other in ("none", "classical"):
        compared = [d for row in all_rows if (d := row.over("ours", other, recipe)) is not None]
        harmed.append(f"{sum(d.high < 0 for d in compared)} of {len(compared)}")
    return [f"recipe {recipe}", str(len(regrets)), f"{fmean(regrets):.1f}", f"{max(regrets):.1f}", *harmed]


def _figure(values: dict[str, float], best: float) -> str:
    if not values:
        return "-"
    mean = fmean(values.values())
    return f"**{mean:.1f}**" if mean >= best else f"{mean:.1f}"


def _line(row: Row) -> list[str]:
    figures = [row.accuracies(arm, RECIPE) for arm in ARMS]
    best = max((fmean(values.values()) for values in figures if values), default=0.0)
    regret = row.regret(RECIPE)
    return [
        *(row.cell, row.steps, str(max(map(len, figures)))),
        *(_figure(values, best) for values in figures),
        *("-" if regret is None else f"{regret:.1f}",),
        *(str(row.over("ours", other, RECIPE) or "-") for other in ("none", "classical", "moves")),
    ]


def family_sections(results: Path) -> Iterator[str]:
    """A table for each cell: log-loss on folds of the training images beside accuracy on the test set."""
    for path in sorted(results.glob("*.json"), key=lambda path: _order(path.stem)):
        seeds = list(json.loads(path.read_text())["seeds"].values())
        lines = []
        for name in seeds[0]:
            found = [record[name] for record in seeds if name in record]
            loss, error, tested = (fmean(each[key] for each in found) for key in ("log_loss", "error", "accuracy"))
            lines.append([name, f"{loss:+.3f} ({error:.3f})", f"{tested:.1f}"])
        heads = [path.stem, "log-loss on folds (se)", "test accuracy"]
        yield tabulate(lines, heads, tablefmt="github", disable_numparse=True) + "\n"


def write_page(results: Path, page: Path) -> None:
    """Write the page from what is there."""
    all_rows = list(rows(results))
    heads = ["", "rows", "mean regret", "worst", "significantly below none", "below classical"]
    lines = [line for recipe in (BEFORE, RECIPE) if (line := summary(all_rows, recipe))]
    columns = ["cell", "steps", "seeds", *ARMS, "regret", "ours over none", "over classical", "over moves"]
    parts = [INTRODUCTION, "## In short\n", tabulate(lines, heads, tablefmt="github")]
    parts += ["\n## Cells\n", tabulate(map(_line, all_rows), columns, tablefmt="github", disable_numparse=True)]
    parts += [FAMILIES_HEAD, *family_sections(FAMILY_RESULTS)]
    page.write_text("\n".join(parts) + "\n")
