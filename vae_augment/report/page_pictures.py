"""The pictures of a page: a few real, reconstructed, jittered and generated images of each class."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.bank.shown_images import COLUMNS, shown_images
from vae_augment.data.loading import FitData
from vae_augment.printable import shortened
from vae_augment.report.embedded import data_uri, shrunk, tiled

MOST_SHEETS = 100  # classes
MANY = 20  # classes; images of more are kept smaller
LOSSLESS_SIDE = 40  # pixels; larger colour images are compressed as photographs
LARGEST_OF_MANY = 64  # pixels


class Strip(NamedTuple):
    """Images of one kind, side by side: their kind, data: address, size in pixels, and a text in their place."""

    kind: str
    uri: str
    width: int
    height: int
    alt: str


class Sheet(NamedTuple):
    """The strips of a class."""

    name: str
    strips: list[Strip]


def pictures(bank: VAEBank, data: FitData | None, seed: int) -> list[Sheet]:
    """Sheets of the first hundred classes; without data they hold generated images alone."""
    sheets = []
    for info in bank.class_infos[:MOST_SHEETS]:
        name = shortened(info.name)
        of_class = None if data is None else data.of(info.label)
        images = of_class if of_class is not None and len(of_class) else None
        strips = [
            _strip(kind, batch, name, many=len(bank.classes) > MANY)
            for kind, batch in shown_images(bank, images, info.label, seed).items()
        ]
        sheets.append(Sheet(name, strips))
    return sheets


def _strip(kind: str, images: Tensor, name: str, *, many: bool) -> Strip:
    if many:
        images = shrunk(images, LARGEST_OF_MANY)
    sheet = tiled(images, COLUMNS)
    uri = data_uri(sheet, lossless=not many and max(images.shape[2:]) <= LOSSLESS_SIDE)
    return Strip(kind, uri, sheet.width, sheet.height, f"{len(images)} {kind} images of class {name}")
