"""Findings of opening every image of a dataset, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vae_augment.cli.messages import counted
from vae_augment.printable import printable, shortened

if TYPE_CHECKING:
    from vae_augment.config import FitConfig
    from vae_augment.data import Examined, OpenedData

LISTED = 20  # problems


def report(found: Examined) -> str:
    """A table of the classes, the problems, and the images that a fit would see."""
    from tabulate import tabulate

    rows = [(shortened(name), *rest) for name, *rest in found.rows()]
    headers = ("class", "images", "sizes (width x height)", "modes", "problems")
    table = tabulate(rows, headers, disable_numparse=True, colalign=("left", "right", "left", "left", "right"))
    parts = [table, *map(printable, found.notes), problem_list(found)]
    if found.shape is not None:
        channels, height, width = found.shape
        classes = sum(bool(each.images) for each in found.classes.values())
        seen = f"{counted(len(found.good), 'image')} of {counted(classes, 'class')}"
        parts.append(f"A fit would see {seen}, each as {channels} x {height} x {width}.")
    return "\n\n".join(part for part in parts if part)


def problem_list(found: Examined) -> str:
    """The first twenty problems, a line each; "" if there are none."""
    if not found.problems:
        return ""
    lines = [f"  {printable(str(problem))}" for problem in found.problems[:LISTED]]
    if len(found.problems) > LISTED:
        lines.append(f"  and {len(found.problems) - LISTED:,} more")
    return "\n".join([f"{counted(len(found.problems), 'problem')}:", *lines])


def without_problems(opened: OpenedData, config: FitConfig) -> tuple[OpenedData, int]:
    """The data without the items that cannot be used, which are listed on stderr; and the number of problems."""
    from vae_augment.data import examine
    from vae_augment.exceptions import DataWarning, warn

    found = examine(opened, config)
    if found.problems:
        click.echo(f"{problem_list(found)}\n", err=True)
        count, left = counted(len(found.problems), "problem"), counted(len(found.good), "image")
        said = f"{count}: what cannot be used is left out, {left} remain{'s' * (len(found.good) == 1)}."
        warn(said, DataWarning)
    return found.usable(), len(found.problems)
