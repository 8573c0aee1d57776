"""The start of a VAE with components: the best linear one, to which convolutions add from nothing."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vae_augment.config import COMPONENTS, FitConfig
from vae_augment.data.items import evenly
from vae_augment.fitting.training import Move
from vae_augment.images.kinds import kind_of_images
from vae_augment.images.tensors import to_float
from vae_augment.model.components import reduced, reduced_size
from vae_augment.model.conv_vae import ConvVAE
from vae_augment.model.devices import single_thread
from vae_augment.model.vae import LOG_SIGMA_RANGE, VAE, Params

MOST_VALUES = 1_024  # of a reduced image, four channels; those of more take long to find
COPIES = 2_400  # images, moved ones among them, that components are found from
EDGE = 0.02  # of the range, so that the logits of black and white are finite
RIDGE = 1e-3  # of the mean variance of a reduced image's values
BLOCK = 300  # images of 64x64 at a time, fewer of larger ones; the error is measured on as many
LEAST_STD = 1e-3  # of a component, over that of the first: of fewer images than components some say nothing


def number_of_components(config: FitConfig, images: Tensor) -> int:
    """Number of components that are asked for, or else the default for images, uint8 [N, C, H, W]."""
    if config.components is not None:
        return config.components
    if config.share or config.sharing == "none" or kind_of_images(images) == "drawings":
        return 0
    values = images.shape[1] * math.prod(reduced_size(*images.shape[2:]))
    if values > MOST_VALUES:
        return 0
    return min(COMPONENTS, values, config.latent_dim or COMPONENTS)


@torch.no_grad()
def begin_with_components(
    vae: VAE, params: Params, images: Tensor, moves: Move | None, generator: torch.Generator
) -> None:
    """Set weights of one class (K = 1) to probabilistic principal component analysis of images and of moved copies.

    Without components nothing is changed.

    Components are those of reduced images' logits, scaled so that codes have a variance of 1; codes are a linear
    regression on reduced images. Convolutions give nothing at first: the last layer's weights are zeros, and the
    encoder's but for a little of the variance. Posterior variances and sigma are those of the linear model (Tipping and
    Bishop 1999).

    Args:
        vae: the shapes.
        params: as `VAE.init` gives them; changed in place.
        images: uint8 [N, C, H, W].
        moves: as for training; None: no copies.
        generator: of the copies.
    """
    if not isinstance(vae, ConvVAE) or not vae.components:
        return
    some, count = images[evenly(len(images), COPIES)], vae.components
    block_size = max(1, BLOCK * 64**2 // max(64**2, math.prod(vae.image_shape[1:])))
    found: list[Tensor] = []
    with single_thread():  # the same bits on any number
        for block in some.split(block_size):
            x = to_float(block)
            copies = 0 if moves is None else COPIES // len(some) - 1
            for moved in (x, *(moves(x, generator) for _ in range(copies) if moves is not None)):
                both = torch.stack([moved, moved.logit(eps=EDGE)])  # [2, B, C, H, W]
                found.append(reduced(both, vae.reduced))
        both = torch.cat(found, dim=1)
        values, logits = both[:, both.isfinite().all(2).all(0)]  # [N, values] each; a caller's move may give others
        centre, middle = logits.mean(0), values.mean(0)
        variances, axes = torch.linalg.eigh(torch.cov(logits.T, correction=0).view(len(centre), -1))  # rising
        std = variances[-count:].flip(0).clamp_min(0).sqrt()
        std = std.clamp_min(LEAST_STD * max(std[0].item(), LEAST_STD))
        axes = axes[:, -count:].flip(1)
        codes = (logits - centre) @ axes / std  # [N, M]
        spread = (values - middle).T @ (values - middle)
        ridge = RIDGE * spread.diagonal().mean().clamp_min(LEAST_STD) * torch.eye(len(spread))
        slope = torch.linalg.solve(spread + ridge, (values - middle).T @ codes)
    params["decoder.components.weight"][0], params["decoder.components.bias"][0] = (axes * std).T, centre
    params["encoder.components.weight"][0], params["encoder.components.bias"][0] = slope, -middle @ slope
    params["decoder.patch.weight"].zero_()
    params["encoder.out.weight"][0, :, : vae.latent_dim] = 0
    params["encoder.out.bias"].zero_()
    shown = to_float(some[evenly(len(some), block_size)])[None]
    made = vae.decode(params, vae.encode(params, shown)[0])
    error = (made - shown).square().mean().clamp_min(math.exp(2 * LOG_SIGMA_RANGE[0]))
    # Squared change of an image by a unit of each code: of the logits, raised, and through the sigmoid.
    pixels = vae.image_shape[1] * vae.image_shape[2] / math.prod(vae.reduced)
    gain = std.square() * (made * (1 - made)).square().mean() * pixels
    params["encoder.out.bias"][0, vae.latent_dim :] = F.pad(-(1 + gain / error).log(), (0, vae.latent_dim - count))
    params["log_sigma"][0] = error.log() / 2
