"""Pictures made of tiles: blocks of images side by side, with titles and labels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vae_augment.images.tensors import match_channels, to_float, to_uint8

TILE = 40  # least side of a tile, in pixels
GAP, MARGIN, TEXT = 2, 12, 13  # pixels
NAME_WIDTH = 180  # of a class name, in pixels
INK, PAPER = (40, 40, 40), (255, 255, 255)


@dataclass(frozen=True)
class Block:
    """Rows of images under a title.

    Args:
        title: text above the rows.
        images: images of each row, uint8 or float in [0, 1], [C, H, W] each.
        labels: text at the left of each row; without any there is no room for them either.
        heads: text above each column.
        captions: text beneath each image, row by row.
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
    """Draw blocks of equally many rows into an RGB image.

    Args:
        blocks: the blocks, from left to right.
        tile: longer side of each image in pixels, to which it is resized.
        title: text above the blocks.
    """
    letters = font()
    heading = MARGIN + (TEXT + MARGIN) * bool(title)
    top = heading + TEXT + MARGIN + (TEXT + GAP if any(block.heads for block in blocks) else 0)
    height = tile + GAP + (TEXT + 4 * GAP if any(block.captions for block in blocks) else 0)  # of a row
    edges = [MARGIN]
    for block in blocks:
        images = max(block.columns * (tile + GAP), round(letters.getlength(block.title)))
        edges.append(edges[-1] + _width_of_labels(block, letters) + images + MARGIN)
    width = max(edges[-1], 2 * MARGIN + round(letters.getlength(title)))
    sheet = Image.new("RGB", (width, top + len(blocks[0].images) * height + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN), title, INK, letters)
    for block, left in zip(blocks, edges, strict=False):
        pen.text((left + _width_of_labels(block, letters), heading), block.title, INK, letters)
        _draw(sheet, block, (left, top), tile, height, letters)
    return sheet


def _width_of_labels(block: Block, letters: ImageFont.FreeTypeFont) -> int:
    """Width of labels and the margin behind them."""
    return round(max(map(letters.getlength, block.labels))) + MARGIN if block.labels else 0


def _draw(
    sheet: Image.Image, block: Block, at: tuple[int, int], tile: int, height: int, letters: ImageFont.FreeTypeFont
) -> None:
    """Draw a block without its title, the label of its first row at a place, in rows of a height."""
    pen, (left, top) = ImageDraw.Draw(sheet), at
    start = left + _width_of_labels(block, letters)
    middles = [start + column * (tile + GAP) + tile // 2 for column in range(block.columns)]
    for middle, head in zip(middles, block.heads, strict=False):
        pen.text((middle, top - TEXT - 2 * GAP), head, INK, letters, anchor="ma")
    for row, label in enumerate(block.labels):
        pen.text((left, top + row * height + (tile - TEXT) // 2), label, INK, letters)
    for row, images in enumerate(block.images):
        for column, image in enumerate(images):
            sheet.paste(enlarged(image, tile), (start + column * (tile + GAP), top + row * height))
    for row, captions in enumerate(block.captions):
        for middle, caption in zip(middles, captions, strict=False):
            pen.text((middle, top + row * height + tile + GAP), caption, INK, letters, anchor="ma")


def png(image: Image.Image) -> bytes:
    """Encode a picture as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def font() -> ImageFont.FreeTypeFont:
    """Load DejaVu Sans, which comes with matplotlib and has letters of most alphabets, or Pillow's own font."""
    if find_spec("matplotlib") is None:
        return cast(ImageFont.FreeTypeFont, ImageFont.load_default(TEXT))
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), TEXT)


def drawable(name: str, letters: ImageFont.FreeTypeFont, width: int = NAME_WIDTH) -> str:
    """Class name with what a font cannot draw escaped; "…" stands for the middle of one wider than `width` pixels."""
    missing = bytes(letters.getmask("\uffff"))  # which no font draws
    parts = [
        c if c.isprintable() and bytes(letters.getmask(c)) != missing else c.encode("unicode_escape").decode()
        for c in (name if len(name) <= 2 * width else name[:width] + name[-width:])
    ]
    if letters.getlength("".join(parts)) <= width and len(parts) == len(name):
        return "".join(parts)
    half = (width - letters.getlength("…")) / 2
    return f"{''.join(_within(parts, half, letters))}…{''.join(_within(parts[::-1], half, letters)[::-1])}"


def _within(parts: list[str], width: float, letters: ImageFont.FreeTypeFont) -> list[str]:
    """The first parts that take at most `width` pixels together."""
    for count, part in enumerate(parts):
        width -= letters.getlength(part)
        if width < 0:
            return parts[:count]
    return parts


def enlarged(image: Tensor, side: int) -> Image.Image:
    """Resize an image [C, H, W], uint8 or float in [0, 1], to RGB with a longer side of `side` pixels."""
    rgb = to_uint8(match_channels(to_float(image), 3)).permute(1, 2, 0).numpy()
    height, width = rgb.shape[:2]
    scale = side / max(height, width)
    smooth = Image.Resampling.BICUBIC
    return Image.fromarray(np.ascontiguousarray(rgb)).resize((round(width * scale), round(height * scale)), smooth)
