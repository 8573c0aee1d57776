"""A fitted class: its part of a checkpoint, and its status."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import NamedTuple

import torch
from torch import Tensor

from vae_augment.bank.content import ClassInfo, Start
from vae_augment.bank.packed_weights import Stored
from vae_augment.fitting.checkpoint import Part
from vae_augment.model.latent import LatentStats
from vae_augment.model.vae import VAE

FEW_SAMPLES = 5  # images; a class with fewer is reported as such
TRIED = 64  # reconstructions that are examined for collapse, at most
IGNORED = 0.01  # spread of reconstructions over that of images; up to this the decoder ignores the codes
BLURRED = 0.3  # detail of reconstructions over that of images: hands 0.2 as blobs, else 0.4 (docs/photographs.md)
SMALL_SIDE = 32  # pixels; smaller images have little detail to lose
SMOOTH = 1e-4  # detail of images that have none
FAINT = 0.02  # spread of images, pixels in 0..1; less is lost in a decoder noise of 0.05 or more


class FittedClass(NamedTuple):
    """A class's weights (K = 1), figures of its fit, latent statistics and learning curve."""

    weights: Stored
    info: ClassInfo
    stats: LatentStats
    curve: Tensor  # [1, POINTS, 2]

    def part(self) -> Part:
        """For a checkpoint, which holds the start already."""
        tensors = {f"latent.{name}": tensor for name, tensor in self.stats.tensors().items()}
        tensors |= {"values": self.weights.values, "steps": self.weights.steps, "curve": self.curve}
        return Part(tensors, asdict(self.info))

    @classmethod
    def of(cls, part: Part, vae: VAE, start: Start | None) -> FittedClass:
        """The inverse of `part`."""
        kept = part.tensors
        stats = LatentStats.of(lambda name: kept[f"latent.{name}"])
        weights = Stored.unpacked(vae, kept["values"], kept["steps"], None if start is None else start.params)
        return cls(weights, ClassInfo(**part.values), stats, kept["curve"])


def status_of(images: Tensor, decode: Callable[[Tensor], Tensor], active: int, failure: str) -> tuple[str, str]:
    """A class's status, one of `vae_augment.bank.content.STATUSES`, and its note.

    Args:
        images: uint8 [N, C, H, W], all of the class.
        decode: reconstructions, float32 [M, C, H, W], of the images at places [M].
        active: number of latent dimensions in use.
        failure: the reason why training failed, or "".
    """
    if failure:
        return "failed", f"{failure}. Lower learning_rate, or look for odd images in this class"
    if len(images) < FEW_SAMPLES:
        return "few-samples", f"{len(images)} images teach a VAE little; generated ones will resemble them closely"
    if bool((images == images[:1]).all()):
        return "constant", "all images are the same, so there is no variation to learn"
    places = torch.linspace(0, len(images) - 1, min(len(images), TRIED)).long()
    some = images[places].float() / 255
    spread, again = _spread(some), decode(places)
    if active and _spread(again) > IGNORED * spread:
        detail, shown = _detail(some), _detail(again)
        if shown > BLURRED * detail or detail < SMOOTH or min(images.shape[2:]) <= SMALL_SIDE:
            return "ok", ""
        return "blurred", f"{100 * shown / detail:.0f} % of the detail. Augment, which keeps the images' own"
    if spread < FAINT:
        levels = f"{255 * spread:.1f} of 255 levels"
        return "collapsed", f"images differ by {levels}, too little to learn. Stretch their values"
    if active:
        return "collapsed", "all codes are decoded to one image. Lower learning_rate, or train for more steps"
    return "collapsed", "no latent dimension is in use. Train for more steps, or with sharing='warm-start'"


def _detail(images: Tensor) -> float:
    """Mean squared difference of neighbouring pixels of images [N, C, H, W]."""
    return sum(images.diff(dim=dim).square().mean().item() for dim in (2, 3))


def _spread(images: Tensor) -> float:
    """Root mean squared difference of images [N, C, H, W] from their mean."""
    return math.sqrt((images - images.mean(0)).square().mean().item())
