"""A smooth path from one image to another, of one class or of two."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral

import torch
from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.images.tensors import to_uint8

LEAST_FRAMES, MOST_FRAMES = 2, 240
BLOCK = 16  # frames per pass: each has weights of its own
LEAST_SINE = 1e-4  # of an angle between codes; below it they are taken for collinear


@torch.no_grad()
def morph(
    bank: VAEBank,
    image_a: Tensor,
    image_b: Tensor,
    label_a: int,
    label_b: int | None = None,
    *,
    frames: int = 16,
    path: str = "linear",
) -> Tensor:
    """Frames from the reconstruction of one image to that of another: uint8 [T, C, H, W].

    Within a class, its VAE decodes a path between the posterior means of both images. Across two classes the weights
    change too (see `morph_codes`).

    Example:
        >>> strip = morph(bank, three, eight, 3, 8)  # uint8 [16, 1, 28, 28]

    Args:
        bank: a fitted bank.
        image_a: [C, H, W], uint8 or float in [0, 1]; resized to the bank's height and width.
        image_b: [C, H, W], as `image_a`.
        label_a: the class of `image_a`.
        label_b: the class of `image_b`; None: the same.
        frames: T, 2 to 240. The first and the last are the reconstructions.
        path: "linear" or "spherical", see `morph_codes`.

    Raises:
        ValueError: an option is out of range, a label is unknown, or an image does not fit the bank.
    """
    ends = ((image_a, label_a), (image_b, label_a if label_b is None else label_b))
    for name, (image, _) in zip(("image_a", "image_b"), ends, strict=True):
        if image.ndim != 3:
            raise ValueError(f"{name} must be [C, H, W], got {list(image.shape)}.")
    z_a, z_b = (bank.encode(image[None], torch.tensor([label]))[0][0] for image, label in ends)
    return morph_codes(bank, z_a, z_b, label_a, label_b, frames=frames, path=path)


@torch.no_grad()
def morph_codes(
    bank: VAEBank,
    z_a: Tensor,
    z_b: Tensor,
    label_a: int,
    label_b: int | None = None,
    *,
    frames: int = 16,
    path: str = "linear",
) -> Tensor:
    """Frames from one code to another: uint8 [T, C, H, W].

    Classes tuned from one warm start are differences from its weights: one difference is faded out and the other in
    while the code moves, so that every frame is one decoded image. Where classes have no start in common
    (`shares_start`), a code of one means nothing to the other, and the pixels of both ends are cross-faded.

    Args:
        bank: a fitted bank.
        z_a: [L], decoded by the class `label_a`.
        z_b: [L], decoded by the class `label_b`.
        label_a: label of a class of the bank.
        label_b: label of a class of the bank; None: `label_a`.
        frames: T, 2 to 240.
        path: "linear" is the straight line. "spherical" is an arc (White 2016, "Sampling Generative Networks")
            around the class's mean code, which itself moves from the one class's to the other's.

    Raises:
        ValueError: an option is out of range, a label is unknown, or a code has another length.
    """
    label_b = label_a if label_b is None else label_b
    if not isinstance(frames, Integral) or not LEAST_FRAMES <= frames <= MOST_FRAMES:
        raise ValueError(f"frames must be a whole number from {LEAST_FRAMES} to {MOST_FRAMES}, got {frames!r}.")
    if path not in PATHS:
        raise ValueError(f"path must be one of {', '.join(map(repr, PATHS))}, got {path!r}.")
    first, last = (bank.decode(z[None], torch.tensor([label])) for z, label in ((z_a, label_a), (z_b, label_b)))
    t = torch.linspace(0, 1, frames, device=bank.device)
    row_a, row_b = bank.row_of[label_a], bank.row_of[label_b]
    if shares_start(bank, label_a, label_b):
        z = PATHS[path](z_a.to(bank.device), z_b.to(bank.device), bank.stats.mean[[row_a, row_b]], t[:, None])
        images = _decoded(bank, row_a, row_b, z, t)
    else:
        images = first + t.view(-1, 1, 1, 1) * (last - first)
    images[:1], images[-1:] = first, last  # to the bit
    return to_uint8(images)


def shares_start(bank: VAEBank, label_a: int, label_b: int) -> bool:
    """Tell if two classes have weights that can be blended: they are one class, or were tuned from one warm start."""
    row_a, row_b = bank.row_of[label_a], bank.row_of[label_b]
    weights = bank.content.weights
    return row_a == row_b or (weights.tuned and bool(weights.base[row_a] == weights.base[row_b]))


def _decoded(bank: VAEBank, row_a: int, row_b: int, z: Tensor, t: Tensor) -> Tensor:
    """Images [T, C, H, W] of codes [T, L] by weights that blend one class into another as t [T] goes from 0 to 1."""
    if row_a == row_b:
        return bank.models.decode(z, torch.full((len(z),), row_a, device=bank.device))
    a, b = (bank.content.weights.params([row], "decoder.") for row in (row_a, row_b))
    images = []
    for some, shares in zip(z.split(BLOCK), t.cpu().split(BLOCK), strict=True):
        weights = {name: a[name] + shares.view(-1, *[1] * (a[name].ndim - 1)) * (b[name] - a[name]) for name in a}
        on_device = {name: tensor.to(bank.device) for name, tensor in weights.items()}
        images.append(bank.vae.decode(on_device, some[:, None])[:, 0])  # a class axis of frames
    return torch.cat(images)


def _linear(z_a: Tensor, z_b: Tensor, means: Tensor, t: Tensor) -> Tensor:
    return z_a + t * (z_b - z_a)


def _spherical(z_a: Tensor, z_b: Tensor, means: Tensor, t: Tensor) -> Tensor:
    """Codes on an arc around a centre that moves in a straight line; codes collinear with it are on a line."""
    a, b = z_a - means[0], z_b - means[1]
    angle = torch.atan2((a * b.norm() - b * a.norm()).norm(), (a * b.norm() + b * a.norm()).norm()) * 2  # 0..pi
    centre, sine = _linear(means[0], means[1], means, t), angle.sin()
    if sine < LEAST_SINE:
        return centre + _linear(a, b, means, t)
    return centre + (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / sine


# A path maps two codes [L], their classes' means [2, L] and t [T, 1] to codes [T, L].
PATHS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {"linear": _linear, "spherical": _spherical}
