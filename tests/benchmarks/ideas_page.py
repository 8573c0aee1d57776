"""docs/what_helps.md, made from the raw results of tests.benchmarks.ideas."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

from tabulate import tabulate

from vae_augment.evaluation.intervals import paired_difference

TITLES = {
    "mnist-10": "MNIST, 10 images a class",
    "mnist-50": "MNIST, 50 images a class",
    "mnist-50-closely": "MNIST, 50 images a class, 20,000 held out",
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


BY_HAND = "## Predictions\n"  # the first of the sections that are written by hand
READING = """## Reading

- Moves come first: slanting and bending digits is worth more than anything drawn from a VAE, alone and beside
  classical augmentation, and what may follow them on digits (jitter, erasing, thinned strokes) is within the noise.
  On ten photographs a class latent jitter adds to them ([results](results.md), rows *moves* and *moves+classical*);
  flips take away.
- Moved *elastically* is turned and slanted by up to 20 degrees, shifted by 10 %, scaled by 20 % and bent by 9 % of the
  sides. Turned, shifted and scaled half as far, as the default was for long, it is +0.8 instead of +0.6 beside
  classical augmentation, which does these already, at 50 images a class, and alone it is as good. With 20,000 images
  held out, all that was tried around it (farther, less far, bent more, bent less, moved more often, less often,
  jittered too) lies within 0.4 points. Photographs that are turned, shifted and scaled half as far gain three points
  less alone and no more beside it.
- The default jitters first and moves then, which needs no encoding and one decoding less of each image. In the tables
  most rows are moved first, as the default was; where both were measured they are as good.
- The policy moves 85 % of the items of classes of up to 100 images, and half of those of up to 1,000.
- What tells kinds of data apart, textures and scenes among them, and what does not: [kinds of data](kinds.md).
- Jitter around real images beats every way of drawing new ones: from the prior, a Gaussian, a mixture, a flow or the
  metric of posteriors. Draws from an image's own posterior and images half-way to another of the class are behind it
  too.
- How the jitter's covariance is made (of the class, of all classes, shrunk between them), how long classes are tuned,
  screening by a classifier or by the evidence bound, and a share that falls during training differ by less than these
  seeds can tell. A VAE that is trained on moved copies makes jitter better.
- Detail kept matters little without moves and much with them: on digits a moved image that is decoded anew loses most
  of what the move had gained.
- Few images of unequal classes gain as few of equal ones do. Of many, nothing is clearly better than classical
  augmentation as long as the numbers stay so. Bends cost accuracy beside it, the more of them the more, and no less
  where rare classes alone bend: they come to be known by it. So images are moved affinely there, a quarter of them,
  which is worth 1.3 points alone and nothing beside classical augmentation, which does the same.
- Filling the rare classes up helps most of all, and more if what is added is jittered than if images are repeated.
  Moved elastically as well, which common classes are not, it is worth less beside classical augmentation than moved
  affinely. Jittered before they are moved affinely, such images are worth more than moved alone: by 0.2 to 0.6 in each
  of nine pairs (three draws, three probabilities), as they are not where numbers stay unequal. So `fit` tries
  moves and the VAE on classes evened out, as those who need them will serve them. Tried as they were, 9,000 images in
  folds of 500 steps, rare classes were hardly learned: moves seemed to do nothing (log-loss +0.02 over none, standard
  error 0.02; evened out -0.05, 0.02: means of five draws), and on two of five draws none were chosen. Judged so briefly
  jitter is neither better nor worse than moves alone (log-loss -0.01 to +0.01, standard error 0.01), though after 1,500
  steps it is better, as above: where judges see the images fewer than ten times, the kind's jitter stands unless moves
  alone are better by three standard errors.
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
        seeds = sorted({len(accuracies) for accuracies in results.values()})
        rows.append((name, *columns, " to ".join(map(str, seeds))))
    first, rest = rows[0], sorted(rows[1:], key=lambda row: -gain(content, row[0]))
    return f"## {title}\n\n" + tabulate([first, *rest], ["idea", "alone", "with classical", "seeds"], "github") + "\n"


def gain(content: dict, name: str) -> float:
    """Mean difference beside classical augmentation."""
    ours, base = content[name]["with classical"], content["nothing"]["with classical"]
    return fmean([ours[s] - base[s] for s in ours if s in base] or [-100.0])


def write_page(results: Path, page: Path) -> None:
    """Write the tables and what is read from them; the sections after them, written by hand, stay."""
    _, by_hand, last = page.read_text().partition(BY_HAND) if page.exists() else ("", "", "")
    sections = [INTRODUCTION]
    for cell, title in TITLES.items():
        path = results / f"ideas-{cell}.json"
        if path.exists():
            sections.append(section(title, json.loads(path.read_text())))
    page.write_text("\n".join([*sections, READING]) + (f"\n{by_hand}{last}" if by_hand else ""))
