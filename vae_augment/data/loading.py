"""A dataset's images as a fit sees them: all, as bytes, at one size."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from vae_augment.config import MAX_CHANNELS, MIN_SIDE, FitConfig
from vae_augment.data.source import Source
from vae_augment.images import conversion
from vae_augment.images.conversion import USUAL_RANGES, Range
from vae_augment.images.tensors import match_channels, resize, to_float, to_uint8

logger = logging.getLogger(__name__)

LISTED_SHAPES = 5  # in an error
OUTLYING = 1e-3  # share of values that count as outliers, half of it at either end
ALIKE = 2  # levels of 255: a VAE learns nothing from smaller differences
SAMPLED = 2**22  # values that are looked at
SMALL_SCALE, LARGE_SCALE = 4.0, 10.0  # floats of 0 to 1, and standardised ones, stay below; those of 0 to 255 exceed it


@dataclass(frozen=True)
class FitData:
    """The images of a fit.

    Args:
        images: uint8 [N, C, H, W], at the bank's size.
        labels: int64 [N].
        names: name of each label.
    """

    images: Tensor
    labels: Tensor
    names: dict[int, str]

    def of(self, label: int) -> Tensor:
        return self.images[self.labels == label]

    def joined(self, other: FitData) -> FitData:
        """These images, and after them those of other data of the same classes."""
        return FitData(torch.cat([self.images, other.images]), torch.cat([self.labels, other.labels]), self.names)


def load_images(source: Source, shape: tuple[int, int, int]) -> FitData:
    """Load all raw images of a source at `shape` (C, H, W). Raises ValueError naming one that cannot be read."""
    images = load_some(source, range(len(source)), shape)  # first: items may have other labels than those listed
    return FitData(images, source.labels, source.classes)


def load_some(source: Source, indices: Sequence[int], shape: tuple[int, int, int]) -> Tensor:
    """Load raw images of some items at `shape` (C, H, W), as uint8 [N, C, H, W]."""
    images = torch.empty(len(indices), *shape, dtype=torch.uint8)
    targets = []
    for place, index in enumerate(indices):
        image, target, *_ = source.raw(index)
        targets.append(target)
        pixels = match_channels(source.pixels(index, image), shape[0])
        if pixels.dtype == torch.uint8 and pixels.shape[1:] == shape[1:]:
            images[place] = pixels
        else:
            images[place] = to_uint8(resize(to_float(pixels)[None], (shape[1], shape[2])))[0]
    source.relabel(indices, targets)
    return images


def outliers_said(data: FitData, value_range: Range | None) -> str:
    """Warning text for outliers so far away that all other values have become one grey; "" if there are none."""
    if value_range is None or value_range in USUAL_RANGES:
        return ""
    values = data.images.flatten()
    shares = torch.bincount(values[:: 1 + len(values) // SAMPLED], minlength=256).cumsum(0).double()  # [256]
    ends = torch.tensor([OUTLYING / 2, 1 - OUTLYING / 2], dtype=torch.float64) * shares[-1]
    low, high = torch.searchsorted(shares, ends).tolist()
    if high - low > ALIKE or values.min() == values.max():
        return ""
    return (
        f"values of the images reach from {value_range[0]:g} to {value_range[1]:g}, and nearly all of them are alike "
        "on that scale: outliers leave nothing of the images. Clip them, or scale the images to 0..1."
    )


def range_beside(source: Source, other: Source, name: str) -> Range | None:
    """The values of black and white in other images: the dataset's, whatever their extremes.

    If the dataset holds bytes, most of the other images decide between floats of 0 to 1 and of 0 to 255.

    Args:
        source: the dataset.
        other: the other images.
        name: of these, in messages.

    Raises:
        ValueError: one of the two holds floats of about 0 to 1, the other far larger values.
    """
    if other.value_range is None:
        return source.value_range
    theirs = _extremes(other)
    if source.value_range is None:
        usual = conversion.value_range_of([theirs.median(0).values[None]])
        return usual if usual in USUAL_RANGES else other.value_range
    ours = _extremes(source)
    for small, large in ((theirs, ours), (ours, theirs)):
        if small.abs().max() <= SMALL_SCALE and large.abs().amax(1).median() > LARGE_SCALE:
            own, got = (f"{float(e.min()):g} to {float(e.max()):g}" for e in (ours, theirs))
            raise ValueError(f"{name} must hold values on the scale of dataset's, {own}, got {got}.")
    return source.value_range


def _extremes(source: Source) -> Tensor:
    """Smallest and largest value of each image that is not of bytes, [N, 2]."""
    images = (image for image in source.probe() if conversion.needs_range(image))
    return torch.tensor([conversion.extremes(image) for image in images], dtype=torch.float64)


def common_shape(source: Source, config: FitConfig) -> tuple[int, int, int]:
    """Shape (C, H, W) of the bank: the dataset's most common size and channels, the longer side at most the cap.

    Raises:
        ValueError: images below 8x8 or of too many channels, or arrays of several shapes without a transform to make
            them alike.
    """
    probed = [
        (conversion.channels_of(image), conversion.size_of(image), isinstance(image, Image.Image))
        for image in source.probe()
    ]
    _check_arrays(source, Counter((*size, channels) for channels, size, is_pil in probed if not is_pil))
    channels = Counter(channels for channels, _, _ in probed).most_common(1)[0][0]
    if not 1 <= channels <= MAX_CHANNELS:
        raise ValueError(f"images must have 1 to {MAX_CHANNELS} channels, got {channels}. Leave some out.")
    sizes = Counter(size for _, size, _ in probed)
    height, width = sizes.most_common(1)[0][0]
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"images must be at least {MIN_SIDE}x{MIN_SIDE} pixels, got {height}x{width}.")
    longer = config.image_size or min(max(height, width), config.image_size_cap)
    scale = longer / max(height, width)
    # the shorter side of a long narrow image is not reduced below MIN_SIDE
    resized = [max(round(side * scale), min(side, MIN_SIDE)) for side in (height, width)]
    shape = channels, resized[0], resized[1]
    if len(sizes) > 1 or shape[1:] != (height, width):
        logger.info("images of %d sizes are modelled at %dx%d", len(sizes), shape[1], shape[2])
    return shape


def _check_arrays(source: Source, shapes: Counter[tuple[int, int, int]]) -> None:
    """Raise ValueError for arrays of several shapes (H, W, C) without a transform to make them alike."""
    if len(shapes) < 2 or source.has_transforms:
        return
    listed = ", ".join(f"{h}x{w} with {c} channels ({n})" for (h, w, c), n in shapes.most_common(LISTED_SHAPES))
    more = " and others" if len(shapes) > LISTED_SHAPES else ""
    raise ValueError(
        f"images that are arrays must have one shape, got {len(shapes)}: {listed}{more}. Resize them, give the dataset "
        "a transform that does, or give PIL images."
    )
