"""docs/results.md, made from the raw results of tests.benchmarks.usefulness."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, median, stdev

from tabulate import tabulate

from tests.benchmarks.unlabelled import gains
from vae_augment.evaluation.intervals import Difference, paired_difference

TITLES = {
    "mnist-10": "MNIST, 10 images a class",
    "mnist-50": "MNIST, 50 images a class",
    "mnist-200": "MNIST, 200 images a class",
    "mnist-long-tail": "Long-tailed MNIST (4000, 2000, 1000, 750, 500, 350, 200, 100, 60, 40 images)",
    "sign-digits-10": "Sign digits, 64x64 colour photographs, 10 images a class",
    "sign-digits-40": "Sign digits, 64x64 colour photographs, 40 images a class",
}
# (cell, arm, over which, points at least)
TARGETS = (
    ("mnist-10", "ours", "none", 7.0),
    ("mnist-10", "ours+classical", "classical", 2.0),
    ("mnist-50", "ours", "none", 1.5),
    ("mnist-50", "ours+classical", "classical", 0.7),
    ("mnist-200", "ours", "none", -0.1),
    ("mnist-200", "ours+classical", "classical", -0.1),
    ("sign-digits-10", "ours", "none", 10.0),
    ("sign-digits-10", "ours+classical", "classical", 3.0),
    ("mnist-long-tail", "ours", "none", 1.0),
    ("mnist-long-tail", "ours", "oversampling", 0.0),
    ("mnist-long-tail", "ours", "deepsmote", 0.0),
    ("mnist-long-tail", "balanced", "none", 1.0),
    ("mnist-long-tail", "balanced", "oversampling", 0.0),
    ("mnist-long-tail", "balanced", "deepsmote", 0.0),
)
BARE = ("trivialaugment", "randaugment")  # in place of classical augmentation
PEERS = (*BARE, *("oversampling", "mixup", "smote", "deepsmote"), *("pythae-normal", "pythae-gmm", "pyraug-rhvae"))
MOST_BELOW = 0.3  # points that ours may lose on classical augmentation on average, in any cell
INTRODUCTION = """# Results

Held-out accuracy of one small CNN (three convolutions of 16, 32 and 64 channels) trained with and without augmentation.
In every seed all arms train on the same images, from the same initial weights, with the same batches, for the same
number of steps. Test sets are whole. Differences are paired by seed, with 95 % intervals of Student's t.
Made by `python -m tests.benchmarks.usefulness`; the raw results are in [results](results).

- *classical*: random rotation of 15 degrees, shift and scaling of 10 %; for colour brightness and contrast by 20 %.
- *ours*: `VAEAugmentedDataset(train_ds)` with nothing set. *balanced*: with `sampling_strategy="not majority"`.
- *moves*: ours without the VAE: the images moved as our policy moves them, as often, and nothing else.
- *textbook*: a VAE per class from random weights, half of each batch drawn from the prior.
- *trivialaugment*, *randaugment*: torchvision's, with its defaults.
- *mixup* with alpha 0.2; *oversampling*: every class as often in a batch as any other.
- *smote*, *deepsmote*, *pythae*, *pyraug*: half of each batch from 300 images a class that the peer made; in the long
  tail as many as balance the classes. Their own packages with their defaults, but for pythae's learning
  rate, which is ten times its default because that is better here; DeepSMOTE is written from the paper.

Banks are of the recipe that a cell names: a number that rises when `fit` comes to make another bank of the same data.
Other kinds of data are in [kinds](kinds.md).
"""
UNRECORDED = 7  # recipe of the rounds before it was written down

OTHER_IMAGES = """## Images that the classifier has no labels of

Balanced accuracy with unlabelled images, or with somebody else's bank that has seen others: *generated* serves labelled
images and what the VAEs make of all, *ours* the unlabelled ones too, *pseudo* labelled and unlabelled ones without a
VAE. More is in [images without labels](unlabelled.md).
"""

COST = """## Cost

