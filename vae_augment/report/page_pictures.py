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
MANY = 20  # classes, of more of which images are kept smaller
LOSSLESS_SIDE = 40  # pixels; larger colour images are kept as photographs are
LARGEST_OF_MANY = 64  # pixels


class Strip(NamedTuple):
    """Images of one kind, side by side: their kind, data: address, size in pixels, and text in place of them."""

    kind: str
    uri: str
    width: int
    height: int
    alt: str


class Sheet(NamedTuple):
    """The strips of a class."""

    name: str
    strips: list[Strip]


class Pictures(NamedTuple):
    """All sheets, what to know of them, and what is left out."""

    sheets: list[Sheet]
    text: str
    left_out: str


def pictures(bank: VAEBank, data: FitData | None, seed: int) -> Pictures:
    """Of the first hundred classes. Without data there are generated images alone."""
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
    text = (
        "Real images are from the data. Reconstructed is what a VAE keeps of them; jittered, what the wrapper serves "
        f"in their place{', before its moves' if bank.policy.mover else ''}; generated, new images of the class. "
        "What is blurred here is blurred in training."
        if data is not None
        else "New images of each class, drawn as the policy draws them. With --data the report shows real ones beside "
        "them, reconstructed and jittered."
    )
    more = len(bank.classes) - len(sheets)
    return Pictures(sheets, text, f"{more} more classes are not shown." if more > 0 else "")


def _strip(kind: str, images: Tensor, name: str, *, many: bool) -> Strip:
    if many:
        images = shrunk(images, LARGEST_OF_MANY)
    sheet = tiled(images, COLUMNS)
    uri = data_uri(sheet, lossless=not many and max(images.shape[2:]) <= LOSSLESS_SIDE)
    return Strip(kind, uri, sheet.width, sheet.height, f"{len(images)} {kind} images of class {name}")
