"""docs/what_helps.md, made from the raw results of tests.benchmarks.ideas."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

from tabulate import tabulate

from vae_augment.statistics import paired_difference

TITLES = {
    "mnist-10": "MNIST, 10 images a class",
    "mnist-50": "MNIST, 50 images a class",
    "mnist-long-tail": "Long-tailed MNIST, 4000 to 40 images a class, balanced accuracy",
    "mnist-short-tail": "Short-tailed MNIST, 100 to 5 images a class, balanced accuracy",
    "sign-digits-10": "Sign digits, 64x64 colour photographs, 10 images a class",
}
INTRODUCTION = """# What helps, and what does not

Each idea makes a share of every batch; the same small CNN is trained from the same weights on the same images in the
same order. Differences are in points of held-out accuracy, paired by seed, with 95 % intervals of Student's t. All
images are of the training data: the defaults were chosen by such figures, [results](results.md) are of the test sets.
Made by `python -m tests.benchmarks.ideas`; raw results are in [results](results).
"""


READING = """## Reading

- Moves come first: slanting and bending digits is worth more than anything drawn from a VAE, alone and beside classical
  augmentation. On the test sets of digits ours cannot be told from its moves alone; on ten photographs a class latent
  jitter adds to them ([results](results.md), rows *moves* and *moves+classical*).
- Drawing from the prior or from posteriors, or half-way between two images of a class, is behind jitter around images.
- Where classes are unequal nothing is clearly better than classical augmentation as long as the numbers stay so, and
  the means are the lower, the more often rare classes are moved. Filling the rare classes up does help
  ([results](results.md), *balanced*).
"""


def section(title: str, content: dict) -> str:
    rows = []
    for name, results in content.items():
        columns = []
        for beside, accuracies in results.items():
            base = content["nothing"][beside]
            both = sorted(set(accuracies) & set(base))
            if name == "nothing":
                columns.append(f"{fmean(accuracies.values()):.1f} %")
            else:
                columns.append(str(paired_difference([accuracies[s] - base[s] for s in both])) if both else "")
        rows.append((name, *columns, max(map(len, results.values()))))
    first, rest = rows[0], sorted(rows[1:], key=lambda row: -gain(content, row[0]))
    return f"## {title}\n\n" + tabulate([first, *rest], ["idea", "alone", "with classical", "seeds"], "github") + "\n"


def gain(content: dict, name: str) -> float:
    """Mean difference beside classical augmentation."""
    ours, base = content[name]["with classical"], content["nothing"]["with classical"]
    return fmean([ours[s] - base[s] for s in ours if s in base] or [-100.0])


def write_page(results: Path, page: Path) -> None:
    sections = [INTRODUCTION]
    for cell, title in TITLES.items():
        path = results / f"ideas-{cell}.json"
        if path.exists():
            sections.append(section(title, json.loads(path.read_text())))
    page.write_text("\n".join([*sections, READING]))
