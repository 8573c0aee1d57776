"""The images that a fit sees: all of a dataset's, as bytes, at one size."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from vae_augment import raw
from vae_augment.config import FitConfig
from vae_augment.images import resize, to_float, to_uint8
from vae_augment.model import MIN_SIDE
from vae_augment.source import Source

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitData:
    """The images of a fit.

    Args:
        images: uint8 [N, C, H, W], at the bank's size.
        labels: int64 [N].
        names: of each label.
    """

    images: Tensor
    labels: Tensor
    names: dict[int, str]

    def of(self, label: int) -> Tensor:
        return self.images[self.labels == label]


def load_images(source: Source, shape: tuple[int, int, int]) -> FitData:
    """Every raw image of a source as uint8 at (C, H, W) `shape`. Raises ValueError naming one that cannot be read."""
    images = torch.empty(len(source), *shape, dtype=torch.uint8)
    for index in range(len(source)):
        sample = source.raw(index)
        try:
            image = raw.to_tensor(sample.image, source.value_range)
        except ValueError as error:
            raise ValueError(f"{source.whereabouts(index)}: {error}") from error
        pixels = raw.match_channels(image, shape[0])
        if pixels.dtype == torch.uint8 and pixels.shape[1:] == shape[1:]:
            images[index] = pixels
        else:
            images[index] = to_uint8(resize(to_float(pixels)[None], (shape[1], shape[2])))[0]
    return FitData(images, source.labels, source.classes)


def common_shape(source: Source, config: FitConfig) -> tuple[int, int, int]:
    """(C, H, W) of the bank: the most common size and channels of the dataset, the longer side at most the cap."""
    probed = [(raw.channels_of(image), raw.size_of(image)) for image in source.probe()]
    channels = Counter(c for c, _ in probed).most_common(1)[0][0]
    sizes = Counter(size for _, size in probed)
    height, width = sizes.most_common(1)[0][0]
    longer = config.image_size or min(max(height, width), config.image_size_cap)
    scale = longer / max(height, width)
    shape = channels, round(height * scale), round(width * scale)
    if min(shape[1:]) < MIN_SIDE:
        resized = "" if shape[1:] == (height, width) else f" when {height}x{width} is resized to image_size {longer}"
        raise ValueError(f"images must be at least {MIN_SIDE}x{MIN_SIDE} pixels, got {shape[1]}x{shape[2]}{resized}.")
    if len(sizes) > 1 or shape[1:] != (height, width):
        logger.info("images of %d sizes are modelled at %dx%d", len(sizes), shape[1], shape[2])
    return shape
