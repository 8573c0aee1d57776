"""Jitter: move an image's code along the variation of its class and decode it, keeping its own detail or not.

`VAEBank.jitter`, the transforms, the wrapper and the trial of a policy all make their images by these functions, in
this order: `moved`, decode, `difference` if detail is kept, `finished`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from vae_augment.exceptions import check_number
from vae_augment.images.moves import Moves
from vae_augment.images.tensors import as_float, match_channels, resize, to_uint8
from vae_augment.model.components import reduced_size

if TYPE_CHECKING:
    from vae_augment.bank.bank import VAEBank

WITH_ALPHA = (2, 4)  # numbers of channels of which the last is alpha


def jitter(
    bank: VAEBank,
    images: Tensor,
    rows: Tensor,
    noise: Tensor,
    *,
    scale: float | None = None,
    keep_detail: bool | None = None,
    moves: Moves | None = None,
    uniform: Tensor | None = None,
) -> Tensor:
    """Jittered images of any size and number of channels, which are then moved if there are moves.

    Args:
        bank: on the device to compute on.
        images: uint8, or float32 in [0, 1], [B, C, H, W]. Other channels than the bank's are matched: grey is repeated,
            colour averaged, alpha kept.
        rows: int64 [B], class positions in the bank.
        noise: float32 [B, L], standard normal.
        scale: how far, in standard deviations of the class's spread; None: the policy's.
        keep_detail: as in `VAEBank.jitter`.
        moves: the random moves of a policy; None: images are not moved.
        uniform: float32 [B, M] in [0, 1), for the moves.

    Returns:
        [B, C, H, W], uint8, or float32 that is not clipped.
    """
    channels = bank.image_shape[0]
    seen = images if images.shape[1] == channels else match_channels(as_float(images), channels)  # [B, c, H, W]
    z = bank.models.encode(seen, rows)[0]  # [B, L]
    z_moved = moved(bank, z, rows, noise, scale)  # [B, L]
    made = bank.models.decode(z_moved, rows)  # [B, c, h, w]
    keeps = keeps_detail(bank, (images.shape[2], images.shape[3]), keep_detail)
    if keeps:
        made = difference(made, bank.models.decode(z, rows), z_moved, z)
    return finished(made, images, keeps=keeps, smooth=bank.policy.smooth, moves=moves, uniform=uniform)


def moved(bank: VAEBank, z: Tensor, rows: Tensor, noise: Tensor, scale: float | Tensor | None = None) -> Tensor:
    """Codes [B, L] moved along the variation of their classes, by standard normal noise [B, L], at scale(s) [B]."""
    scale = bank.policy.scale if scale is None else scale
    if isinstance(scale, Tensor):
        scale = scale[:, None]  # [B, 1]
    else:
        check_number("scale", scale, "a finite number of at least 0", low=0.0)
    return z + scale * bank.stats.spread(rows, noise.to(bank.device))


def keeps_detail(bank: VAEBank, size: tuple[int, int], keep_detail: bool | None = None) -> bool:
    """True if jitter keeps the detail of images of a size (height, width): as told, or else by the policy.

    A policy's False holds for images up to the bank's size alone, since larger ones would be blurred by decoding.
    """
    larger = size[0] > bank.image_shape[1] or size[1] > bank.image_shape[2]
    return (bank.policy.keep_detail or larger) if keep_detail is None else keep_detail


def difference(made: Tensor, own: Tensor, z_moved: Tensor, z: Tensor) -> Tensor:
    """The change D(z') - D(z), to be added to the image itself.

    D(z) is rounded to half precision, because that is how it is kept for the next time.

    Args:
        made: float32 [B, C, H, W], decoded from z'.
        own: [B, C, H, W], decoded from z, in single or half precision.
        z_moved: float32 [B, L].
        z: float32 [B, L].
    """
    change = made - own.half().float()
    change[(z_moved == z).all(1)] = 0.0  # so that a code that did not move gives the image back, despite half precision
    return change


def smoothed(change: Tensor) -> Tensor:
    """A change [B, C, H, W] as means over overlapping parts of an image: [B, C, h, w], sides of 16 at most.

    What is added to an image then varies more slowly than its edges: where a VAE moves an edge, no pale copy of it is
    left beside the image's own.
    """
    coarse = F.adaptive_avg_pool2d(change, reduced_size(change.shape[2], change.shape[3]))
    return F.avg_pool2d(coarse, 3, stride=1, padding=1, count_include_pad=False)


def finished(
    made: Tensor,
    originals: Tensor,
    *,
    keeps: bool,
    smooth: bool,
    moves: Moves | None = None,
    uniform: Tensor | None = None,
) -> Tensor:
    """Decoded images resized to the originals, or the originals with differences added; then moved by the policy.

    Args:
        made: float32 [B, c, h, w], decoded images, or differences where detail is kept.
        originals: uint8, or float32 in [0, 1], [B, C, H, W].
        keeps: True if `made` are differences.
        smooth: True if differences are `smoothed`.
        moves: the policy's; None: images are not moved.
        uniform: float32 [B, M] in [0, 1), for the moves.

    Returns:
        [B, C, H, W], uint8, or float32 that is not clipped.
    """
    size = (originals.shape[2], originals.shape[3])
    made = smoothed(made) if keeps and smooth else made
    if moves is not None and uniform is not None:
        if not keeps:
            return moves.apply(_like_channels(resize(made, size), originals), uniform)
        if made.shape[2] > size[0] or made.shape[3] > size[1]:
            made = resize(made, size)  # a smaller difference is resized by moving it
        return moves.apply(as_float(originals), uniform, difference=_difference_for(originals, made))
    made = made.contiguous(memory_format=torch.channels_last)  # as most originals are, which makes adding quick
    if originals.dtype != torch.uint8 or tuple(made.shape[2:]) == size:
        made = resize(made, size)
        return as_float(originals) + _difference_for(originals, made) if keeps else _like_channels(made, originals)
    if not keeps:
        return _like_channels(resize(to_uint8(made), size), originals)
    # Increases and decreases apart, both as bytes, which are resized in a fifth of the time.
    layout = torch.contiguous_format if originals.is_contiguous() else torch.channels_last
    parts = (_difference_for(originals, resize(to_uint8(part), size)) for part in (made, -made))
    brighter, darker = (part.contiguous(memory_format=layout) for part in parts)
    both = torch.minimum(brighter, darker)
    brighter.sub_(both)
    darker.sub_(both)  # so that one of the two is 0, and bytes need not become wider
    finished = originals + torch.minimum(brighter, 255 - originals)
    return finished.sub_(torch.minimum(darker, finished))


def _difference_for(originals: Tensor, change: Tensor) -> Tensor:
    """A difference with the originals' channels, that of alpha zero."""
    return match_channels(change, originals.shape[1], alpha=0.0)


def _like_channels(made: Tensor, originals: Tensor) -> Tensor:
    """Images with the originals' channels, and their alpha if the bank models none."""
    have, wanted = made.shape[1], originals.shape[1]
    matched = match_channels(made, wanted)
    if wanted in WITH_ALPHA and have not in WITH_ALPHA:
        alpha = originals[:, -1:] if matched.dtype == originals.dtype else as_float(originals[:, -1:])
        matched = torch.cat([matched[:, :-1], alpha], dim=1)
    return matched
