"""A transform of one image, the caller's or torchvision's, as random moves of a batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def one_by_one(transform: Callable[[Tensor], Tensor]) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Apply a transform of one image to batches. Torch's global generator, which it draws from, is restored."""

    def move(images: Tensor, generator: torch.Generator) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
            moved = [transform(image) for image in images]
        for image in moved:
            if not (isinstance(image, Tensor) and image.shape == images.shape[1:] and image.is_floating_point()):
                came = f"{image.dtype} {list(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
                shape = list(images.shape[1:])
                raise ValueError(f"invariances must keep float images of shape {shape}, got {came}.")
        return torch.stack(moved).float().clamp_(0, 1)

    return move
