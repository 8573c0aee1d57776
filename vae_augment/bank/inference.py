"""Batches of mixed classes through stacked VAEs; results keep the batch's order.

Many images are computed class by class. `decode_each` is for a few of many classes, as a shuffled batch has them: each
image by a copy of its own class's weights, all in one pass. Its results do not depend, not even in their last bit, on
what else is in the batch, though products of different sizes round differently.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from vae_augment.bank.packed_weights import Stored
from vae_augment.images.tensors import to_uint8
from vae_augment.model.devices import block_of, single_thread
from vae_augment.model.vae import VAE, Params

EACH = 64  # images a pass of `decode_each`: copies of their weights take 100 KB each at 28x28
LEAST = 4  # images a pass of it, the missing ones zeros
EACH_EXPANDED = 4  # the same of a large bank, whose weights are expanded for it
FEW_CLASSES = 16  # whose first layers are one product, most of it with zeros, in less time than it takes to copy them
ALIGNED = 64  # numbers: what a processor does to fewer at an end it may do in another way, which rounds differently
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
        self._stored, self._alike = stored, stored.alike()
        self._views: dict[int, Params] | None = {} if expand else None
        self.most = EACH if expand else EACH_EXPANDED
        self._steady: bool | None = None

    def steady(self, vae: VAE) -> bool:
        """Whether passes of any size decode an image to the same bits; tried out once. Processors differ in this."""
        if self._steady is None:
            self._steady = _try_passes(vae, self)
        return self._steady

    def decode_each(self, vae: VAE, z: Tensor, rows: Tensor) -> Tensor:
        """Images [B, C, H, W] of latents [B, L] of the classes `rows` [B], by a copy of its own weights each."""
        if self.expanded is None:
            return vae.decode(self._stored.params(rows.tolist(), "decoder."), z[:, None])[:, 0]
        names = [name for name in self.expanded if name.startswith("decoder.")]
        if self.classes > FEW_CLASSES:
            return vae.decode({n: self.expanded[n].index_select(0, rows) for n in names}, z[:, None])[:, 0]
        weight, bias = self.expanded["decoder.in.weight"], self.expanded["decoder.in.bias"]
        apart = z.new_zeros(len(z), self.classes, z.shape[1])  # an image's latents in the place of its class
        apart[torch.arange(len(z)), rows] = z
        features = torch.addmm(bias.index_select(0, rows), apart.flatten(1), weight.flatten(0, 1))
        params = {n: self.expanded[n].index_select(0, rows) for n in names if not n.startswith("decoder.in.")}
        return vae.render(params, features[:, None])[:, 0]

    def by_model(self, rows: Tensor, size: int) -> Iterator[tuple[Params, Tensor]]:
        """The weights (K = 1) of each model that the class positions [B] name, and its items, `size` at a time."""
        models = self._alike.to(rows.device)[rows]
        for row in models.unique().tolist():
            params = self.of(row)
            for items in (models == row).nonzero()[:, 0].split(size):
                yield params, items

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
    for params, items in weights.by_model(rows, block or block_of(x.device)):
        m, v = vae.encode(params, _padded(x[items], block)[None])
        mean[items], logvar[items] = m[0, : len(items)], v[0, : len(items)]
    return mean, logvar


def decode_mixed(vae: VAE, weights: Weights, z: Tensor, rows: Tensor, *, as_bytes: bool = False) -> Tensor:
    """Images [B, C, H, W] of latents z [B, L] by the models of class positions `rows` [B], in [0, 1] or uint8."""
    dtype = torch.uint8 if as_bytes else torch.float32
    images = torch.empty(len(z), *vae.image_shape, dtype=dtype, device=z.device)
    for params, items in weights.by_model(rows, block_of(z.device)):
        made = vae.decode(params, z[items][None])[0]
        images[items] = to_uint8(made) if as_bytes else made  # while it is in the processor's cache
    return images


def decode_each(vae: VAE, weights: Weights, z: Tensor, rows: Tensor) -> Tensor:
    """`decode_mixed` for a few images of many classes, on a CPU: each comes out the same whatever the others are."""
    images = torch.empty(len(z), *vae.image_shape, dtype=torch.float32)
    whole = _whole(vae)
    most = weights.most if weights.steady(vae) else 1
    with torch.inference_mode():  # a pass of few images is half overhead, and this is less of it
        for first in range(0, len(z), most):
            some = slice(first, first + most)
            count = len(rows[some])
            length = -(-count // whole) * whole
            images[some] = weights.decode_each(vae, _padded(z[some], length), _padded(rows[some], length))[:count]
    return images


@torch.no_grad()
def _try_passes(vae: VAE, weights: Weights) -> bool:
    """Decode latents alone, and in passes of several sizes. They are spread so that a difference in rounding shows."""
    most, whole = weights.most, _whole(vae)
    z = torch.linspace(-3, 3, most * vae.latent_dim, dtype=torch.float32).view(most, vae.latent_dim)
    rows = torch.arange(most) % weights.classes

    def passes(size: int, length: int) -> list[Tensor]:
        parts = zip(z.split(size), rows.split(size), strict=True)
        padded = ((len(z), _padded(z, length), _padded(rows, length)) for z, rows in parts)
        return [image for count, *part in padded for image in weights.decode_each(vae, *part)[:count]]

    with single_thread():
        alone = passes(1, whole)
        sizes = [size for size in (whole, 2 * whole, 3 * whole, 5 * whole, most) if whole <= size <= most]
        return all(all(map(torch.equal, alone, passes(size, size))) for size in sizes)


def _whole(vae: VAE) -> int:
    """Images whose pixels end where the processor's steps do, and at least four: fewer are computed in other ways."""
    return max(LEAST, ALIGNED // math.gcd(ALIGNED, math.prod(vae.image_shape)))


def _padded(x: Tensor, length: int | None) -> Tensor:
    """The rows of x with zeros behind, up to `length`."""
    missing = 0 if length is None else length - len(x)
    return torch.cat([x, x.new_zeros(missing, *x.shape[1:])]) if missing else x
