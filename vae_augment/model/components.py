"""Reduced images, which principal components are of, and logits of whole images from theirs.

Shapes: K classes, B batch, C H W image, h w reduced image.
"""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

REDUCED = 16  # pixels of the longer side, at most, of the images that components are of


def reduced_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of the reduced images, of that of whole ones."""
    stride = math.ceil(max(height, width) / REDUCED)
    return math.ceil(height / stride), math.ceil(width / stride)


def reduced(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Means of parts of images [K, B, C, H, W], which overlap where h and w do not divide H and W: [K, B, C*h*w]."""
    return F.adaptive_avg_pool2d(images.flatten(0, 1), size).view(*images.shape[:2], -1)


def raised(coarse: Tensor, size: tuple[int, int], whole: tuple[int, int]) -> Tensor:
    """Reduced images [K, B, C*h*w] at the `whole` size (H, W), by cubic interpolation: float32 [K*B, C, H*W]."""
    rows, columns = (raising(side, few, coarse.device) for side, few in zip(whole, size, strict=True))
    with torch.autocast(coarse.device.type, enabled=False):
        images = rows @ coarse.float().view(coarse.shape[0] * coarse.shape[1], -1, *size) @ columns.T
    return images.flatten(2)


@cache
@torch.inference_mode(False)  # whatever asks first, since training uses the same
def raising(side: int, few: int, device: torch.device) -> Tensor:
    """Weights [side, few] of cubic interpolation along one side."""
    each = torch.eye(few)[None, None]
    return F.interpolate(each, size=(side, few), mode="bicubic", align_corners=False)[0, 0].to(device)
