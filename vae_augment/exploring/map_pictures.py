"""Maps of codes: points of a plane, coloured by class, and named where a class has most of them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vae_augment.exceptions import check_extra
from vae_augment.images.colours import class_colours
from vae_augment.images.tiles import TEXT, drawable, font

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FONT = "DejaVu Sans"  # the font that `drawable` measures
LIGHT = 140  # luminance, of 255, from which letters on a colour are black
LINE = 1.65  # distance of two names, in heights of letters
NAME_WIDTH = 90  # pixels of a class name
INCHES, INCHES_OF_MANY, DPI, COLUMNS = 5.5, 9.0, 110, 2
MANY = 25  # classes; maps of more are larger, and their names smaller and not moved apart


def maps_png(names: Sequence[str], rows: Tensor, maps: Mapping[str, Tensor]) -> bytes:
    """Maps side by side, two in a line, as a PNG file's content.

    Args:
        names: names of the classes.
        rows: int64 [N], the class of each point.
        maps: points [N, 2], by the title of the map.
    """
    check_extra("report", "a map of latents", "matplotlib")
    from matplotlib.figure import Figure  # without pyplot, which asks for a window system

    lines, inches = -(-len(maps) // COLUMNS), INCHES if len(names) <= MANY else INCHES_OF_MANY
    figure = Figure(figsize=(inches * min(COLUMNS, len(maps)), inches * lines), dpi=DPI, layout="constrained")
    for place, (title, points) in enumerate(maps.items()):
        axes = figure.add_subplot(lines, min(COLUMNS, len(maps)), place + 1)
        _draw(axes, names, rows, points)
        axes.set_title(title, fontsize=10, loc="left", family=FONT)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw(axes: Axes, names: Sequence[str], rows: Tensor, points: Tensor) -> None:
    colours = class_colours(len(names))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))  # so that no class covers the others
    x, y = points[order].T.tolist()
    size = 40 / max(1.0, (len(rows) / 100) ** 0.5)
    axes.scatter(x, y, size, c=[colours[row] for row in rows[order].tolist()], alpha=0.7, linewidths=0)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.06)
    for spine in axes.spines.values():
        spine.set_color("#b0b0b0")
    _name(axes, names, {row: centre(points[rows == row]) for row in rows.unique().tolist()})


def _name(axes: Axes, names: Sequence[str], centres: Mapping[int, Tensor]) -> None:
    """Write each class's name at its centre, in its colour; of few classes, moved up or down to cover no other name."""
    letters, points = font(), 6.0 if len(names) > MANY else 8.0
    scale = points * DPI / 72 / TEXT  # ratio of the written size to the one that `letters` measures
    axes.apply_aspect()
    colours = class_colours(len(names))
    taken: list[tuple[float, float, float]] = []  # x and y of the middle, half the width
    for row, middle in sorted(centres.items(), key=lambda item: item[1].tolist()[::-1]):
        text, colour = drawable(names[row], letters, NAME_WIDTH), colours[row]
        x, y = axes.transData.transform(middle.tolist())
        if len(names) <= MANY:
            half = (letters.getlength(text) + TEXT) * scale / 2
            y = _free(x, y, half, LINE * TEXT * scale, taken)
            taken.append((x, y, half))
        x, y = axes.transData.inverted().transform((x, y))
        axes.text(
            x,
            y,
            text,
            size=points,
            family=FONT,
            ha="center",
            va="center",
            color="black" if _is_light(colour) else "white",
            bbox={"boxstyle": "round,pad=0.2", "facecolor": colour, "edgecolor": "white", "linewidth": 0.8},
            parse_math=False,
        )


def _free(x: float, y: float, half: float, height: float, taken: Sequence[tuple[float, float, float]]) -> float:
    """The y nearest to the wanted one at which a name covers none that is written."""
    near = [at for middle, at, width in taken if abs(middle - x) < width + half]
    wanted = [y, *(at + height for at in near), *(at - height for at in near)]
    fits = [place for place in wanted if all(abs(place - at) >= height - 1e-6 for at in near)]
    return min(fits, key=lambda place: abs(place - y))


def _is_light(colour: str) -> bool:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue > LIGHT


def centre(points: Tensor) -> Tensor:
    """The point [2] of points [N, 2] nearest to their medians: it lies in a group where there are two far apart."""
    medians = points.median(0).values
    return points[(points - medians).square().sum(1).argmin()]
