"""Changes of an image's values, each a function of the value and of how the image's values are spread.

Each takes float32 images [B, C, H, W] in [0, 1] without alpha, and how far to change each, float32 [B, 1, 1, 1] from -1
to 1, where 0 changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor


def _brightened(images: Tensor, share: Tensor) -> Tensor:
    return (images * (1 + share)).clamp_(0, 1)


def _contrasted(images: Tensor, share: Tensor) -> Tensor:
    return _away_from(images.mean((1, 2, 3), keepdim=True), images, share)


def _saturated(images: Tensor, share: Tensor) -> Tensor:
    return _away_from(images.mean(1, keepdim=True), images, share)


def _sharpened(images: Tensor, share: Tensor) -> Tensor:
    return _away_from(smoothed(images), images, share)


def smoothed(images: Tensor) -> Tensor:
    """Mean of each pixel and its neighbours in the image: bit for bit that of avg_pool2d, which takes longer."""
    height, width = images.shape[2:]
    shifted = F.pad(images, (1, 1, 1, 1)).unfold(2, height, 1).unfold(3, width, 1)  # [B, C, 3, 3, H, W]
    first, *others = (shifted[:, :, down, right] for down, right in product(range(3), repeat=2))
    total = first + others[0]
    for other in others[1:]:
        total += other
    return total.div_(_neighbours(height, width, images.device))


@lru_cache(256)
@torch.inference_mode(False)
def _neighbours(height: int, width: int, device: torch.device) -> Tensor:
    """How many pixels lie within one place of each pixel, itself among them: float32 [H, W], 9 but at the edges."""
    return F.avg_pool2d(torch.ones(1, 1, height, width), 3, 1, 1, divisor_override=1)[0, 0].to(device)


def _away_from(plain: Tensor, images: Tensor, share: Tensor) -> Tensor:
    """Differences from a plainer image made larger, or smaller, by a share."""
    return torch.addcmul(plain, images - plain, 1 + share).clamp_(0, 1)


def _solarized(images: Tensor, share: Tensor) -> Tensor:
    """Values above 1 - share inverted."""
    return torch.where(images > 1 - share.abs(), 1 - images, images)


def _posterized(images: Tensor, share: Tensor) -> Tensor:
    """Values without the lowest of eight bits, at most six of them."""
    step = 2.0 ** (share.abs() * 6).round()
    return (images * 255).div_(step).add_(1e-4).floor_().mul_(step).div_(255)


def _with_full_contrast(images: Tensor, share: Tensor) -> Tensor:
    """Values stretched from black to white in each channel."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.lerp(images, torch.where(high > low, (images - low) / (high - low), images), share.abs())


def _equalized(images: Tensor, share: Tensor) -> Tensor:
    """Values replaced by the share of the channel's pixels that are darker."""
    levels = (images * 255).round().long().flatten(2)  # [B, C, H*W]
    ones = torch.ones_like(images).flatten(2)
    counts = torch.zeros(*images.shape[:2], 256, device=images.device).scatter_add_(2, levels, ones)
    darker = counts.cumsum(2) - counts
    spread = levels.shape[2] - counts.gather(2, levels.amax(2, keepdim=True))  # 0 in a channel of one value
    equal = torch.where(spread > 0, darker.gather(2, levels) / spread, images.flatten(2))
    return torch.lerp(images, equal.view_as(images), share.abs())


TONES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # in the order in which they are applied
    "brightness": _brightened,
    "contrast": _contrasted,
    "saturation": _saturated,
    "sharpness": _sharpened,
    "solarize": _solarized,
    "posterize": _posterized,
    "autocontrast": _with_full_contrast,
    "equalize": _equalized,
}
