"""Changes of an image's values, each a function of the value and of how the image's values are spread."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def _solarized(images: Tensor, share: Tensor) -> Tensor:
    """Values above 1 - share inverted."""
    return torch.where(images > 1 - share, 1 - images, images)


def _posterized(images: Tensor, share: Tensor) -> Tensor:
    """Values without the lowest of eight bits."""
    step = 2.0 ** (share * 6).round()
    return (images * 255 / step + 1e-4).floor() * step / 255


def _with_full_contrast(images: Tensor, share: Tensor) -> Tensor:
    """Values stretched from black to white in each channel."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.lerp(images, torch.where(high > low, (images - low) / (high - low), images), share)


def _equalized(images: Tensor, share: Tensor) -> Tensor:
    """Values replaced by the share of the channel's pixels that are darker."""
    levels = (images * 255).round().long().flatten(2)  # [B, C, H*W]
    counts = torch.zeros(*images.shape[:2], 256, device=images.device).scatter_add_(
        2, levels, images.flatten(2) * 0 + 1
    )
    darker = counts.cumsum(2) - counts
    spread = levels.shape[2] - counts.gather(2, levels.amax(2, keepdim=True))  # 0 in a channel of one value
    equal = torch.where(spread > 0, darker.gather(2, levels) / spread, images.flatten(2))
    return torch.lerp(images, equal.view_as(images), share)


# Changes by name: float32 [B, C, H, W] in [0, 1] and the share by which each image is changed [B, 1, 1, 1].
TONE_CHANGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "solarize": _solarized,
    "posterize": _posterized,
    "autocontrast": _with_full_contrast,
    "equalize": _equalized,
}
