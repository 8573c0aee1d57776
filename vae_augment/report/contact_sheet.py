"""One picture of a bank: a row per class of real, reconstructed, jittered and generated images."""

from __future__ import annotations

from PIL import Image

from vae_augment.bank import VAEBank
from vae_augment.bank.shown_images import shown_images
from vae_augment.data.loading import FitData
from vae_augment.images.tiles import TILE, Block, drawable, font, png, side_by_side

MAX_ROWS = 100  # classes shown


def contact_sheet(bank: VAEBank, data: FitData, *, seed: int = 0) -> Image.Image:
    """The sheet as an RGB image.

    Args:
        bank: a fitted bank.
        data: the images that it was fitted on; a few of each class are shown.
        seed: of the choice of images and of the draws.
    """
    infos = bank.class_infos[:MAX_ROWS]
    rows = [shown_images(bank, data.of(info.label), info.label, seed) for info in infos]
    letters = font()
    names = [drawable(info.name, letters) for info in infos]
    blocks = [Block(kind, [row[kind] for row in rows], () if place else names) for place, kind in enumerate(rows[0])]
    return side_by_side(blocks, max(TILE, *bank.image_shape[1:]))


def contact_sheet_png(bank: VAEBank, data: FitData, *, seed: int = 0) -> bytes:
    """The sheet as a PNG file's content."""
    return png(contact_sheet(bank, data, seed=seed))
