"""Latents for tests."""

from __future__ import annotations

import torch

from vae_augment.exporting.latents import Latents

PATHS = ("l.safetensors", "l.parquet")


def made(images=10, *, logvar=True):
    """Of three classes, in four dimensions."""
    draws = torch.Generator().manual_seed(0)
    return Latents(
        torch.randn(images, 4, generator=draws),
        torch.rand(images, 4, generator=draws) - 2 if logvar else None,
        torch.arange(images) % 3,
        tuple(f"{i:06d}" if i % 2 else f"photo {i}.jpg" for i in range(images)),
        {"across": 0, "down": 1, "slanted": 2},
        (1, 12, 12),
        "0123456789abcdef" * 4,
    )
