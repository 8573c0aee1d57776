"""Raw images of a dataset (PIL, numpy, tensor) to tensors, and back to the same type, mode, dtype and range.

Tensors here are [C, H, W], uint8 or float32 in [0, 1]. Grey images have one channel; palette, CMYK and other colour
spaces become RGB; 16-bit grey becomes float.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vae_augment.config import MAX_CHANNELS, MIN_SIDE
from vae_augment.images.tensors import match_channels, to_uint8

GREY_MODES = ("1", "L")
DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L")  # treated as arrays: their values need a range
USUAL_RANGES = ((0.0, 1.0), (0.0, 255.0))
IMAGES = (Image.Image, np.ndarray, Tensor)
WIDEST = 1e38  # a range that is safe in single precision
Range: TypeAlias = tuple[float, float]


def to_tensor(image: Any, value_range: Range | None = None) -> Tensor:
    """Convert an image to a tensor [C, H, W], uint8 or float32 in [0, 1].

    Args:
        image: PIL image; numpy array [H, W], [H, W, C] or [C, H, W]; tensor [H, W] or [C, H, W].
        value_range: values of black and white in an image that is not uint8 (`value_range_of`); None: (0, 1).

    Raises:
        TypeError: another type, or values that are no real numbers.
        ValueError: another number of dimensions, or values that are not finite.
    """
    array = as_tensor(image)
    if array.dtype == torch.uint8:
        return array
    low, high = value_range or (0.0, 1.0)
    scaled = ((array.double() if _is_wide(array, low, high) else array.float()) - low) / (high - low)
    if not bool(torch.isfinite(scaled).all()):
        raise ValueError("an image holds values that are not finite.")
    return scaled.clamp(0, 1).float()


def as_tensor(image: Any) -> Tensor:
    """Convert an image to a tensor [C, H, W] with its own values. Raises as `to_tensor`, but not for values."""
    if isinstance(image, Image.Image):
        if image.mode not in DEEP_MODES:
            return _from_pil(image)
        image = np.array(image)
    if isinstance(image, np.ndarray):
        if image.dtype.kind not in "biuf" or image.dtype.itemsize > 8:
            raise TypeError(f"an image must hold real numbers of at most 64 bits, got {image.dtype}.")
        native = image.astype(image.dtype.newbyteorder("="), copy=False)
        array = torch.from_numpy(np.require(native, requirements=["C", "W"]))
        if array.ndim == 3 and not _channels_first(image):
            array = array.permute(2, 0, 1)
    elif isinstance(image, Tensor):
        if image.is_complex():
            raise TypeError(f"an image must hold real numbers of at most 64 bits, got {image.dtype}.")
        array = image.detach().as_subclass(Tensor).cpu()
    else:
        raise TypeError(f"an image must be a PIL image, numpy array or tensor, got {type(image).__name__}.")
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3:
        raise ValueError(f"an image must be [H, W] or have channels, got shape {list(image.shape)}.")
    return array


def _is_wide(array: Tensor | np.ndarray, low: float, high: float) -> bool:
    """Say if single precision is too narrow for an array's values or for their range."""
    whole = array.dtype.kind in "iu" if isinstance(array, np.ndarray) else not array.is_floating_point()
    return array.dtype.itemsize > (2 if whole else 4) or high - low > WIDEST


def all_to_tensor(images: Sequence[Any], value_range: Range | None = None) -> Tensor:
    """Convert images of one `kind_of` to [B, C, H, W], uint8 or float32 in [0, 1], as `to_tensor`."""
    first = images[0]
    if isinstance(first, Image.Image) and first.mode in ("L", "RGB", "RGBA", "LA"):  # no conversion: all at once
        arrays = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
        return arrays[:, None] if arrays.ndim == 3 else arrays.permute(0, 3, 1, 2)
    return torch.stack([to_tensor(image, value_range) for image in images])


def _from_pil(image: Image.Image) -> Tensor:
    if image.mode in GREY_MODES:
        image = image.convert("L")
    elif image.mode not in ("LA", "RGBA"):
        image = image.convert("RGB")
    array = torch.from_numpy(np.array(image))
    return array[None] if array.ndim == 2 else array.permute(2, 0, 1)


def kind_of(image: Any) -> tuple[Any, ...]:
    """Type, mode or dtype, and size: images that agree in them can go through `like_all` together."""
    if isinstance(image, Image.Image):
        return "PIL", image.mode, image.size
    return type(image), image.dtype, tuple(image.shape)


def like(pixels: Tensor, original: Any, value_range: Range | None = None) -> Any:
    """Convert `pixels` [C, H, W], float in [0, 1] (clipped), to the type, mode, dtype and range of `original`."""
    return like_all(pixels[None], [original], value_range)[0]


