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
PROBED = 1_000  # images of 64x64 that are looked at, fewer of larger ones
ENDS = 0.05  # share of an image's pixels below, and above, the range of its values
BINS = 16  # of that range
EVEN = 2 / 3  # share of an image's pixels in two neighbouring bins that makes an even ground: clothes 0.5, digits 0.8


def kind_of_images(images: Tensor) -> str:
    """Name of the kind in KINDS of images, uint8 [N, C, H, W]: digits have an even ground, clothes and steel not."""
    if colour_channels(images) >= 3:
        return "photographs"
    most = max(1, PROBED * 64**2 // max(64**2, images.shape[2] * images.shape[3]))
    some = images[:: max(1, len(images) // most), :1].flatten(1).float()  # [n, H*W]
    ends = int(some.shape[1] * ENDS) + 1
    low, high = (some.kthvalue(place, dim=1, keepdim=True).values for place in (ends, some.shape[1] + 1 - ends))
    bins = ((some - low) / (high - low).clamp_min(1) * BINS).clamp_(0, BINS - 1).long()
    counts = torch.stack([torch.bincount(image, minlength=BINS + 1) for image in bins])  # the last of none
    ground = (counts[:, :-1] + counts[:, 1:]).amax(1) / some.shape[1]
    return "drawings" if float(ground.median()) > EVEN else "textures"
