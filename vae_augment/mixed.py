"""Batches of mixed classes through stacked VAEs: each class is computed once, and results keep the batch's order.

With `block`, every pass through a model holds exactly that many images. A result then does not depend, not even in its
last bit, on what else is in the batch: matrix products of different sizes round differently.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vae_augment.model import VAE, Params, pick

BLOCK = 512  # images a pass at most: bounds memory and stays in the processor's cache


def encode_mixed(vae: VAE, params: Params, x: Tensor, rows: Tensor, block: int | None = None) -> tuple[Tensor, Tensor]:
    """Posterior mean and log-variance [B, L] of images x [B, C, H, W] by the models of class positions `rows` [B]."""
    mean = torch.empty(len(x), vae.latent_dim, device=x.device)
    logvar = torch.empty_like(mean)
    for row, items in _by_class(rows, block or BLOCK):
        m, v = vae.encode(pick(params, slice(row, row + 1)), _padded(x[items], block)[None])
        mean[items], logvar[items] = m[0, : len(items)], v[0, : len(items)]
    return mean, logvar


def decode_mixed(vae: VAE, params: Params, z: Tensor, rows: Tensor, block: int | None = None) -> Tensor:
    """Images [B, C, H, W] in [0, 1] of latents z [B, L] by the models of class positions `rows` [B]."""
    images = torch.empty(len(z), *vae.image_shape, device=z.device)
    for row, items in _by_class(rows, block or BLOCK):
        decoded = vae.decode(pick(params, slice(row, row + 1)), _padded(z[items], block)[None])
        images[items] = decoded[0, : len(items)]
    return images


def _by_class(rows: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    """Each class position with the items of it, at most `size` at a time."""
    for row in rows.unique().tolist():
        for items in (rows == row).nonzero()[:, 0].split(size):
            yield row, items


def _padded(x: Tensor, length: int | None) -> Tensor:
    """The rows of x with zeros behind, up to `length`."""
    missing = 0 if length is None else length - len(x)
    return torch.cat([x, x.new_zeros(missing, *x.shape[1:])]) if missing else x
