"""Batches of mixed classes through stacked VAEs: each class is computed once, and results keep the batch's order.

With `block`, every pass of a class's model holds that many images, or as many as give the very same bits. A result then
does not depend, not even in its last bit, on what else is in the batch: products of different sizes round differently.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from vae_augment.model import VAE, Params
from vae_augment.stored import Stored

BLOCK = 512  # images a pass at most: bounds memory and stays in the processor's cache
LARGEST_PASS = 12  # images of a class that a batch's pass decodes together
EXPANDED_BYTES = 32 * 2**20  # float32 weights on a CPU; larger banks stay as they are stored


class Weights:
    """The weights of K classes as they are stored, and in single precision for use.

    Those of a small bank, or on a GPU, are expanded once. A large bank's are expanded a class at a time, as they are
    used, so that the file's own pages, which all processes share, are the only copy in memory.
    """

    def __init__(self, stored: Stored, device: torch.device) -> None:
        if device.type != "cpu" and get_worker_info() is not None:
            raise RuntimeError(
                f"a bank cannot be on {device} inside a DataLoader worker. Keep it on the CPU there: "
                "bank.to('cpu'); or jitter whole batches after the loader, with transforms.torchvision.RandomVAEJitter."
            )
        self.classes = len(stored)
        expand = device.type != "cpu" or 4 * stored.values.numel() <= EXPANDED_BYTES
        self.expanded = {n: t.to(device) for n, t in stored.params().items()} if expand else None
        self._stored = stored
        self._views: dict[int, Params] | None = {} if expand else None
        self._largest: int | None = None

    def largest_pass(self, vae: VAE, block: int) -> int:
        """Passes of 2 to this many images of a class decode to the same bits as blocks of `block`; tried out once.

        Processors differ in this. Less than a block: passes of no other size do.
        """
        if self._largest is None:
            self._largest = _try_passes(vae, self, block)
        return self._largest

    def of(self, row: int) -> Params:
        """Those of one class, K = 1."""
        if self._views is None:
            return self._stored.params([row])
        if row not in self._views:
            self._views[row] = {name: tensor[row : row + 1] for name, tensor in (self.expanded or {}).items()}
        return self._views[row]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_views": None if self.expanded is None else {}}


def encode_mixed(
    vae: VAE, weights: Weights, x: Tensor, rows: Tensor, block: int | None = None
) -> tuple[Tensor, Tensor]:
    """Posterior mean and log-variance [B, L] of images x [B, C, H, W] by the models of class positions `rows` [B]."""
    mean = torch.empty(len(x), vae.latent_dim, dtype=torch.float32, device=x.device)
    logvar = torch.empty_like(mean)
    for row, items in _by_class(rows, block or BLOCK):
        m, v = vae.encode(weights.of(row), _padded(x[items], block)[None])
        mean[items], logvar[items] = m[0, : len(items)], v[0, : len(items)]
    return mean, logvar


def decode_mixed(vae: VAE, weights: Weights, z: Tensor, rows: Tensor, block: int | None = None) -> Tensor:
    """Images [B, C, H, W] in [0, 1] of latents z [B, L] by the models of class positions `rows` [B]."""
    least, most = 1, BLOCK
    if block is not None:
        largest = weights.largest_pass(vae, block)
        least, most = (block, block) if largest < block else (2, largest)
    order = rows.argsort(stable=True)
    ordered, images = z[order], torch.empty(len(z), *vae.image_shape, dtype=torch.float32, device=z.device)
    first = 0
    for row, count in enumerate(torch.bincount(rows).tolist()):
        params = weights.of(row) if count else {}
        for some in ordered[first : first + count].split(most) if count else ():
            with torch.inference_mode():  # a pass of few images is half overhead, and this is less of it
                made = vae.decode(params, _padded(some, max(len(some), least))[None])[0]
                images[order[first : first + len(some)]] = made[: len(some)]
            first += len(some)
    return images


@torch.no_grad()
def _try_passes(vae: VAE, weights: Weights, block: int) -> int:
    """Decode the same latents in passes of growing size. They are spread so that a difference in rounding shows."""
    z = torch.linspace(-3, 3, LARGEST_PASS * vae.latent_dim, dtype=torch.float32).view(LARGEST_PASS, vae.latent_dim)
    model = weights.of(0)

    def passes(size: int) -> list[Tensor]:
        return [image for part in z.split(size) if len(part) == size for image in vae.decode(model, part[None])[0]]

    with single_thread():
        wanted, largest = passes(block), 1
        while largest < LARGEST_PASS and all(map(torch.equal, wanted, passes(largest + 1))):
            largest += 1
    return largest


def _by_class(rows: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    """Each class position with the items of it, at most `size` at a time."""
    for row in rows.unique().tolist():
        for items in (rows == row).nonzero()[:, 0].split(size):
            yield row, items


def _padded(x: Tensor, length: int | None) -> Tensor:
    """The rows of x with zeros behind, up to `length`."""
    missing = 0 if length is None else length - len(x)
    return torch.cat([x, x.new_zeros(missing, *x.shape[1:])]) if missing else x


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
