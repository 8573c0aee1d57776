"""Pictures made of tiles: blocks of images side by side, with titles and labels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vae_augment.images import to_float, to_uint8
from vae_augment.raw import match_channels

TILE = 40  # smallest side of a tile in the picture, in pixels
GAP, MARGIN, TEXT = 2, 12, 13
NAME_WIDTH = 180  # pixels of a class name
NO_CHARACTER = "\uffff"  # which no font draws
INK, PAPER = (40, 40, 40), (255, 255, 255)


@dataclass(frozen=True)
class Block:
    """Rows of images under a title.

    Args:
        title: above them.
        images: of each row, uint8 or float in [0, 1], [C, H, W] each; the first are at the left.
        labels: of each row, at its left; none: no room for them either.
        heads: above each column.
        captions: of each row, beneath each image.
    """

    title: str
    images: Sequence[Sequence[Tensor] | Tensor]
    labels: Sequence[str] = ()
    heads: Sequence[str] = ()
    captions: Sequence[Sequence[str]] = ()

    @property
    def columns(self) -> int:
        return max(map(len, self.images))


def side_by_side(blocks: Sequence[Block], tile: int, *, title: str = "") -> Image.Image:
    """Blocks of equally many rows as an RGB image.

    Args:
        blocks: from left to right.
        tile: longer side of each image, in pixels; they are enlarged or reduced to it.
        title: above all of it.
    """
    letters = font()
    heading = (TEXT + MARGIN) * bool(title)
    heads = TEXT + GAP if any(block.heads for block in blocks) else 0
    height = tile + GAP + (TEXT + 2 * GAP if any(block.captions for block in blocks) else 0)  # of a row
    top = MARGIN + heading + TEXT + MARGIN + heads
    left, starts = MARGIN, []
    for block in blocks:
        widest = max((letters.getlength(label) for label in block.labels), default=0)
        starts.append(left + round(widest) + MARGIN * bool(block.labels))
        left = starts[-1] + block.columns * (tile + GAP) + MARGIN
    width = max(left, 2 * MARGIN + round(letters.getlength(title)))
    sheet = Image.new("RGB", (width, top + len(blocks[0].images) * height + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN), title, INK, letters)
    left = MARGIN
    for block, start in zip(blocks, starts, strict=True):
        pen.text((start, MARGIN + heading), block.title, INK, letters)
        for column, head in enumerate(block.heads):
            pen.text((start + column * (tile + GAP) + tile // 2, top - heads), head, INK, letters, anchor="ma")
        for row, label in enumerate(block.labels):
            pen.text((left, top + row * height + (tile - TEXT) // 2), label, INK, letters)
        for row, images in enumerate(block.images):
            for column, image in enumerate(images):
                sheet.paste(enlarged(image, tile), (start + column * (tile + GAP), top + row * height))
        for row, captions in enumerate(block.captions):
            for column, caption in enumerate(captions):
                place = (start + column * (tile + GAP) + tile // 2, top + row * height + tile + GAP)
                pen.text(place, caption, INK, letters, anchor="ma")
        left = start + block.columns * (tile + GAP) + MARGIN
    return sheet


def png(image: Image.Image) -> bytes:
    """A PNG file's content."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def font() -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has the letters of most alphabets."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), TEXT)


def drawable(name: str, letters: ImageFont.FreeTypeFont, width: int = NAME_WIDTH) -> str:
    """A class name with what a font cannot draw escaped, left out in the middle where it is wider than some pixels."""
    missing = bytes(letters.getmask(NO_CHARACTER))
    parts = [
        c if c.isprintable() and bytes(letters.getmask(c)) != missing else c.encode("unicode_escape").decode()
        for c in (name if len(name) <= 2 * width else name[:width] + name[-width:])
    ]
    if letters.getlength("".join(parts)) <= width and len(parts) == len(name):
        return "".join(parts)
    half = (width - letters.getlength("…")) / 2
    return f"{''.join(_within(parts, half, letters))}…{''.join(_within(parts[::-1], half, letters)[::-1])}"


def _within(parts: list[str], width: float, letters: ImageFont.FreeTypeFont) -> list[str]:
    """The first of the parts, that take at most so many pixels."""
    for count, part in enumerate(parts):
        width -= letters.getlength(part)
        if width < 0:
            return parts[:count]
    return parts


def enlarged(image: Tensor, side: int) -> Image.Image:
    """An image [C, H, W], uint8 or float in [0, 1], in colours, whose longer side has so many pixels."""
    rgb = to_uint8(match_channels(to_float(image), 3)).permute(1, 2, 0).numpy()
    height, width = rgb.shape[:2]
    scale = side / max(height, width)
    smooth = Image.Resampling.BICUBIC
    return Image.fromarray(np.ascontiguousarray(rgb)).resize((round(width * scale), round(height * scale)), smooth)
