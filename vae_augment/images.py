"""Images as tensors: bytes to [0, 1] and back, sizes, and the random moves a VAE is trained on."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# The moves of invariances="affine": what a classifier should not care about in most images.
MAX_ROTATION_DEGREES, MAX_SHIFT, MAX_SCALING = 15.0, 0.1, 0.1
MOVED_SHARE = 0.75  # of a batch; the rest stays as it is, so that the VAE also knows the images themselves


def to_float(images: Tensor) -> Tensor:
    """uint8, or float in [0, 1], to float32 in [0, 1]. Raises TypeError or ValueError for anything else."""
    if images.dtype == torch.uint8:
        return images.float().div_(255)
    if not images.is_floating_point():
        raise TypeError(f"images must be uint8 or float in [0, 1], got {images.dtype}.")
    images = images.float()
    if images.numel() and not (images.min() >= 0 and images.max() <= 1):  # false for NaN too
        low, high = images.min().item(), images.max().item()
        raise ValueError(f"float images must be in [0, 1], got values from {low:g} to {high:g}.")
    return images


def to_uint8(images: Tensor) -> Tensor:
    """Float images, clipped to [0, 1], to the nearest of 256 levels; bytes as they are."""
    return images if images.dtype == torch.uint8 else images.clamp(0, 1).mul_(255).round_().to(torch.uint8)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images, or float differences of images, [B, C, H, W] at another (H, W); the same tensor if it is theirs already.

    Bytes stay bytes, and are several times quicker with channels last.
    """
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    smaller = size[0] < images.shape[-2] or size[1] < images.shape[-1]
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=smaller)


def random_affine(images: Tensor, generator: torch.Generator) -> Tensor:
    """Float images [B, C, H, W], most of them rotated, shifted and scaled at random; edges are repeated outward."""
    count = round(len(images) * MOVED_SHARE)
    if count == 0:
        return images
    draws = torch.rand(count, 4, generator=generator) * 2 - 1  # [-1, 1)
    angle = draws[:, 0] * math.radians(MAX_ROTATION_DEGREES)
    scale = 1 + draws[:, 1] * MAX_SCALING
    shift = draws[:, 2:] * 2 * MAX_SHIFT  # affine_grid's coordinates span 2
    height, width = images.shape[-2:]
    cos, sin = angle.cos() * scale, angle.sin() * scale
    rows = [
        torch.stack([cos, -sin * height / width, shift[:, 0]], dim=1),  # aspect: a rotation, not a shear
        torch.stack([sin * width / height, cos, shift[:, 1]], dim=1),
    ]
    theta = torch.stack(rows, dim=1).to(images.device)  # [count, 2, 3]
    shape = [count, *images.shape[1:]]
    grid = F.affine_grid(theta, shape, align_corners=False)
    moved = F.grid_sample(images[:count], grid, padding_mode="border", align_corners=False)
    return torch.cat([moved, images[count:]])
