"""Batches of mixed classes through stacked VAEs; results keep the batch's order.

Many images are computed class by class. `Models.decode_each` is for few images of many classes, as in a shuffled
batch: one pass, each image by a copy of its own class's weights. Its results do not depend on the rest of the batch,
not even in their last bit, though products of different sizes round differently.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from vae_augment.bank.packed_weights import Stored, sizes
from vae_augment.images.tensors import as_float, resize, to_uint8
from vae_augment.model.devices import block_of, single_thread
from vae_augment.model.vae import VAE, Params, pick

EACH = 64  # images a pass of `decode_each` at most: copies of their weights take 100 KB each at 28x28
COPIES_BYTES = 64 * 2**20  # of these copies, at most, where a pass need not be larger
EACH_EXPANDED = 4  # the same for a large bank, whose weights are expanded for each pass
LEAST = 4  # images a pass of `decode_each`; missing ones are zeros
ALIGNED = 64  # numbers; a processor may compute a shorter rest at the end in another way, which rounds differently
EXPANDED_BYTES = 32 * 2**20  # of float32 weights on a CPU; larger banks stay as they are stored


class Models:
    """The VAEs of K classes: packed weights, expanded to single precision for use.

    Weights of a small bank, or on a GPU, are expanded once. A large bank's are expanded a class at a time when they are
    used, so that the file's own pages, which all processes share, are the only copy in memory.

    In all methods `rows` is int64 [B], the class position (not the label) of each item, on the models' device.
    """

    def __init__(self, vae: VAE, stored: Stored, device: torch.device) -> None:
        if device.type != "cpu" and get_worker_info() is not None:
            raise RuntimeError(
                f"a bank cannot be on {device} inside a DataLoader worker. Keep it on the CPU there: "
                "bank.to('cpu'); or jitter whole batches after the loader, with transforms.torchvision.RandomVAEJitter."
            )
        self.vae, self.classes, self.device = vae, len(stored), device
        expand = device.type != "cpu" or 4 * len(stored) * sum(sizes(vae)) <= EXPANDED_BYTES
        self.expanded = {n: t.to(device) for n, t in stored.params().items()} if expand else None
        self._stored, self._alike = stored, stored.alike()
        self._views: dict[int, Params] = {}  # of `expanded`, by class
        self._rounds_alike: bool | None = None

    def encode(self, images: Tensor, rows: Tensor, *, block: int | None = None) -> tuple[Tensor, Tensor]:
        """Posterior mean and log-variance, float32 [B, L] each, of uint8 or float images [B, C, H, W] of any size.

        Args:
            images: on any device; converted to floats and resized a block at a time.
            rows: of the images.
            block: images in every pass, padded if need be, so that a result does not depend on its batch; None: as many
                as suit the device, at most.
        """
        mean = torch.empty(len(images), self.vae.latent_dim, dtype=torch.float32, device=self.device)
        logvar = torch.empty_like(mean)
        for params, items in self._by_model(rows, block or block_of(self.device)):
            some = images[items.to(images.device)].to(self.device)
            x = resize(as_float(some), self.vae.image_shape[1:])  # [b, C, H, W]
            m, v = self.vae.encode(params, _padded(x, block)[None])  # [1, b, L] each
            mean[items], logvar[items] = m[0, : len(items)], v[0, : len(items)]
        return mean, logvar

    def decode(self, z: Tensor, rows: Tensor, *, as_bytes: bool = False) -> Tensor:
        """Images of latents [B, L]: float32 [B, C, H, W] in [0, 1], or uint8."""
        dtype = torch.uint8 if as_bytes else torch.float32
        images = torch.empty(len(z), *self.vae.image_shape, dtype=dtype, device=z.device)
        for params, items in self._by_model(rows, block_of(z.device)):
            made = self.vae.decode(params, z[items][None])[0]
            images[items] = to_uint8(made) if as_bytes else made  # while they are in the processor's cache
        return images

    def posterior_logvar(self, codes: Tensor, row: int) -> Tensor:
        """Posterior log-variances [M, L] of what codes [M, L] of one class are decoded to."""
        with torch.no_grad():
            rows = torch.full((len(codes),), row, device=self.device)
            return self.encode(self.decode(codes, rows), rows)[1]

    def squared_errors(self, images: Tensor, z: Tensor, rows: Tensor) -> Tensor:
        """Sum of squared differences between images [B, C, H, W], uint8 or float, and z [B, L] decoded: float64 [B]."""
        errors = torch.empty(len(z), dtype=torch.float64, device=z.device)
        for params, items in self._by_model(rows, block_of(z.device)):
            x = as_float(images[items.to(images.device)].to(z.device))
            errors[items] = (x - self.vae.decode(params, z[items][None])[0]).square().sum((1, 2, 3)).double()
        return errors

    def decode_each(self, z: Tensor, rows: Tensor) -> Tensor:
        """`decode` for few images of many classes, on a CPU: each is the same whatever the others are."""
        images = torch.empty(len(z), *self.vae.image_shape, dtype=torch.float32)
        whole = _whole(self.vae)
        most = self._most if self.rounds_alike() else 1
        with torch.inference_mode():  # a pass of few images is half overhead, and this is less of it
            for first in range(0, len(z), most):
                some = slice(first, first + most)
                count = len(rows[some])
                length = -(-count // whole) * whole
                images[some] = self._decode_pass(_padded(z[some], length), _padded(rows[some], length))[:count]
        return images

    @torch.no_grad()
    def rounds_alike(self) -> bool:
        """True if passes of any size decode an image to the same bits on this processor; tried out once.

        Latents are decoded alone and in passes of several sizes, spread so that a difference in rounding shows.
        """
        if self._rounds_alike is not None:
            return self._rounds_alike
        most, whole = self._most, _whole(self.vae)
        z = torch.linspace(-3, 3, most * self.vae.latent_dim, dtype=torch.float32).view(most, self.vae.latent_dim)
        rows = torch.arange(most) % self.classes

        def passes(size: int, length: int) -> Tensor:
            """All of z decoded, `size` at a time, padded to `length`."""
            parts = zip(z.split(size), rows.split(size), strict=True)
            return torch.cat([self._decode_pass(_padded(z, length), _padded(r, length))[: len(z)] for z, r in parts])

        with single_thread():
            alone = passes(1, whole)
            sizes = [size for size in (whole, 2 * whole, 3 * whole, 5 * whole, most) if whole <= size <= most]
            self._rounds_alike = all(torch.equal(alone, passes(size, size)) for size in sizes)
        return self._rounds_alike

    @property
    def _most(self) -> int:
        """Images a pass of `decode_each`, at most."""
        if self.expanded is None:
            return EACH_EXPANDED
        decoder = sum(math.prod(shape) for name, shape in self.vae.shapes.items() if name.startswith("decoder."))
        whole, fit = _whole(self.vae), COPIES_BYTES // (4 * max(1, decoder))
        return max(whole, min(EACH, fit) // whole * whole)

    def _decode_pass(self, z: Tensor, rows: Tensor) -> Tensor:
        """Images [B, C, H, W] of latents [B, L], each by a copy of its own class's weights, in one pass."""
        if self.expanded is None:
            return self.vae.decode(self._stored.params(rows.tolist(), "decoder."), z[:, None])[:, 0]
        return self.vae.decode_each(self.expanded, z, rows)

    def _by_model(self, rows: Tensor, size: int) -> Iterator[tuple[Params, Tensor]]:
        """Weights (K = 1) of each model that class positions [B] need, with up to `size` of its items at a time."""
        models = self._alike.to(rows.device)[rows]
        for row in models.unique().tolist():
            params = self._of(row)
            for items in (models == row).nonzero()[:, 0].split(size):
                yield params, items

    def _of(self, row: int) -> Params:
        """The weights of one class, K = 1."""
        if self.expanded is None:
            return self._stored.params([row])
        if row not in self._views:
            self._views[row] = pick(self.expanded, slice(row, row + 1))
        return self._views[row]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_views": {}}


def _whole(vae: VAE) -> int:
    """Passes have a multiple of so many images: at least LEAST, and so many that no pixels are left over by ALIGNED."""
    return max(LEAST, ALIGNED // math.gcd(ALIGNED, math.prod(vae.image_shape)))


def _padded(x: Tensor, length: int | None) -> Tensor:
    """x padded with rows of zeros to `length`; None: as it is."""
    missing = 0 if length is None else length - len(x)
    return torch.cat([x, x.new_zeros(missing, *x.shape[1:])]) if missing else x
