"""The part that all VAEs of a class have in common: weights, and the loss that they are trained by.

Weights are a plain dict of tensors whose first axis is the class: one call encodes or decodes K batches by K models.

Shapes: K classes, B batch, C H W image, L latent.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

Params = dict[str, Tensor]

LOGVAR_RANGE = (-10.0, 4.0)
# exp(-3) = 0.05 in pixels of 0..1: below it ten images are memorised rather than modelled.
LOG_SIGMA_RANGE = (-3.0, 0.0)
INITIAL_LOG_SIGMA = -1.5


class Loss(NamedTuple):
    """The parts of a loss, each float32 [K]: means over the batch, in nats per image."""

    reconstruction: Tensor  # -log p(x|z)
    kl: Tensor  # KL(q(z|x) || N(0, I))
    logvar: Tensor  # the largest |log-variance| of the posterior, to explain a loss that is not finite

    @property
    def total(self) -> Tensor:
        return self.reconstruction + self.kl


@dataclass(frozen=True)
class VAE(ABC):
    """The shapes of one class's VAE, and its functions of (weights, inputs).

    Kingma and Welling (2014), "Auto-Encoding Variational Bayes", with one learned sigma for the decoder's noise (Rybkin
    et al. 2021, "Simple and Effective VAE Training with Calibrated Decoders").

    Args:
        image_shape: (C, H, W).
        latent_dim: L.
    """

    image_shape: tuple[int, int, int]
    latent_dim: int

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor of one class, without the class axis, those of `fixed` last.

        Names begin with "encoder." or "decoder.", but for "log_sigma", of shape (). A bank file is checked against it.
        """

    @property
    @abstractmethod
    def fixed(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor that no gradient changes, so that all classes of a start share it."""

    @property
    def components(self) -> int:
        """The number of first latent dimensions that are principal components."""
        return 0

    @abstractmethod
    def init(self, generator: torch.Generator) -> Params:
        """Random weights of one class (K = 1)."""

    @abstractmethod
    def encode(self, params: Params, images: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior of images [K, B, C, H, W] in [0, 1]: mean and log-variance [K, B, L], the latter clamped."""

    @abstractmethod
    def decode(self, params: Params, z: Tensor) -> Tensor:
        """Mean images [K, B, C, H, W] in [0, 1] of latents [K, B, L]."""

    def decode_each(self, params: Mapping[str, Tensor], z: Tensor, rows: Tensor) -> Tensor:
        """Images [B, C, H, W] of latents [B, L], in one pass, each by a copy of the weights of its class.

        Args:
            params: of K classes; those whose names begin with "decoder." are used.
            z: latents.
            rows: int64 [B], the class position of each.
        """
        own = {name: tensor.index_select(0, rows) for name, tensor in params.items() if name.startswith("decoder.")}
        return self.decode(own, z[:, None])[:, 0]

    def in_training(self, params: Params, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Posterior mean and log-variance [K, B, L] of images, and images [K, B, C, H, W] of latents drawn from it."""
        mean, logvar = self.encode(params, images)
        return mean, logvar, self.decode(params, reparameterised(mean, logvar, noise))

    def loss(self, params: Params, images: Tensor, noise: Tensor) -> Loss:
        """The two parts of the negative evidence lower bound of images [K, B, C, H, W], per class.

        Args:
            params: weights of K classes.
            images: float32 in [0, 1].
            noise: standard normal [K, B, L], the draw of the reparameterisation.
        """
        mean, logvar, made = self.in_training(params, images, noise)
        squared_error = (images - made).square().flatten(2).sum(2)  # [K, B]
        log_sigma = params["log_sigma"].clamp(*LOG_SIGMA_RANGE)  # [K]
        pixels = math.prod(self.image_shape)
        log_normaliser = pixels * (log_sigma + 0.5 * math.log(2 * math.pi))
        reconstruction = log_normaliser + squared_error.mean(1) / (2 * (2 * log_sigma).exp())
        return Loss(reconstruction, kl_per_dim(mean, logvar).sum(2).mean(1), logvar.detach().abs().amax((1, 2)))

    def tuned(self) -> VAE:
        """The VAE by which classes are tuned from a shared start, whose `fixed` tensors stay as they are."""
        return self


def reparameterised(mean: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    """Latents of a posterior, from standard normal noise; all of one shape."""
    return mean + noise * (0.5 * logvar).exp()


def kl_per_dim(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, exp(logvar)) || N(0, 1)) of each dimension, in nats; the inputs' shape."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar)


def stack(params: list[Params]) -> Params:
    """Join weights along the class axis."""
    return {name: torch.cat([p[name] for p in params]) for name in params[0]}


def pick(params: Params, rows: list[int] | slice) -> Params:
    """The weights of some classes."""
    return {name: tensor[rows] for name, tensor in params.items()}
