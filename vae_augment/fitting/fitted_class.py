"""One class that is fitted."""

from __future__ import annotations

from dataclasses import asdict
from typing import NamedTuple

from torch import Tensor

from vae_augment.bank.content import ClassInfo, Start
from vae_augment.bank.packed_weights import Stored
from vae_augment.fitting.checkpoint import Part
from vae_augment.model.latent import LatentStats
from vae_augment.model.vae import VAE


class FittedClass(NamedTuple):
    """One class's model (K = 1), how its fit went, and what is known of its latents."""

    weights: Stored
    info: ClassInfo
    stats: LatentStats
    curve: Tensor  # [1, POINTS, 2]

    def part(self) -> Part:
        """For a checkpoint, which knows the start already."""
        tensors = {"values": self.weights.values, "steps": self.weights.steps, "curve": self.curve}
        return Part(
            tensors | {f"latent.{name}": tensor for name, tensor in self.stats.tensors().items()}, asdict(self.info)
        )

    @classmethod
    def of(cls, part: Part, vae: VAE, start: Start | None) -> FittedClass:
        stats = LatentStats(*(part.tensors[f"latent.{name}"] for name in ("mean", "cov", "exemplars", "counts")))
        weights = Stored.unpacked(
            vae, part.tensors["values"], part.tensors["steps"], None if start is None else start.params
        )
        return cls(weights, ClassInfo(**part.values), stats, part.tensors["curve"])
