"""Plots for a page: SVG in the page's colours, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from vae_augment.bank import VAEBank
from vae_augment.bank.content import POINTS
from vae_augment.fitting.learning_curve import ends
from vae_augment.images.colours import PALETTE, class_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Placeholders, which `svg` replaces with the page's colours.
INK, LINES, PAPER = "#010101", "#020202", "#030303"
ON_PAGE = {INK: "var(--ink)", LINES: "var(--line)", PAPER: "var(--paper)"}


@contextmanager
def page_style() -> Iterator[None]:
    """Set the colours of a page, and text that stays text, while figures are made for it."""
    import matplotlib

    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": LINES,
        "axes.facecolor": PAPER,
        "figure.facecolor": PAPER,
        "xtick.color": INK,
        "ytick.color": INK,
        "grid.color": LINES,
        "font.size": 10,
        "text.parse_math": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with matplotlib.rc_context(style):
        yield


def svg(figure: Figure, name: str) -> str:
    """A figure as an <svg> element in the page's colours and width; `name` must differ from figure to figure."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):  # the same bytes each time, and ids of its own
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # figures of one page would share these ids
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1 aria-hidden="true"', text, count=1)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    return re.sub("|".join(ON_PAGE), lambda found: ON_PAGE[found.group()], text)


def has_curves(bank: VAEBank) -> bool:
    """Tell if the bank holds a learning curve."""
    start = bank.content.start
    return bool(bank.content.curves.any()) or (start is not None and bool(start.curve.any()))


def learning_curves(bank: VAEBank) -> list[Figure]:
    """Reconstruction loss and KL divergence over the steps: the warm start in ink, each class in its colour."""
    from matplotlib.figure import Figure  # without pyplot, so that no window system is asked for

    figures = []
    for part, title in enumerate(("reconstruction loss, nats per value", "KL divergence, nats per image")):
        figures.append(Figure(figsize=(4.6, 3.2), layout="constrained"))
        axes = figures[-1].add_subplot()
        _draw_curves(axes, bank, part)
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel("steps")
        axes.grid(axis="y", linewidth=0.5)
        axes.set_axisbelow(True)
    return figures


def _draw_curves(axes: Axes, bank: VAEBank, part: int) -> None:
    start = bank.content.start
    if start is not None and bool(start.curve.any()):
        axes.plot(_steps(start.steps), start.curve[:, part].float(), color=INK)
    colours, width = class_colours(len(bank.classes)), 1.5 if len(bank.classes) <= len(PALETTE) else 0.7
    rows = zip(bank.class_infos, bank.content.curves, colours, strict=True)
    for row, (info, curve, colour) in enumerate(rows):
        if bool(curve.any()):
            begun = start.steps if start is not None and _went_on(bank, row) else 0
            steps = [begun + step for step in _steps(info.steps - begun)]
            axes.plot(steps, curve[:, part].float(), color=colour, linewidth=width)


def _went_on(bank: VAEBank, row: int) -> bool:
    """Tell if a class was tuned from the warm start that the bank keeps; in merged banks some had another."""
    start, weights = bank.content.start, bank.content.weights
    if start is None or bank.class_infos[row].steps < start.steps:
        return False
    return not weights.tuned or int(weights.base[row]) == 0


def _steps(steps: int) -> Sequence[float]:
    """Places of a curve's points: the middle of the steps that each is the mean over."""
    last = np.array([ends(point, steps) for point in range(POINTS)])
    places: list[float] = ((np.concatenate([[0], last[:-1]]) + last) / 2).tolist()
    return places
