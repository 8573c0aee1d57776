"""docs/kinds.md, made from the raw results of tests.benchmarks.kinds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from tabulate import tabulate

from tests.benchmarks.kinds_data import KINDS
from vae_augment.bank.policy import Policy
from vae_augment.evaluation.intervals import Difference, paired_difference
from vae_augment.fitting import RECIPE
from vae_augment.fitting.move_selection import choose_moves
from vae_augment.images.moves import FAMILIES

FAMILY_RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "families"
KIND_OF = {
    **dict.fromkeys(("mnist", "omniglot", "letters"), "drawings"),
    **dict.fromkeys(("magnetic-tiles", "stripes", "fashion-mnist", "faces", "surfaces"), "textures"),
}
THRESHOLDS = (4.0, 3.0, 2.0, 1.0)  # standard errors by which another family must be better than the first guess
BY_CHANNELS = {"grey": "elastic", "colour": "elastic-colour"}  # the first guess of recipe 12, with the amounts of today
LATEST = range(RECIPE, RECIPE - 4, -1)  # recipes, of which a row has the one that was run on most seeds
BEFORE = 12  # the recipe whose default went by the number of images and their channels alone
ARMS = (
    *("none", "classical", "trivialaugment", "randaugment", "augmix", "mixup+classical", "cutmix+classical"),
    *("moves", "ours", "ours+classical", "ours+trivialaugment"),
)
INTRODUCTION = """# Kinds of data

Our default beside the arms that people would pick, on kinds of data that have little in common: balanced accuracy on
whole test sets of one small CNN, trained for 600 and for 2,400 steps of 64 images. In every seed all arms train on the
same images, from the same initial weights, with the same batches. Differences are paired by seed, with 95 % intervals
of Student's t, where there are seeds enough. Cells, seeds and arms that are not listed, or "-", have not been run yet;
a number in brackets is the recipe of ours where the newest has been run on fewer seeds.
Made by `python -m tests.benchmarks.kinds`; raw results are in [results/kinds](results/kinds).

- *classical*: random rotation of 15 degrees, shift and scaling of 10 %; for colour brightness and contrast by 20 %.
- *trivialaugment*, *randaugment*, *augmix*: torchvision's, with its defaults. *mixup* and *cutmix*: beside classical.
- *ours*: `VAEAugmentedDataset(train_ds)` with nothing set. *moves*: the same without the VAE.
- *regret*: the accuracy of the best arm in the row, less that of ours. Recipe 12 went by number and channels alone.
"""


FAMILIES_HEAD = """
## What tells kinds apart

