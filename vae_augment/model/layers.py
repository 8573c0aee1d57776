"""Layers of K classes at once: the first axis of a weight is the class.

`params` holds the weights by name, as `ConvVAE.shapes` lists them; `name` is the layer's.

Shapes: K classes, B batch, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vae_augment.config import NORM_GROUPS


def conv(params: Mapping[str, Tensor], name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """x [B, K*I, h, w] by weight [K, O, I, k, k] to [B, K*O, h', w'], each class by its own filters."""
    weight, bias = params[f"{name}.weight"], params[f"{name}.bias"]
    return F.conv2d(x, weight.flatten(0, 1), bias.flatten(), stride, padding, groups=weight.shape[0])


def group_norm(params: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    weight, bias = params[f"{name}.weight"], params[f"{name}.bias"]
    return F.group_norm(x, weight.shape[0] * NORM_GROUPS, weight.flatten(), bias.flatten())


def pointwise(params: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """x [K, B, I, places] by weight [K, O, I, 1, 1] to [K, B, O, places]."""
    weight, bias = params[f"{name}.weight"].flatten(2), params[f"{name}.bias"]
    if torch.is_autocast_enabled(x.device.type):  # autocast does not reach into a torch.autograd.Function
        x, weight, bias = (t.to(torch.get_autocast_dtype(x.device.type)) for t in (x, weight, bias))
    product: Tensor = _Pointwise.apply(x, weight, bias)
    return product


def group_norm_blocks(params: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Normalise x [K, B, 4*channels, places]; the four values of a channel are its 2x2 block and share a weight."""
    weight, bias = (params[f"{name}.{what}"].repeat_interleave(4, dim=1) for what in ("weight", "bias"))
    if len(x) == 1:
        return F.group_norm(x[0], NORM_GROUPS, weight[0], bias[0])[None]
    batch, places = x.shape[1], x.shape[3]
    weight, bias = (t[:, None].expand(-1, batch, -1).flatten() for t in (weight, bias))
    # All images as one image of many channels, so that each is scaled by its own class's weights.
    normed = F.group_norm(x.reshape(1, -1, places), len(x) * batch * NORM_GROUPS, weight, bias)
    return normed.view_as(x)


def linear(params: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """x [K, B, I] by weight [K, I, O] to [K, B, O]."""
    return torch.baddbmm(params[f"{name}.bias"][:, None], x, params[f"{name}.weight"])


class _Pointwise(torch.autograd.Function):
    """x [K, B, I, places] by weight [K, O, I] and bias [K, O] to [K, B, O, places].

    The weight's gradient is one product over all images and places, where autograd would make one an image.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _by_image(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        outputs, inputs = (t.transpose(1, 2).flatten(2) for t in (gradient, x))  # [K, O or I, B*places]
        return _by_image(gradient, weight.transpose(1, 2)), outputs @ inputs.transpose(1, 2), outputs.sum(2)


def _by_image(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [K, B, I, places] by weight [K, O, I] and bias [K, O] to [K, B, O, places]."""
    (classes, batch, inputs, places), outputs = x.shape, weight.shape[1]
    weight = weight[:, None].expand(-1, batch, -1, -1).reshape(-1, outputs, inputs)
    x = x.reshape(-1, inputs, places)
    if bias is None:
        return torch.bmm(weight, x).view(classes, batch, outputs, places)
    bias = bias[:, None, :, None].expand(-1, batch, -1, -1).reshape(-1, outputs, 1)
    return torch.baddbmm(bias, weight, x).view(classes, batch, outputs, places)
