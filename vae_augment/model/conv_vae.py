"""Our convolutional VAE, written for K classes at once.

Convolutions are grouped by class, linear layers are batched matrix products. With K = 1 both are the ordinary ones.

Shapes: K classes, B batch, C H W image, L latent, M components, F features where the convolutions end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vae_augment.config import MAX_SIDE, MIN_SIDE
from vae_augment.model.components import raised, reduced, reduced_size
from vae_augment.model.layers import conv, group_norm, group_norm_blocks, linear, pointwise
from vae_augment.model.vae import INITIAL_LOG_SIGMA, LOGVAR_RANGE, VAE, Params

COARSEST = 4  # convolutions halve the grid until its longer side is at most this
OVERLAP = 1  # pixels by which decoded patches overlap, so that no edge shows
FIRST_LAYERS = ("decoder.in.", "decoder.components.")
FEW_CLASSES = 16  # up to these, one product with all first layers, mostly of zeros, is quicker than copying the layers


@dataclass(frozen=True)
class ConvVAE(VAE):
    """The convolutional VAE of a class, our own.

    A patch convolution, `stages` strided 3x3 convolutions with GroupNorm, and a linear layer give the posterior
    (Kingma and Welling 2014). The decoder mirrors them by 1x1 sub-pixel convolutions (Shi et al. 2016), because its
    linear layer has mixed all places already, and ends in overlapping patches. Its noise is one learned sigma (Rybkin
    et al. 2021, "Simple and Effective VAE Training with Calibrated Decoders").

    With components the convolutions add to a linear VAE, whose optimum is known without training: probabilistic
    principal component analysis (Tipping and Bishop 1999; Lucas et al. 2019). Images are reduced for it, and what its
    codes give is raised again by cubic interpolation.

    Args:
        image_shape: (C, H, W), sides of 8 to 256 pixels; padded to a multiple of the stride, and cropped again.
        latent_dim: L.
        width: channels after the patch convolution, a multiple of 8.
        components: M, so many first latent dimensions are principal components too, which no training changes.
    """

    width: int = 32
    components: int = 0

    def __post_init__(self) -> None:
        channels, height, width = self.image_shape
        if channels < 1 or not all(MIN_SIDE <= side <= MAX_SIDE for side in (height, width)):
            raise ValueError(
                f"image_shape must be (C, H, W) with sides of {MIN_SIDE} to {MAX_SIDE}, got {self.image_shape}."
            )
        most = min(self.latent_dim, channels * math.prod(self.reduced))
        if not 0 <= self.components <= most:
            raise ValueError(f"components must be from 0 to {most} for these images, got {self.components}.")

    @cached_property
    def patch(self) -> int:
        return 4 if min(self.image_shape[1:]) >= 16 else 2

    @cached_property
    def stages(self) -> int:
        grid = math.ceil(max(self.image_shape[1:]) / self.patch)
        return max(1, math.ceil(math.log2(grid / COARSEST)))

    @cached_property
    def grid(self) -> tuple[int, int]:
        """Height and width where the convolutions end."""
        stride = self.patch * 2**self.stages
        return math.ceil(self.image_shape[1] / stride), math.ceil(self.image_shape[2] / stride)

    @cached_property
    def padding(self) -> tuple[int, int, int, int]:
        """Pixels added on the left, right, top and bottom."""
        stride = self.patch * 2**self.stages
        extra_h = self.grid[0] * stride - self.image_shape[1]
        extra_w = self.grid[1] * stride - self.image_shape[2]
        return extra_w // 2, extra_w - extra_w // 2, extra_h // 2, extra_h - extra_h // 2

    @cached_property
    def reduced(self) -> tuple[int, int]:
        """Height and width of the images that components are of."""
        return reduced_size(self.image_shape[1], self.image_shape[2])

    @cached_property
    def channels(self) -> list[int]:
        """Channels after the patch convolution and after each stage."""
        return [self.width] + [2 * self.width] * self.stages

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor of one class, without the class axis, those of `fixed` last.

        A bank file is checked against it.
        """
        image_channels, (p, c) = self.image_shape[0], (self.patch, self.channels)
        features = c[-1] * self.grid[0] * self.grid[1]
        shapes: dict[str, tuple[int, ...]] = {
            "encoder.patch.weight": (c[0], image_channels, p, p),
            "encoder.patch.bias": (c[0],),
            "encoder.out.weight": (features, 2 * self.latent_dim),
            "encoder.out.bias": (2 * self.latent_dim,),
            "decoder.in.weight": (self.latent_dim, features),
            "decoder.in.bias": (features,),
            "decoder.patch.weight": (c[0], image_channels * (p + 2 * OVERLAP) ** 2),
            "decoder.patch.bias": (image_channels,),
            "log_sigma": (),
        }
        for i in range(self.stages):
            fine, coarse = c[i], c[i + 1]
            shapes |= _stage_shapes(f"encoder.{i}", (coarse, fine, 3, 3), coarse)
            shapes |= _stage_shapes(f"decoder.{i}", (4 * fine, coarse, 1, 1), fine)  # 4: a 2x2 block of each pixel
        return shapes | self.fixed

    @cached_property
    def fixed(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor that training leaves as it is, so that all classes of a start share it."""
        if not self.components:
            return {}
        values = self.image_shape[0] * math.prod(self.reduced)
        return {
            "encoder.components.weight": (values, self.components),
            "encoder.components.bias": (self.components,),
            "decoder.components.weight": (self.components, values),
            "decoder.components.bias": (values,),
        }

    def init(self, generator: torch.Generator) -> Params:
        """Random weights of one class (K = 1): uniform in +-1/sqrt(fan in), as torch.nn's layers start.

        Components are zeros; `vae_augment.fitting.components` sets them.
        """
        params = {}
        for name, shape in self.shapes.items():
            if name in self.fixed:
                tensor = torch.zeros(shape)
            elif name == "log_sigma":
                tensor = torch.full(shape, INITIAL_LOG_SIGMA)
            elif ".norm." in name:
                tensor = torch.full(shape, 1.0 if name.endswith("weight") else 0.0)
            else:
                weight = self.shapes[name.replace(".bias", ".weight")]
                fan_in = weight[0] if len(weight) == 2 else math.prod(weight[1:])
                tensor = (torch.rand(shape, generator=generator) * 2 - 1) / math.sqrt(fan_in)
            params[name] = tensor[None]
        return params

    def encode(self, params: Params, images: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior of images [K, B, C, H, W] in [0, 1]: mean and log-variance [K, B, L], the latter clamped."""
        classes = images.shape[0]
        h = images.transpose(0, 1).flatten(1, 2)  # [B, K*C, H, W]
        h = F.pad(h, self.padding, mode="replicate")
        h = F.silu(conv(params, "encoder.patch", h, stride=self.patch))  # [B, K*width, H/p, W/p]
        for i in range(self.stages):
            h = conv(params, f"encoder.{i}", h, stride=2, padding=1)
            h = F.silu(group_norm(params, f"encoder.{i}.norm", h))  # half the grid
        h = h.unflatten(1, (classes, -1)).flatten(2).transpose(0, 1)  # [K, B, F]
        mean, logvar = linear(params, "encoder.out", h).float().chunk(2, dim=-1)  # [K, B, L] each
        if self.components:
            codes = linear(params, "encoder.components", reduced(images, self.reduced)).float()  # [K, B, M]
            mean = mean + F.pad(codes, (0, self.latent_dim - self.components))
        return mean, logvar.clamp(*LOGVAR_RANGE)

    def decode(self, params: Params, z: Tensor) -> Tensor:
        """Mean images [K, B, C, H, W] in [0, 1] of latents [K, B, L]."""
        first = linear(params, "decoder.in", z)
        if not self.components:
            return self.render(params, first)
        return self.render(params, first, linear(params, "decoder.components", z[..., : self.components]))

    def render(self, params: Params, features: Tensor, coarse: Tensor | None = None) -> Tensor:
        """`decode` from the outputs of the decoder's first layer, [K, B, F], and of components, [K, B, C*h*w]."""
        classes, batch = features.shape[:2]
        h = F.silu(features)  # a channel's places side by side
        for i in reversed(range(self.stages)):
            h = h.reshape(classes, batch, self.channels[i + 1], -1)
            h = pointwise(params, f"decoder.{i}", h)  # [K, B, 4*channels, places]
            h = F.silu(group_norm_blocks(params, f"decoder.{i}.norm", h))
        # A channel's four values of a place are its 2x2 block on the finer grid. They are never rearranged into it:
        # `pixels_of_patches` maps each value to its pixel.
        h, weight = h.reshape(classes, batch, self.width, -1), params["decoder.patch.weight"].transpose(1, 2)
        # Patches are added up with images side by side. With one class it is quicker to transpose before the product.
        if classes == 1:
            turned = h[0].flatten(1).t().contiguous()  # in two dimensions, which torch copies in blocks
            values = (weight[0] @ turned.view(self.width, -1)).view(-1, batch)  # [V, B]
        else:
            values = torch.matmul(weight[:, None], h).reshape(classes * batch, -1).t().contiguous()  # [V, K*B]
        bias = params["decoder.patch.bias"][:, None].expand(-1, batch, -1).flatten(0, 1)  # [K*B, C]
        more = None if coarse is None else raised(coarse, self.reduced, self.image_shape[1:])
        images: Tensor = _Overlapped.apply(values.float(), bias, more, self)
        return images.view(classes, batch, *self.image_shape)

    def decode_each(self, params: Mapping[str, Tensor], z: Tensor, rows: Tensor) -> Tensor:
        """Images [B, C, H, W] of latents [B, L], as for every VAE; of few classes the first layers are one product."""
        classes = len(params["decoder.in.weight"])
        if classes > FEW_CLASSES:
            return super().decode_each(params, z, rows)
        apart = z.new_zeros(len(z), classes, z.shape[1])  # each code in the place of its class
        apart[torch.arange(len(z)), rows] = z

        def first(name: str, codes: Tensor) -> Tensor:
            weight, bias = params[f"{name}.weight"], params[f"{name}.bias"]
            return torch.addmm(bias.index_select(0, rows), codes.flatten(1), weight.flatten(0, 1))[:, None]

        features = first("decoder.in", apart)
        coarse = first("decoder.components", apart[:, :, : self.components]) if self.components else None
        names = [n for n in params if n.startswith("decoder.") and not n.startswith(FIRST_LAYERS)]
        own = {name: params[name].index_select(0, rows) for name in names}
        return self.render(own, features, coarse)[:, 0]

    def pixels_of_patches(self) -> Tensor:
        """The pixel of the flat image [C*H*W] that each value of the decoder's patches adds to; -1: it is cropped.

        Values are ordered by channel, row and column in a patch, and place of the patch. Places are ordered by their
        position in the 2x2 block of each stage, the last stage first, and then on the coarsest grid.
        """
        height, width = self.grid
        rows, columns = torch.arange(height)[:, None].expand(height, width), torch.arange(width).expand(height, width)
        rows, columns = rows.flatten(), columns.flatten()
        for _ in range(self.stages):
            rows = (2 * rows + torch.tensor([0, 0, 1, 1])[:, None]).flatten()
            columns = (2 * columns + torch.tensor([0, 1, 0, 1])[:, None]).flatten()
        side = torch.arange(self.patch + 2 * OVERLAP) - OVERLAP
        left, _, top, _ = self.padding
        channels, height, width = self.image_shape
        y = (rows * self.patch - top + side[:, None])[:, None]  # [side, 1, places]
        x = (columns * self.patch - left + side[:, None])[None]  # [1, side, places]
        pixel = torch.where((y >= 0) & (y < height) & (x >= 0) & (x < width), y * width + x, -1)
        first = torch.arange(channels).view(-1, 1, 1, 1) * height * width
        return torch.where(pixel < 0, -1, first + pixel).flatten()


@cache
def _bags(vae: ConvVAE, device: torch.device) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Arguments of `embedding_bag`: the values that each pixel sums, and backwards the pixel, if any, of each value."""
    pixels = vae.pixels_of_patches()
    order = pixels.argsort(stable=True)[int((pixels < 0).sum()) :]
    counts = torch.bincount(pixels[order], minlength=math.prod(vae.image_shape))
    kept = pixels >= 0
    there, back = (order, counts.cumsum(0) - counts), (pixels[kept], kept.cumsum(0) - kept.long())
    return tuple((some.to(device), first.to(device)) for some, first in (there, back))  # type: ignore[return-value]


class _Overlapped(torch.autograd.Function):
    """Images [N, C, H*W] in [0, 1] from values [V, N] of overlapping patches, a bias [N, C], and more logits or None.

    The same as `torch.nn.functional.fold` and a sigmoid, but quicker: images lie side by side while patches are added.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, bias: Tensor, more: Tensor | None, vae: ConvVAE) -> Tensor:
        some, first = _bags(vae, values.device)[0]
        flat = F.embedding_bag(some, values, first, mode="sum").t().contiguous()  # [N, C*H*W]
        images = flat.view(*bias.shape, -1).add_(bias[:, :, None])
        images = (images if more is None else images.add_(more)).sigmoid_()
        ctx.vae = vae
        ctx.save_for_backward(images)
        return images

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        (images,) = ctx.saved_tensors
        gradient = torch.ops.aten.sigmoid_backward(gradient, images)
        some, first = _bags(ctx.vae, gradient.device)[1]
        values = F.embedding_bag(some, gradient.flatten(1).t().contiguous(), first, mode="sum")
        return values, gradient.sum(2), gradient if ctx.needs_input_grad[2] else None, None


def _stage_shapes(name: str, weight: tuple[int, ...], normed: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.weight": weight,
        f"{name}.bias": weight[:1],
        f"{name}.norm.weight": (normed,),
        f"{name}.norm.bias": (normed,),
    }
