"""What opening every image of a dataset found, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vae_augment.printable import printable, shortened

if TYPE_CHECKING:
    from vae_augment.config import FitConfig
    from vae_augment.data import Examined, OpenedData

LISTED = 20  # problems


def report(found: Examined) -> str:
    """The table of classes, the problems, and what a fit would see."""
    from tabulate import tabulate

    rows = [(shortened(name), *rest) for name, *rest in found.rows()]
    headers = ("class", "images", "sizes (width x height)", "modes", "problems")
    table = tabulate(rows, headers, disable_numparse=True, colalign=("left", "right", "left", "left", "right"))
    parts = [table, *map(printable, found.notes), problem_list(found)]
    if found.shape is not None:
        channels, height, width = found.shape
        classes = sum(bool(seen.images) for seen in found.classes.values())
        parts.append(
            f"A fit would see {len(found.good):,} images of {classes} classes, each as {channels} x {height} x {width}."
        )
    return "\n\n".join(part for part in parts if part)


def problem_list(found: Examined) -> str:
    """A line a problem, of the first twenty; "" if there is none."""
    if not found.problems:
        return ""
    lines = [f"  {printable(str(problem))}" for problem in found.problems[:LISTED]]
    if len(found.problems) > LISTED:
        lines.append(f"  and {len(found.problems) - LISTED:,} more")
    count = len(found.problems)
    return "\n".join([f"{count:,} problem{'s' * (count > 1)}:", *lines])


def without_problems(opened: OpenedData, config: FitConfig) -> tuple[OpenedData, int]:
    """The data without what cannot be used, which is said; and how many problems there were."""
    from vae_augment.data import examine
    from vae_augment.exceptions import DataWarning, warn

    found = examine(opened, config)
    if found.problems:
        click.echo(f"{problem_list(found)}\n", err=True)
        left = len(found.good)
        warn(f"{len(found.problems):,} problems: what cannot be used is left out, {left:,} images remain.", DataWarning)
    return found.usable(), len(found.problems)
