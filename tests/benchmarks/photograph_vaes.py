"""VAEs of photographs that are tried beside the one that ships; see `tests.benchmarks.photographs`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from vae_augment.images.moves import Moves
from vae_augment.model.layers import conv, group_norm, linear
from vae_augment.model.vae import VAE, Params

REDUCED = 4  # pixels of an image that are one of the linear part's
COPIES = 2_400  # images, moved ones among them, that principal components are found from
EDGE = 0.02  # of the range, so that logits of black and white are finite


@dataclass(frozen=True)
class Residual(VAE):
    """A decoder with a residual 3x3 convolution after each upsampling, and patches of twice their stride."""

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        shapes = dict(VAE.shapes.func(self))
        shapes["decoder.patch.weight"] = (self.width, self.image_shape[0], 2 * self.patch, 2 * self.patch)
        for i in range(self.stages):
            fine = self.channels[i]
            shapes |= {f"decoder.more.{i}.weight": (fine, fine, 3, 3), f"decoder.more.{i}.bias": (fine,)}
            shapes |= {f"decoder.more.{i}.norm.weight": (fine,), f"decoder.more.{i}.norm.bias": (fine,)}
        return shapes

    def render(self, params: Params, features: Tensor) -> Tensor:
        classes, batch = features.shape[:2]
        h = F.silu(features).view(classes, batch, self.channels[-1], *self.grid).transpose(0, 1).flatten(1, 2)
        for i in reversed(range(self.stages)):
            h = F.pixel_shuffle(conv(params, f"decoder.{i}", h), 2)
            more = F.silu(group_norm(params, f"decoder.{i}.norm", h))
            h = h + conv(params, f"decoder.more.{i}", more, padding=1)
            h = F.silu(group_norm(params, f"decoder.more.{i}.norm", h))
        weight, bias = params["decoder.patch.weight"].flatten(0, 1), params["decoder.patch.bias"].flatten()
        x = F.conv_transpose2d(h, weight, bias, self.patch, self.patch // 2, groups=classes).float().sigmoid()
        left, _, top, _ = self.padding
        _, height, width = self.image_shape
        x = x[:, :, top : top + height, left : left + width]
        return x.unflatten(1, (classes, -1)).transpose(0, 1)


@dataclass(frozen=True)
class Principal(VAE):
    """A VAE whose start is linear: principal components of reduced images, and convolutions that begin at zero.

    The optimum of a linear VAE is probabilistic principal component analysis (Tipping and Bishop 1999; Lucas et al.
    2019), which is known in seconds. Codes are those of the components plus the encoder's; logits of an image are the
    components' sum, raised to its size by cubic interpolation, plus the decoder's. The components are not trained.
    """

    @property
    def reduced(self) -> tuple[int, int]:
        height, width = (math.ceil(side / REDUCED) for side in self.image_shape[1:])
        return height, width

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        values = self.image_shape[0] * math.prod(self.reduced)
        return VAE.shapes.func(self) | {
            "encoder.linear.weight": (values, self.latent_dim),
            "encoder.linear.bias": (self.latent_dim,),
            "decoder.linear.weight": (self.latent_dim, values),
            "decoder.linear.bias": (values,),
        }

    def encode(self, params: Params, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, logvar = super().encode(params, images)
        return mean + self._linear(params, "encoder", self._pooled(images)), logvar

    def decode(self, params: Params, z: Tensor) -> Tensor:
        values = self._linear(params, "decoder", z).unflatten(2, (self.image_shape[0], *self.reduced))
        rows, columns = (_raising(*sides) for sides in zip(self.image_shape[1:], self.reduced, strict=True))
        raised = rows @ values @ columns.T
        return (torch.logit(super().decode(params, z), eps=1e-6) + raised).sigmoid()

    def start(self, params: Params, images: Tensor, moves: Moves, generator: torch.Generator) -> None:
        """Set weights of one class to the components of images, uint8 [N, C, H, W], and of moved copies of them."""
        x = images.float().div_(255)
        x = torch.cat([x, *(moves.draw(x, generator) for _ in range(COPIES // len(x)))])
        values, logits = self._pooled(x[None])[0], self._pooled(torch.logit(x, eps=EDGE)[None])[0]
        centre = logits.mean(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # of the random projection
            _, size, axes = torch.svd_lowrank(logits - centre, q=self.latent_dim, niter=3)
        std = size / math.sqrt(len(x))
        codes = (logits - centre) @ axes / std  # [N, L]
        middle = values.mean(0)
        spread = (values - middle).T @ (values - middle)
        ridge = 1e-3 * spread.diagonal().mean() * torch.eye(len(spread))
        slope = torch.linalg.solve(spread + ridge, (values - middle).T @ codes)
        params["decoder.linear.weight"][0], params["decoder.linear.bias"][0] = (axes * std).T, centre
        params["encoder.linear.weight"][0], params["encoder.linear.bias"][0] = slope, -middle @ slope
        params["decoder.patch.weight"].zero_()
        params["encoder.out.weight"][0, :, : self.latent_dim] = 0
        params["encoder.out.bias"][0, : self.latent_dim] = 0
        some = x[:: max(1, len(x) // 300)]
        made = self.decode(params, self.encode(params, some[None])[0])[0]
        error = (made - some).square().mean()
        gain = std.square() * (made * (1 - made)).square().mean() * REDUCED**2  # squares that a unit of a code adds
        params["encoder.out.bias"][0, self.latent_dim :] = -(1 + gain / error).log()
        params["log_sigma"][0] = error.log() / 2

    def _pooled(self, images: Tensor) -> Tensor:
        """Reduced images [K, B, values] of images [K, B, C, H, W]."""
        return F.adaptive_avg_pool2d(images.flatten(0, 1), self.reduced).view(*images.shape[:2], -1)

    @staticmethod
    def _linear(params: Params, name: str, x: Tensor) -> Tensor:
        fixed = {f"{name}.linear.{what}": params[f"{name}.linear.{what}"].detach() for what in ("weight", "bias")}
        return linear(fixed, f"{name}.linear", x)


def _raising(side: int, reduced: int) -> Tensor:
    """Weights [side, reduced] of cubic interpolation along one side."""
    each = torch.eye(reduced)[None, None]
    return F.interpolate(each, size=(side, reduced), mode="bicubic", align_corners=False)[0, 0]
