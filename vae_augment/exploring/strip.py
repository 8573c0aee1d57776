"""Frames of a morph side by side."""

from __future__ import annotations

import math

from torch import Tensor

from vae_augment.images.tiles import GAP, NAME_WIDTH, Block, drawable, font, png, side_by_side

ACROSS = 16  # tiles in a row at most
TILE = 64  # smallest side of a tile, in pixels


def strip_png(frames: Tensor, name_a: str, name_b: str) -> bytes:
    """Frames in rows of equal length, but perhaps for the last, under a title, as a PNG file's content.

    Args:
        frames: [T, C, H, W], uint8 or float in [0, 1].
        name_a: what the first frame shows.
        name_b: what the last shows.
    """
    tile = max(TILE, *frames.shape[2:])
    across = math.ceil(len(frames) / math.ceil(len(frames) / ACROSS))
    letters, between = font(), " to "
    room = (across * (tile + GAP) - math.ceil(letters.getlength(between))) // 2
    names = [drawable(name, letters, min(NAME_WIDTH, room)) for name in dict.fromkeys((name_a, name_b))]
    return png(side_by_side([Block(between.join(names), frames.split(across))], tile))
