"""One picture of a bank: a row per class of real, reconstructed, jittered and generated images."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.fit_data import FitData
from vae_augment.images import to_float, to_uint8
from vae_augment.raw import match_channels
from vae_augment.shown_images import COLUMNS, shown_images

MAX_ROWS = 100  # classes shown
TILE = 40  # smallest side of a tile in the picture, in pixels
GAP, MARGIN, TEXT = 2, 12, 13
NAME_WIDTH = 180  # pixels of a class name
NO_CHARACTER = "\uffff"  # which no font draws
INK, PAPER = (40, 40, 40), (255, 255, 255)


def contact_sheet(bank: VAEBank, data: FitData, *, seed: int = 0) -> Image.Image:
    """The sheet as an RGB image.

    Args:
        bank: a fitted bank.
        data: the images it was fitted on; the first few of each class, drawn by `seed`, are shown.
        seed: of the choice and the draws.
    """
    infos = bank.class_infos[:MAX_ROWS]
    rows = [shown_images(bank, data.of(info.label), info.label, seed) for info in infos]
    titles = list(rows[0])
    tile = max(TILE, *bank.image_shape[1:])
    font = _font()
    names = [_drawable(info.name, font) for info in infos]
    left = MARGIN + round(max(font.getlength(name) for name in names)) + MARGIN
    block = COLUMNS * (tile + GAP) + MARGIN
    top = MARGIN + TEXT + MARGIN
    sheet = Image.new("RGB", (left + len(titles) * block, top + len(rows) * (tile + GAP) + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        pen.text((left + column * block, MARGIN), title, INK, font)
    for r, (name, row) in enumerate(zip(names, rows, strict=True)):
        y = top + r * (tile + GAP)
        pen.text((MARGIN, y + (tile - TEXT) // 2), name, INK, font)
        for column, images in enumerate(row.values()):
            for c, image in enumerate(images):
                sheet.paste(_tile(image, tile), (left + column * block + c * (tile + GAP), y))
    return sheet


def contact_sheet_png(bank: VAEBank, data: FitData, *, seed: int = 0) -> bytes:
    """The sheet as a PNG file's content."""
    buffer = io.BytesIO()
    contact_sheet(bank, data, seed=seed).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _font() -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has the letters of most alphabets."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), TEXT)


def _drawable(name: str, font: ImageFont.FreeTypeFont) -> str:
    """A class name with what a font cannot draw escaped, left out in the middle where it is too wide."""
    missing = bytes(font.getmask(NO_CHARACTER))
    parts = [
        c if c.isprintable() and bytes(font.getmask(c)) != missing else c.encode("unicode_escape").decode()
        for c in (name if len(name) <= 2 * NAME_WIDTH else name[:NAME_WIDTH] + name[-NAME_WIDTH:])
    ]
    if font.getlength("".join(parts)) <= NAME_WIDTH and len(parts) == len(name):
        return "".join(parts)
    half = (NAME_WIDTH - font.getlength("…")) / 2
    return f"{''.join(_within(parts, half, font))}…{''.join(_within(parts[::-1], half, font)[::-1])}"


def _within(parts: list[str], width: float, font: ImageFont.FreeTypeFont) -> list[str]:
    """The first of the parts, that take at most so many pixels."""
    for count, part in enumerate(parts):
        width -= font.getlength(part)
        if width < 0:
            return parts[:count]
    return parts


def _tile(image: Tensor, side: int) -> Image.Image:
    rgb = to_uint8(match_channels(to_float(image), 3)).permute(1, 2, 0).numpy()
    height, width = rgb.shape[:2]
    scale = side / max(height, width)
    smooth = Image.Resampling.BICUBIC
    return Image.fromarray(np.ascontiguousarray(rgb)).resize((round(width * scale), round(height * scale)), smooth)
