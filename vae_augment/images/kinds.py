"""The kind of a dataset's images, told from their values: drawings, photographs in colour, or grey textures."""

from __future__ import annotations

import torch
from torch import Tensor

from vae_augment.images.moves import colour_channels

KINDS = {
    "drawings": "grey images on an even ground",
    "photographs": "images in colour",
    "textures": "grey images without an even ground",
}
PROBED = 1_000  # images that are looked at
LEVELS = 16  # width of a range of values, of 256
EVEN = 0.5  # share of an image's pixels in one such range that makes an even ground


def kind_of_images(images: Tensor) -> str:
    """Name of the kind in KINDS of images, uint8 [N, C, H, W]: grey characters have an even ground, steel has not."""
    if colour_channels(images) >= 3:
        return "photographs"
    some = images[:: max(1, len(images) // PROBED), :1].flatten(1) // LEVELS  # [n, H*W]
    counts = torch.stack([torch.bincount(image, minlength=256 // LEVELS) for image in some.long()])
    return "drawings" if float((counts.amax(1) / some.shape[1]).median()) > EVEN else "textures"
