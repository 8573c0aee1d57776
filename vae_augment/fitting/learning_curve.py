"""How the loss of a training fell, at a fixed number of points."""

from __future__ import annotations

import torch
from torch import Tensor

from vae_augment.bank.content import POINTS
from vae_augment.model.devices import half


class LearningCurve:
    """The two parts of the loss of K classes, averaged over the steps of each point as a training goes on.

    Args:
        classes: K.
        steps: of the whole training.
        device: where the losses are.
    """

    def __init__(self, classes: int, steps: int, device: torch.device) -> None:
        self._steps = steps
        self.sums = torch.zeros(classes, POINTS, 2, device=device)
        self.counts = torch.zeros(classes, POINTS, 1, device=device)

    def add(self, step: int, reconstruction: Tensor, kl: Tensor, finite: Tensor) -> Tensor | None:
        """The losses [K] of a step; those of classes whose loss is not `finite` [K] are left out.

        Returns:
            The means [K, 2] of its point where it is the last step of one, else None.
        """
        point = step * POINTS // self._steps
        losses = torch.stack([reconstruction, kl], 1).detach().float()
        self.sums[:, point] += torch.where(finite[:, None], losses, 0)
        self.counts[:, point] += finite[:, None]
        if (step + 1) * POINTS // self._steps == point:
            return None
        return (self.sums[:, point] / self.counts[:, point].clamp_min(1)).cpu()

    def values(self) -> Tensor:
        """The curves, float16 [K, POINTS, 2] on the CPU.

        A point without a step takes the one before it, or else the one after it; a class without any is all zeros.
        """
        means, seen = (self.sums / self.counts.clamp_min(1)).cpu(), self.counts[:, :, 0].cpu() > 0  # [K, POINTS]
        places = torch.arange(POINTS).expand_as(seen)
        before = torch.where(seen, places, -1).cummax(1).values
        first = torch.where(seen, places, POINTS).amin(1, keepdim=True)
        taken = torch.where(before >= 0, before, first.clamp_max(POINTS - 1))
        return half(means.gather(1, taken[:, :, None].expand(-1, -1, 2)))


def ends(point: int, steps: int) -> int:
    """How many of a training's steps are taken when a point's last one is."""
    return -((-(point + 1) * steps) // POINTS)


def blank(classes: int) -> Tensor:
    """The curves of trainings of no steps: zeros [K, POINTS, 2]."""
    return torch.zeros(classes, POINTS, 2, dtype=torch.float16)
