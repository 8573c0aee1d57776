"""Image tensors: bytes to [0, 1] and back, sizes and channels."""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """Convert uint8, or float in [0, 1], to float32 in [0, 1]. Raises TypeError or ValueError for anything else."""
    if images.dtype == torch.uint8:
        return as_float(images)
    if not images.is_floating_point():
        raise TypeError(f"images must be uint8 or float in [0, 1], got {images.dtype}.")
    images = images.float()
    if images.numel() and not (images.min() >= 0 and images.max() <= 1):  # false for NaN too
        low, high = images.min().item(), images.max().item()
        raise ValueError(f"float images must be in [0, 1], got values from {low:g} to {high:g}.")
    return images


def as_float(images: Tensor) -> Tensor:
    """uint8 to float32 in [0, 1]; float images as they are, unchecked, since resizing overshoots [0, 1] a little."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images


def to_uint8(images: Tensor) -> Tensor:
    """Round float images, clipped to [0, 1], to bytes; bytes stay as they are."""
    return images if images.dtype == torch.uint8 else images.clamp(0, 1).mul_(255).round_().to(torch.uint8)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images, or float differences of images, [B, C, H, W] to (H, W); returns them as they are if they have it.

    Bytes stay bytes, and are several times quicker with channels last.
    """
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    if images.dtype == torch.uint8 and images.device.type != "cpu":
        return to_uint8(resize(as_float(images), size))  # where bytes cannot be made smaller
    smaller = size[0] < images.shape[-2] or size[1] < images.shape[-1]
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=smaller)


def match_channels(pixels: Tensor, channels: int, *, alpha: float = 1.0) -> Tensor:
    """Give [..., C, H, W] so many channels: grey is repeated, colour averaged, a missing alpha set to `alpha`."""
    have = pixels.shape[-3]
    if have == channels:
        return pixels
    opaque = alpha if pixels.is_floating_point() else round(255 * alpha)
    last = pixels[..., -1:, :, :] if have in (2, 4) else torch.full_like(pixels[..., :1, :, :], opaque)
    colour = pixels[..., :-1, :, :] if have in (2, 4) else pixels
    wanted = channels - 1 if channels in (2, 4) else channels
    if colour.shape[-3] != wanted:
        grey = colour.float().mean(-3, keepdim=True).to(pixels.dtype)
        colour = grey.expand(*pixels.shape[:-3], wanted, *pixels.shape[-2:])
    return torch.cat([colour, last], dim=-3) if channels in (2, 4) else colour


def digests(images: Tensor) -> list[bytes]:
    """A digest of 16 bytes of each image [N, C, H, W]; identical images have the same."""
    return [hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest() for image in images]
