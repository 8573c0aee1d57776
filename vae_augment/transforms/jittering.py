"""Latent jitter of image batches of any size, dtype and number of channels, for all adapters."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.bank.jitter import jitter
from vae_augment.images.moves import MOVES, Moves
from vae_augment.images.tensors import to_uint8

SLACK = 0.02  # resizing and half precision leave [0, 1] by less than this, normalising by far more


def open_bank(bank: VAEBank | str | Path) -> VAEBank:
    """Load a bank, or move one to the CPU, so that a transform can be sent to a DataLoader's workers."""
    if isinstance(bank, (str, Path)):
        return VAEBank.load(bank)
    if not isinstance(bank, VAEBank):
        raise TypeError(f"bank must be a VAEBank or the path of one, got {type(bank).__name__}.")
    return bank if bank.device.type == "cpu" else bank.to("cpu")


def require_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"p must be in [0, 1], got {p}.")


def require_unit_range(images: Tensor) -> None:
    """Raise TypeError or ValueError for images that are neither uint8 nor float in [0, 1]."""
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise TypeError(f"images must be uint8 or float in [0, 1], got {images.dtype}.")
    if images.numel():
        low, high = (value.item() for value in torch.aminmax(images))
        if not (low >= -SLACK and high <= 1 + SLACK):  # true for NaN too
            raise ValueError(
                f"float images must be in [0, 1], got values from {low:g} to {high:g}. "
                "Put the latent jitter before Normalize."
            )


def rows_of(bank: VAEBank, labels: Any) -> Tensor:
    """Rows in the bank, int64 [B] on the CPU, of one integer label or of labels [B].

    Raises:
        ValueError: labels that are no integers, not one per image, or not in the bank.
    """
    try:
        values = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"labels must be integers, one per image, got {labels!r}.") from None
    if values.ndim > 1 or values.is_floating_point() or values.is_complex():
        raise ValueError(
            f"labels must be integers, one per image, got {values.dtype} {list(values.shape)}. "
            "Put the latent jitter before anything that mixes or encodes labels."
        )
    wanted = values.reshape(-1).tolist()
    unknown = sorted(set(wanted) - set(bank.row_of))
    if unknown:
        raise ValueError(f"label {unknown[0]} is not in the bank, which has labels {sorted(bank.row_of)}.")
    return torch.tensor([bank.row_of[label] for label in wanted], dtype=torch.long)


def fitted(bank: VAEBank, rows: Tensor) -> Tensor:
    """Mask [B], False for classes whose fit failed: their images stay as they are, as in the wrapper."""
    infos = bank.class_infos
    return torch.tensor([infos[row].status != "failed" for row in rows.tolist()], dtype=torch.bool)


def mover_of(bank: VAEBank, moves: str | None) -> Moves | None:
    """Random moves by name, or those of the bank's policy for "policy"; None for none. Raises ValueError for others."""
    if moves is None or moves == "policy":
        return None if moves is None else bank.policy.mover
    if moves not in MOVES:
        known = ", ".join(map(repr, ("policy", *MOVES)))
        raise ValueError(f"moves must be None or one of {known}, got {moves!r}.")
    return MOVES[moves]


def scale_of(bank: VAEBank, moves: str | None, scale: float | None) -> float:
    """Scale of the jitter as told; else that of items that the policy serves moved, or the policy's own."""
    if scale is not None:
        return scale
    return bank.policy.served_scale if moves == "policy" and bank.policy.mover else bank.policy.scale


def refuse_beside(moves: Moves | None, others: Iterable[str]) -> None:
    """Raise ValueError for boxes, masks or key points beside an image that is moved: they would stay where they are."""
    found = sorted(set(others))
    if found and moves is not None and moves.displaces:
        raise ValueError(
            f"{' and '.join(found)} would stay where they are while the image is moved: give moves=None, or 'values', "
            "which changes values alone."
        )


@torch.no_grad()
def jittered(
    bank: VAEBank,
    images: Tensor,
    rows: Tensor,
    chosen: Tensor,
    noise: Tensor,
    scale: float | None,
    moves: Moves | None = None,
    uniform: Tensor | None = None,
) -> Tensor:
    """Jitter the chosen images in latent space, and move them.

    Args:
        bank: the bank, on the images' device.
        images: [B, C, H, W], uint8 or float in [0, 1], with the bank's channels, or grey or colour with or without
            alpha.
        rows: int64 [B], row of each image's class in the bank.
        chosen: bool [B].
        noise: float32 [B, L], standard normal.
        scale: scale of the jitter; None: the policy's.
        moves: random moves; None for none.
        uniform: float32 [B, M] in [0, 1), for the moves.

    Returns:
        A new tensor of the images' shape and dtype.
    """
    have, channels = images.shape[1], bank.image_shape[0]
    if have != channels and max(have, channels) > 4:
        raise ValueError(f"images must have the bank's {channels} channels, got {have}.")
    made, where = images.clone(), chosen.to(images.device)
    if not bool(chosen.any()):
        return made
    x = images[where] if images.dtype == torch.uint8 else images[where].float().clamp(0, 1)
    with torch.autocast(images.device.type, enabled=False):  # a training step may be within autocast
        drawn = None if uniform is None else uniform[chosen]
        on_device = rows[chosen].to(images.device)
        moved = jitter(bank, x, on_device, noise[chosen], scale=scale, moves=moves, uniform=drawn)
    made[where] = to_uint8(moved) if images.dtype == torch.uint8 else moved.clamp(0, 1).to(images.dtype)
    return made
