"""A plot of an evaluation: the gain of each arm, with intervals."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from vae_augment.evaluation.result import Evaluation
from vae_augment.exceptions import check_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"none": "#767676", "classical": "#0b6e99"}
INCHES = (7.0, 1.3)  # width, and height without arms
INCHES_AN_ARM = 0.45


def differences_png(evaluation: Evaluation) -> bytes:
    """Paired differences over "none" and over "classical" with their 95 % intervals, as a PNG file's content."""
    figure = differences_figure(evaluation)
    figure.axes[0].set_title(evaluation.verdict, fontsize=9, loc="left", wrap=True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def differences_figure(
    evaluation: Evaluation,
    *,
    width: float = INCHES[0],
    ink: str = "black",
    lines: str = "#e0e0e0",
    colours: Mapping[str, str] = COLOURS,
) -> Figure:
    """The plot of `differences_png` as a figure without a title.

    Args:
        evaluation: with any arms.
        width: of the figure in inches.
        ink: the colour of the line at zero.
        lines: of the grid.
        colours: of differences over "none" and over "classical".
    """
    check_extra("report", "a plot of an evaluation", "matplotlib")
    from matplotlib.figure import Figure  # without pyplot, so that no window system is asked for

    arms = [row["arm"] for row in evaluation.rows if row["arm"] != "none"]
    figure = Figure(figsize=(width, INCHES[1] + INCHES_AN_ARM * len(arms)), layout="constrained")
    axes = figure.add_subplot()
    for offset, (over, colour) in zip((0.12, -0.12), colours.items(), strict=True):
        label = f"over {over}"
        for place, arm in enumerate(reversed(arms)):
            difference = evaluation.difference(arm, over)
            if difference is None:
                continue
            low = difference.mean if difference.low is None else difference.low
            high = difference.mean if difference.high is None else difference.high
            reach = [[difference.mean - low], [high - difference.mean]]
            axes.errorbar(difference.mean, place + offset, xerr=reach, fmt="o", color=colour, capsize=3, label=label)
            label = "_"  # one entry in the legend
    axes.axvline(0, color=ink, linewidth=0.8)
    axes.set_yticks(range(len(arms)), list(reversed(arms)))
    axes.set_ylim(-0.6, len(arms) - 0.4)
    axes.set_xlabel(f"difference of {evaluation.metric.replace('_', ' ')}, points, 95 % interval")
    axes.grid(axis="x", color=lines)
    axes.set_axisbelow(True)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)  # where it covers nothing
    return figure