Seconds to fit all classes, the choice of our policy included, and for the peers to draw from them: on one thread of a
CPU, the median, and of how many seeds.
"""


def difference(seeds: dict, arm: str, over: str, metric: str) -> Difference | None:
    pairs = [
        (record["arms"][arm][metric], record["arms"][over][metric])
        for record in seeds.values()
        if arm in record["arms"] and over in record["arms"]
    ]
    return paired_difference([a - b for a, b in pairs]) if pairs and arm != over else None


def cell_section(name: str, content: dict) -> str:
    seeds, metric = content["seeds"], metric_of(content)
    arms = sorted({arm for record in seeds.values() for arm in record["arms"]}, key=order)
    rows = []
    for arm in arms:
        values = [record["arms"][arm][metric] for record in seeds.values() if arm in record["arms"]]
        spread = f" +- {stdev(values):.1f}" if len(values) > 1 else ""
        recipe = arm.endswith("classical")
        columns = [difference(seeds, arm, over, metric) for over in ("none", "classical")]
        ours = difference(seeds, "ours+classical" if recipe else "ours", arm, metric)
        shown = [str(d or "") for d in (*columns, None if arm in ("none", "classical") else ours)]
        rows.append([arm, f"{fmean(values):.2f}{spread}", *shown, len(values)])
    headers = ["arm", metric.replace("_", " ") + " %", "over none", "over classical", "ours over it", "seeds"]
    recipes = sorted({record.get("recipe", {}).get("ours", UNRECORDED) for record in seeds.values()})
    made = f"{content['steps']} steps; banks of recipe {' and '.join(map(str, recipes))}."
    return f"## {TITLES[name]}\n\n{made}\n\n" + tabulate(rows, headers, "github") + "\n"


def order(arm: str) -> tuple[bool, str]:
    first = ("none", "classical", "ours", "ours+classical", "moves", "moves+classical")
    return arm not in first, f"{first.index(arm):02}" if arm in first else arm


def metric_of(content: dict) -> str:
    return "accuracy" if len(set(content["counts"])) == 1 else "balanced_accuracy"


def targets_section(contents: dict[str, dict]) -> str:
    rows = []
    for name, arm, over, least in TARGETS:
        if name not in contents:
            continue
        found = difference(contents[name]["seeds"], arm, over, metric_of(contents[name]))
        if found is not None:
            verdict = "met" if found.mean >= least else "missed"
            rows.append([TITLES[name].split(" (")[0], f"{arm} over {over}", f"{least:+.1f}", str(found), verdict])
    return "## Targets\n\n" + tabulate(rows, ["cell", "difference", "target", "measured", ""], "github") + "\n"


def bounds_section(contents: dict[str, dict]) -> str:
    """Beside classical augmentation: what ours does to it in every cell, and where it stands against the peers."""
    rows = []
    for name, content in contents.items():
        balanced = metric_of(content) == "accuracy"
        for ours in ("ours+classical",) if balanced else ("ours+classical", "balanced+classical"):
            over = difference(content["seeds"], ours, "classical", metric_of(content))
            if over is None:
                continue
            kept = over.mean >= -MOST_BELOW and not over.below
            rows.append([TITLES[name].split(" (")[0], ours, f"{over}: {'kept' if kept else 'missed'}"])
            rows[-1] += [", ".join(found) or "none" for found in against_peers(content, ours)]
    headers = ["cell", "arm", f"over classical, at least -{MOST_BELOW}", "clearly above it", "not clearly below it"]
    return "## Bounds\n\n" + tabulate(rows, headers, "github") + "\n"


def against_peers(content: dict, ours: str) -> tuple[list[str], list[str]]:
    """The peers whose 95 % interval lies above ours, and those whose interval does not lie below it."""
    above, near = [], []
    for peer in PEERS:
        other = peer if peer in BARE else f"{peer}+classical"
        found = difference(content["seeds"], ours, other, metric_of(content))
        if found is not None and found.below:
            above.append(peer)
        elif found is not None and not found.above:
            near.append(peer)
    return above, near


def cost_section(contents: dict[str, dict]) -> str:
    """What it takes to fit and draw, as a median over seeds."""
    methods: list[str] = []
    medians: dict[tuple[str, str], float] = {}
    shown = {}
    for name, content in contents.items():
        seconds = [record.get("fit_seconds", {}) for record in content["seeds"].values()]
        for method in (method for record in seconds for method in record):
            found = [record[method] for record in seconds if method in record]
            medians[name, method] = median(found)
            shown[name, method] = f"{median(found):.0f} ({len(found)})"
            methods += [method] if method not in methods else []
    rows = [[TITLES[n].split(" (")[0], *(shown.get((n, m), "") for m in methods)] for n in contents]
    table = tabulate(rows, ["cell", *methods], "github")
    return "\n".join([COST, table, *slowest(medians)]) + "\n"


def slowest(medians: dict[tuple[str, str], float]) -> list[str]:
    """What the slowest peer would take for all of MNIST, from its rate between 10 and 50 images a class."""
    few, several = (medians.get((cell, "pyraug-rhvae")) for cell in ("mnist-10", "mnist-50"))
    if few is None or several is None:
        return []
    hours = (several + (several - few) / 40 * (6_000 - 50)) / 3_600
    return [
        "",
        f"pyraug would take {hours:.0f} hours for the 6,000 images a class of all of MNIST, if no more than linearly.",
    ]


def write_page(results: Path, page: Path) -> None:
    contents = {
        name: json.loads((results / f"{name}.json").read_text())
        for name in TITLES
        if (results / f"{name}.json").exists()
    }
    sections = [
        INTRODUCTION,
        targets_section(contents),
        bounds_section(contents),
        cost_section(contents),
        f"{OTHER_IMAGES}\n{gains()}\n",
        *(cell_section(n, c) for n, c in contents.items()),
    ]
    page.write_text("\n".join(sections))
