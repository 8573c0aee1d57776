"""Batches of mixed classes through stacked VAEs: each class is computed once, and results keep the batch's order.

With `block`, every pass of a class's model holds exactly that many images. A result then does not depend, not even in
its last bit, on what else is in the batch: matrix products of different sizes round differently.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from vae_augment.model import VAE, Params

BLOCK = 512  # images a pass at most: bounds memory and stays in the processor's cache
LARGEST_PASS = 12  # images of a class that a batch's pass decodes together
# All of so few classes are decoded in one pass, without copying weights, where a batch holds half of them. Of larger
# images a pass takes long enough for its overhead not to matter, and padding costs more than it saves.
STACKED_CLASSES, STACKED_PIXELS = 32, 1024
EXPANDED_BYTES = 32 * 2**20  # float32 weights on a CPU; larger banks stay in half precision


@dataclass(frozen=True)
class Exact:
    """Ways of decoding that give the same bits as a class's own blocks on one thread. Processors differ in this.

    Args:
        largest: passes of 2 to this many images of a class do; less than a block: none other does.
        stacked: a pass of all classes' blocks does, and is faster.
        threaded: all threads do.
    """

    largest: int
    stacked: bool
    threaded: bool


class Weights:
    """The weights of K classes, stored in half precision, used in single.

    Those of a small bank, or on a GPU, are expanded once. A large bank's are expanded a class at a time, as they are
    used, so that the file's own pages, which all processes share, are the only copy in memory.

    Args:
        stored: float16, class axis first.
        device: to compute on.
    """

    def __init__(self, stored: Params, device: torch.device) -> None:
        self.classes = len(next(iter(stored.values())))
        size = sum(4 * tensor.numel() for tensor in stored.values())
        expand = device.type != "cpu" or size <= EXPANDED_BYTES
        self.expanded = {n: t.to(device, torch.float32) for n, t in stored.items()} if expand else None
        self._stored = stored
        self._exact: Exact | None = None

    def exact(self, vae: VAE, block: int) -> Exact:
        """Which passes other than one class's block of `block` give the same bits; tried out once."""
        if self._exact is None:
            self._exact = _try_passes(vae, self, block)
        return self._exact

    def of(self, row: int) -> Params:
        """Those of one class, K = 1."""
        params = self._stored if self.expanded is None else self.expanded
        return {name: tensor[row : row + 1].float() for name, tensor in params.items()}


def encode_mixed(
    vae: VAE, weights: Weights, x: Tensor, rows: Tensor, block: int | None = None
) -> tuple[Tensor, Tensor]:
    """Posterior mean and log-variance [B, L] of images x [B, C, H, W] by the models of class positions `rows` [B]."""
    mean = torch.empty(len(x), vae.latent_dim, device=x.device)
    logvar = torch.empty_like(mean)
    for row, items in _by_class(rows, block or BLOCK):
        m, v = vae.encode(weights.of(row), _padded(x[items], block)[None])
        mean[items], logvar[items] = m[0, : len(items)], v[0, : len(items)]
    return mean, logvar


def decode_mixed(vae: VAE, weights: Weights, z: Tensor, rows: Tensor, block: int | None = None) -> Tensor:
    """Images [B, C, H, W] in [0, 1] of latents z [B, L] by the models of class positions `rows` [B]."""
    images = torch.empty(len(z), *vae.image_shape, device=z.device)
    if block is None:
        _decode_apart(vae, weights, z, rows, (1, BLOCK), images)
        return images
    exact = weights.exact(vae, block)
    with nullcontext() if exact.threaded else single_thread():
        rest = torch.arange(len(z))
        if exact.stacked:
            rest = _decode_stacked(vae, weights, z, rows, block, images)
        sizes = (block, block) if exact.largest < block else (2, exact.largest)
        made = torch.empty(len(rest), *vae.image_shape)
        _decode_apart(vae, weights, z[rest], rows[rest], sizes, made)
        images[rest] = made
    return images


def _decode_apart(vae: VAE, weights: Weights, z: Tensor, rows: Tensor, sizes: tuple[int, int], images: Tensor) -> None:
    """Fill in one class at a time, in passes of `sizes` (at least, at most) images."""
    least, most = sizes
    for row, items in _by_class(rows, most):
        padded = _padded(z[items], max(len(items), least))
        images[items] = vae.decode(weights.of(row), padded[None])[0, : len(items)]


def _decode_stacked(vae: VAE, weights: Weights, z: Tensor, rows: Tensor, block: int, images: Tensor) -> Tensor:
    """Fill in a block of every class at a time while that serves half of the classes; returns the items left over."""
    place = _place_in_class(rows)
    while True:
        chosen = (place < block) & (place >= 0)
        items = chosen.nonzero()[:, 0]
        if 2 * len(rows[items].unique()) < weights.classes:
            return (place >= 0).nonzero()[:, 0]
        padded = z.new_zeros(weights.classes, block, vae.latent_dim)
        padded[rows[items], place[items]] = z[items]
        images[items] = vae.decode(weights.expanded or {}, padded)[rows[items], place[items]]
        place = torch.where(chosen, -1, place - block)


@torch.no_grad()
def _try_passes(vae: VAE, weights: Weights, block: int) -> Exact:
    """Decode the same latents in different passes. They are spread so that a difference in rounding shows."""
    z = torch.linspace(-3, 3, LARGEST_PASS * vae.latent_dim).view(LARGEST_PASS, vae.latent_dim)
    model = weights.of(0)

    def passes(size: int) -> Tensor:
        return torch.cat([vae.decode(model, part[None])[0] for part in z.split(size) if len(part) == size])

    with single_thread():
        wanted, largest = passes(block), 1
        while largest < LARGEST_PASS and all(map(torch.equal, wanted, passes(largest + 1))):
            largest += 1
        stacked = 1 < weights.classes <= STACKED_CLASSES and math.prod(vae.image_shape) <= STACKED_PIXELS
        if stacked and weights.expanded is not None:
            alike = z[:block].expand(weights.classes, block, vae.latent_dim)
            apart = torch.cat([vae.decode(weights.of(row), alike[:1]) for row in range(weights.classes)])
            together = vae.decode(weights.expanded, alike)
            stacked = torch.equal(together, apart)
        else:
            stacked = False
    threaded = torch.equal(passes(block), wanted) and (
        not stacked or torch.equal(vae.decode(weights.expanded or {}, alike), together)
    )
    return Exact(largest, stacked, threaded)


def _by_class(rows: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    """Each class position with the items of it, at most `size` at a time."""
    for row in rows.unique().tolist():
        for items in (rows == row).nonzero()[:, 0].split(size):
            yield row, items


def _padded(x: Tensor, length: int | None) -> Tensor:
    """The rows of x with zeros behind, up to `length`."""
    missing = 0 if length is None else length - len(x)
    return torch.cat([x, x.new_zeros(missing, *x.shape[1:])]) if missing else x


def _place_in_class(rows: Tensor) -> Tensor:
    """How many items of the same class come before each, int64 [B]."""
    order = rows.argsort(stable=True)
    ordered = rows[order]
    place = torch.empty_like(order)
    place[order] = torch.arange(len(rows), device=rows.device) - torch.searchsorted(ordered, ordered)
    return place


@contextmanager
def single_thread() -> Iterator[None]:
    """One thread, as in a DataLoader's worker, so that the main process computes the same bits as a worker does."""
    threads = torch.get_num_threads()
    if threads > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if threads > 1:
            torch.set_num_threads(threads)