Families of moves, each on 85 % of the images and without a VAE: log-loss of held-out images over none, on folds of the
training images, by which `fit` chooses, and balanced accuracy on the test set, which it does not see. Means of the
seeds there are; the standard error is one seed's. In the first table the rule is made from all kinds but one and tried
on that one: its first guess by the test accuracies of the others of its sort (drawings, colour, other grey), and the
standard errors by which another family must be better by the regrets of all others (4, 3, 2 or 1, the most of equals).
`fit` itself has its first guesses from all kinds (elastic, combined, several), asks for three standard errors (one and
a half for another kind's guess in place of elastic), and leaves all but the best two and that one after two folds,
where this table has every family on all five.
Made by `python -m tests.benchmarks.families`.
"""


class Row(NamedTuple):
    """A cell at one length of training."""

    cell: str
    steps: str
    seeds: dict[str, dict[str, Any]]  # of each seed, results by arm

    @property
    def recipe(self) -> int:
        """This recipe, or one of the three before where ours was run on more seeds."""
        return max(LATEST, key=lambda recipe: len(self.accuracies("ours", recipe)))

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
        """Points that the best arm, of any recipe, is above ours over the seeds that both have, or 0."""
        ours = self.accuracies("ours", recipe)
        differences = [0.0]
        for arm in {name.partition("@")[0] for record in self.seeds.values() for name in record}:
            for each in (BEFORE, *LATEST):
                other = self.accuracies(arm, each)
                if pairs := [other[seed] - ours[seed] for seed in ours if seed in other]:
                    differences.append(fmean(pairs))
        return max(differences) if ours else None


def rows(results: Path) -> Iterator[Row]:
    for path in sorted(results.glob("*.json"), key=lambda path: _order(path.stem)):
        content = json.loads(path.read_text())
        for steps in ("600", "2400"):
            row = Row(content["cell"], steps, content["seeds"])
            if any(row.accuracies(arm, row.recipe) for arm in ARMS):
                yield row


def _kind(cell: str) -> str:
    return next(kind.name for kind in KINDS if cell.startswith(kind.name))


def _sort(cell: str) -> str:
    """The sort of data that decides the first guess."""
    return KIND_OF.get(_kind(cell), "photographs")


def _order(cell: str) -> tuple[str, int]:
    kind, _, count = cell.rpartition("-")
    return kind, int(count)


def summary(all_rows: list[Row], recipe: int, note: str = "") -> list[str]:
    """A line of the first table: regrets, and cells in which ours does harm."""
    pairs = [(row, row.recipe if recipe == RECIPE else recipe) for row in all_rows]
    regrets = [regret for row, each in pairs if (regret := row.regret(each)) is not None]
    if not regrets:
        return []
    harmed = []
    for other in ("none", "classical"):
        compared = [d for row, each in pairs if (d := row.over("ours", other, each)) is not None]
        harmed.append(f"{sum(d.high < 0 for d in compared)} of {len(compared)}")
    return [f"recipe {recipe}{note}", str(len(regrets)), f"{fmean(regrets):.1f}", f"{max(regrets):.1f}", *harmed]


def _figure(values: dict[str, float], best: float) -> str:
    if not values:
        return "-"
    mean = fmean(values.values())
    return f"**{mean:.1f}**" if mean >= best else f"{mean:.1f}"


def _line(row: Row) -> list[str]:
    recipe = row.recipe
    figures = [row.accuracies(arm, recipe) for arm in ARMS]
    best = max((fmean(values.values()) for values in figures if values), default=0.0)
    regret, cell = row.regret(recipe), row.cell if recipe == RECIPE else f"{row.cell} ({recipe})"
    return [
        *(cell, row.steps, str(max(map(len, figures)))),
        *(_figure(values, best) for values in figures),
        *("-" if regret is None else f"{regret:.1f}",),
        *(str(row.over("ours", other, recipe) or "-") for other in ("none", "classical", "moves")),
    ]


def _over(record: dict[str, Any], name: str, other: str) -> tuple[float, float]:
    """Log-loss of a family less another's, and its standard error; a file has each pair once."""
    if name == other:
        return 0.0, 0.0
    if other in record[name]["over"]:
        mean, error = record[name]["over"][other]
        return mean, error
    mean, error = record[other]["over"][name]
    return -mean, error


def _judged(results: Path) -> list[tuple[str, list[dict[str, Any]]]]:
    """Each cell's records of its seeds, where the log-losses are of the newest recipe there is."""
    paths = sorted(results.glob("*.json"), key=lambda path: _order(path.stem))
    contents = [json.loads(path.read_text()) for path in paths]
    newest = max(recipe for content in contents for recipe in content["recipes"].values())
    return [
        (content["cell"], seeds)
        for content in contents
        if (seeds := [content["seeds"][seed] for seed, recipe in content["recipes"].items() if recipe == newest])
    ]


def family_sections(results: Path) -> Iterator[str]:
    """A table for each cell: log-loss on folds of the training images beside accuracy on the test set."""
    for cell, seeds in _judged(results):
        lines = []
        for name in seeds[0]:
            found = [_over(record, name, "none") for record in seeds]
            loss, error = (fmean(values) for values in zip(*found, strict=True))
            tested = fmean(record[name]["accuracy"] for record in seeds)
            lines.append([name, f"{loss:+.3f} ({error:.3f})", f"{tested:.1f}"])
        heads = [cell, "log-loss on folds (se)", "test accuracy"]
        yield tabulate(lines, heads, tablefmt="github", disable_numparse=True) + "\n"


class Recorded:
    """A trial of moves whose log-losses, of all folds, are there already, for `choose_moves`."""

    folds, short = range(5), False  # cells of few images

    def __init__(self, record: dict[str, Any]) -> None:
        self._record = record

    def judge(self, policies: dict[str, Policy], folds: Iterable[int]) -> None:
        pass

    def over(self, name: str, other: str) -> tuple[float, float]:
        tried = name in self._record  # flips of some families were not
        return _over(self._record, name, other) if tried else (inf, 0.0)

    def best(self, names: list[str]) -> str:
        return min(names, key=lambda name: self.over(name, "none")[0])

    def over_chance(self, names: list[str]) -> tuple[float, float]:
        return 1.0, 0.0


def left_out(results: Path) -> str:
    """The rule made from all kinds but one, first guess and threshold, tried on that one; and elastic moves for all."""
    records = [(cell, record) for cell, seeds in _judged(results) for record in seeds]
    lines, regrets = [], []
    for cell, record in records:
        others = [(other, each) for other, each in records if _kind(other) != _kind(cell)]
        if not any(_sort(other) == _sort(cell) for other, _ in others):
            continue
        apart = min(THRESHOLDS, key=lambda apart: fmean(_regret(r, _chosen(r, others, c, apart)) for c, r in others))
        first, chosen = _first_guess(others, cell), _chosen(record, others, cell, apart)
        regrets.append([_regret(record, name) for name in (chosen, BY_CHANNELS[_channels(record)])])
        figures = [f"{value:.1f}" for value in (record[chosen]["accuracy"], *regrets[-1])]
        lines.append([cell, first, f"{apart:g}", chosen, *figures])
    if not regrets:
        return ""
    heads = ["cell", "first guess from other kinds", "standard errors", "chosen", "test accuracy", "regret"]
    means, worst = ([f"{each(column):.1f}" for column in zip(*regrets, strict=True)] for each in (fmean, max))
    lines += [["mean", *[""] * 4, *means], ["worst", *[""] * 4, *worst]]
    heads += ["regret of elastic moves for all"]
    return tabulate(lines, heads, tablefmt="github", disable_numparse=True) + "\n"


def _channels(record: dict[str, Any]) -> str:
    return "colour" if "elastic-colour" in record else "grey"


def _first_guess(records: list[tuple[str, dict[str, Any]]], cell: str) -> str:
    """The family with the best test accuracies in those of the records that are of the cell's sort."""
    alike = [record for other, record in records if _sort(other) == _sort(cell)]
    return min(FAMILIES[_channels(alike[0])], key=lambda name: fmean(_regret(record, name) for record in alike))


def _chosen(record: dict[str, Any], others: list[tuple[str, dict[str, Any]]], cell: str, apart: float) -> str:
    """The family that `fit` would choose, by a first guess from other records and a threshold."""
    trial: Any = Recorded(record)
    first = Policy(0.0, 0.85, moves=_first_guess(others, cell))
    return choose_moves(trial, first, FAMILIES[_channels(record)], apart=apart).moves


def _regret(record: dict[str, Any], name: str) -> float:
    """Points of test accuracy by which a family is below the best of those that were tried."""
    found = record[name]
    return max(each["accuracy"] for each in record.values()) - found["accuracy"]


def write_page(results: Path, page: Path) -> None:
    """Write the page from what is there."""
    all_rows = list(rows(results))
    heads = ["", "rows", "mean regret", "worst", "significantly below none", "below classical"]
    both = [row for row in all_rows if row.accuracies("ours", BEFORE) and row.accuracies("ours", row.recipe)]
    summaries = [summary(both, BEFORE), summary(both, RECIPE, ", the same rows"), summary(all_rows, RECIPE)]
    lines = [line for line in summaries if line]
    columns = ["cell", "steps", "seeds", *ARMS, "regret", "ours over none", "over classical", "over moves"]
    parts = [INTRODUCTION, "## In short\n", tabulate(lines, heads, tablefmt="github")]
    parts += ["\n## Cells\n", tabulate(map(_line, all_rows), columns, tablefmt="github", disable_numparse=True)]
    if any(FAMILY_RESULTS.glob("*.json")):
        parts += [FAMILIES_HEAD, left_out(FAMILY_RESULTS), *family_sections(FAMILY_RESULTS)]
    page.write_text("\n".join(parts) + "\n")