def like_all(pixels: Tensor, originals: Sequence[Any], value_range: Range | None = None) -> list[Any]:
    """Convert pixels to the type, mode, dtype and range of the originals, which are all of one `kind_of`.

    Args:
        pixels: [B, C, H, W], any number of channels, float (clipped to [0, 1]) or, for byte images, uint8.
        originals: B images of that height and width.
        value_range: values of black and white in the originals, as in `to_tensor`.
    """
    first = originals[0]
    if isinstance(first, Image.Image):
        if first.mode not in DEEP_MODES:
            return _to_pil(pixels, originals)
        return [Image.fromarray(array) for array in like_all(pixels, [np.array(o) for o in originals], value_range)]
    low, high = value_range or (0.0, 1.0)
    pixels = match_channels(pixels, channels_of(first))
    if first.dtype in (torch.uint8, np.dtype(np.uint8)):
        values = to_uint8(pixels)
    else:
        exact = pixels.double() if _is_wide(first, low, high) else pixels
        values = exact.clamp(0, 1) * (high - low) + low
    if first.ndim == 2:
        values = values[:, 0]
    if isinstance(first, np.ndarray):
        if first.ndim == 3 and not _channels_first(first):
            values = values.permute(0, 2, 3, 1)
        arrays = values.contiguous().numpy()
        return list((np.rint(arrays) if first.dtype.kind in "iub" else arrays).astype(first.dtype))
    values = values.round() if not first.is_floating_point() else values
    tensors = [v.clone() for v in values.to(first.dtype)]
    if type(first) is Tensor:
        return tensors
    from torchvision import tv_tensors

    return [tv_tensors.wrap(tensor, like=first) for tensor in tensors]


def _to_pil(pixels: Tensor, originals: Sequence[Any]) -> list[Image.Image]:
    mode = originals[0].mode
    plain = {"1": "L", "L": "L", "LA": "LA", "RGBA": "RGBA"}.get(mode, "RGB")
    arrays = to_uint8(match_channels(pixels, len(plain))).permute(0, 2, 3, 1).contiguous().numpy()
    images = [Image.fromarray(array) for array in (arrays[..., 0] if plain == "L" else arrays)]
    if mode == "P":
        quantized = zip(images, originals, strict=True)
        return [image.quantize(palette=original, dither=Image.Dither.NONE) for image, original in quantized]
    if mode == "1":
        return [image.convert("1", dither=Image.Dither.NONE) for image in images]
    return images if mode == plain else [image.convert(mode) for image in images]


def channels_of(image: Any) -> int:
    """Number of channels of an image's `to_tensor`."""
    if isinstance(image, Image.Image):
        if image.mode in GREY_MODES + DEEP_MODES:
            return 1
        return {"LA": 2, "RGBA": 4}.get(image.mode, 3)
    if image.ndim == 2:
        return 1
    first = not isinstance(image, np.ndarray) or _channels_first(image)
    return int(image.shape[0] if first else image.shape[-1])


def size_of(image: Any) -> tuple[int, int]:
    """(height, width) of an image."""
    if isinstance(image, Image.Image):
        return image.height, image.width
    first = not isinstance(image, np.ndarray) or _channels_first(image)
    height, width = image.shape[-2:] if image.ndim == 2 or first else image.shape[:2]
    return int(height), int(width)


def needs_range(image: Any) -> bool:
    """Say if an image holds anything but bytes, so that its values mean nothing without a range."""
    if isinstance(image, Image.Image):
        return image.mode in DEEP_MODES
    return image.dtype not in (torch.uint8, np.uint8)


def value_range_of(images: list[Any]) -> Range | None:
    """Values of black and white in images other than bytes: (0, 1), (0, 255), or the images' own extremes.

    Values that are not finite are left to `to_tensor`, whose caller can name the image.
    """
    several = [extremes(image) for image in images if needs_range(image)]
    if not several:
        return None
    low, high = min(low for low, _ in several), max(high for _, high in several)
    if low > high:
        return 0.0, 1.0  # there is no finite value
    for usual in USUAL_RANGES:
        if usual[0] <= low and high <= usual[1]:
            return usual
    low = min(low, 0.0)  # black is 0 where nothing is below it
    return low, high if high > low else low + 1


def extremes(image: Any) -> Range:
    """Smallest and largest finite value of an image other than bytes; (inf, -inf) if there is none."""
    array = as_tensor(image)
    values = array.double() if _is_wide(array, 0, 1) else array.float()
    if not math.isfinite(values.sum()):
        values = values[torch.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.numel() else (math.inf, -math.inf)


def common_range(own: Range | None, fitted: Range | None) -> Range | None:
    """Choose the range to read images in: their `own`, or that of the images a bank was `fitted` on.

    The bank's, so that a part of its data is read as the whole was, unless it is plainly another scale.
    """
    if own is None or fitted is None:
        return own
    inside = fitted[0] <= own[0] and own[1] <= fitted[1]
    return fitted if inside and fitted[1] - fitted[0] <= 2 * (own[1] - own[0]) else own


def _channels_first(image: np.ndarray) -> bool:
    if image.ndim != 3:
        return False
    # NumPy images have channels last. A first axis that is short enough for channels and shorter than the last counts
    # as channels, unless the last could be channels and the first a height.
    first, last = int(image.shape[0]), int(image.shape[-1])
    return first < last and (first < MIN_SIDE or last > MAX_CHANNELS)
