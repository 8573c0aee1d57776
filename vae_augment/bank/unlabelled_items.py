"""Unlabelled images that a fit took for images of a class, to be served as items of it."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from vae_augment.bank.bank import VAEBank
from vae_augment.data.source import Source
from vae_augment.data.unlabelled import Unlabelled
from vae_augment.images.conversion import channels_of, size_of
from vae_augment.images.tensors import as_float, match_channels, resize


class UnlabelledItems:
    """The images of an unlabelled dataset that a bank's fit took for images of a class.

    Args:
        bank: fitted with these unlabelled images.
        unlabelled: the same images, in the same order.
        known: they are the same, and need not be compared with what the bank says of them.

    Raises:
        ValueError: the bank was fitted without unlabelled images, or with others.
    """

    def __init__(self, bank: VAEBank, unlabelled: Unlabelled, *, known: bool) -> None:
        found, places = bank.data.get("unlabelled"), bank.content.unlabelled
        if found is None or places is None:
            raise ValueError("the bank was fitted without unlabelled images; give them to fit, or leave bank out.")
        if not known and found.get("content") != unlabelled.content:
            raise ValueError(
                "unlabelled must hold the images that the bank was fitted with, in their order, got others (or some "
                "that differ each time they are read)."
            )
        if len(places) and int(places.max()) >= len(unlabelled):
            raise ValueError(f"the bank was fitted with more unlabelled images than {len(unlabelled)}.")
        self._source = unlabelled.source
        own = dict(zip(found["adopted"], places.split(list(found["adopted"].values())), strict=True))
        self._places = [own.get(name, places[:0]) for name in bank.classes]  # of each class position
        self.counts = {label: len(self._places[row]) for label, row in bank.row_of.items()}

    def image(self, row: int, chosen: float, like: Any) -> Tensor:
        """One of the images of a class, with the channels and the size of another one.

        Args:
            row: the class position in the bank.
            chosen: in [0, 1), picks the image.
            like: a raw image. The other one is scaled until it covers its size, and cropped around the middle.

        Returns:
            float32 [C, H, W] in [0, 1].
        """
        places = self._places[row]
        index = int(places[int(chosen * len(places))])
        pixels = as_float(self._source.pixels(index, self._source.raw(index).image))  # [c, h, w]
        pixels, (height, width) = match_channels(pixels, channels_of(like)), size_of(like)
        scale = max(height / pixels.shape[1], width / pixels.shape[2])
        covering = (max(height, math.ceil(pixels.shape[1] * scale)), max(width, math.ceil(pixels.shape[2] * scale)))
        scaled = resize(pixels[None], covering)[0]
        top, left = (covering[0] - height) // 2, (covering[1] - width) // 2
        return scaled[:, top : top + height, left : left + width]


def unlabelled_items(
    bank: VAEBank, unlabelled: Unlabelled | None, source: Source, *, fitted: bool
) -> UnlabelledItems | None:
    """The unlabelled images to serve beside a dataset, or None.

    Args:
        bank: fitted with the images.
        unlabelled: None if none are given.
        source: the dataset, whose values of black and white hold.
        fitted: True if the bank was fitted with these very images just now. It was not if all of them are the
            dataset's own.
    """
    if unlabelled is None or (fitted and bank.content.unlabelled is None):
        return None
    return UnlabelledItems(bank, unlabelled.beside(source), known=fitted)
