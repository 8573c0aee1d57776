"""The learning curve of a training: its loss at a fixed number of points."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vae_augment.bank.content import POINTS
from vae_augment.fitting.callbacks import Callback, Training
from vae_augment.fitting.checkpoint import Part
from vae_augment.model.devices import half


class LearningCurve(Callback):
    """Both parts of the loss of K classes, averaged over the steps of each point.

    Args:
        classes: K.
        steps: of the whole training.
        device: of the losses.
    """

    completed: Tensor | None = None  # mean losses [K, 2] of a point, after its last step

    def __init__(self, classes: int, steps: int, device: torch.device) -> None:
        self._steps = steps
        self._sums = torch.zeros(classes, POINTS, 2, device=device)
        self._counts = torch.zeros(classes, POINTS, 1, device=device)

    def on_step(self, training: Training) -> None:
        loss = training.loss
        self.add(training.step, loss.reconstruction / math.prod(training.vae.image_shape), loss.kl, training.finite)

    def add(self, step: int, reconstruction: Tensor, kl: Tensor, finite: Tensor) -> None:
        """Add the losses [K] of a step, except of classes that are not `finite` [K]."""
        point = step * POINTS // self._steps
        losses = torch.stack([reconstruction, kl], 1).detach().float()  # [K, 2]
        self._sums[:, point] += torch.where(finite[:, None], losses, 0)
        self._counts[:, point] += finite[:, None]
        is_last = (step + 1) * POINTS // self._steps != point
        self.completed = (self._sums[:, point] / self._counts[:, point].clamp_min(1)).cpu() if is_last else None

    def state(self) -> Part:
        return Part({"sums": self._sums.cpu(), "counts": self._counts.cpu()}, {})

    def restore(self, part: Part) -> None:
        self._sums.copy_(part.tensors["sums"])
        self._counts.copy_(part.tensors["counts"])

    def values(self) -> Tensor:
        """The curves, float16 [K, POINTS, 2] on the CPU.

        A point without a step takes the value before it, or else after it; a class without any is all zeros.
        """
        means, seen = (self._sums / self._counts.clamp_min(1)).cpu(), self._counts[:, :, 0].cpu() > 0  # [K, POINTS]
        places = torch.arange(POINTS).expand_as(seen)
        before = torch.where(seen, places, -1).cummax(1).values
        first = torch.where(seen, places, POINTS).amin(1, keepdim=True)
        taken = torch.where(before >= 0, before, first.clamp_max(POINTS - 1))
        return half(means.gather(1, taken[:, :, None].expand(-1, -1, 2)))


def ends(point: int, steps: int) -> int:
    """Number of steps that are taken at the end of a point, of the `steps` of a training."""
    return -((-(point + 1) * steps) // POINTS)


def blank(classes: int) -> Tensor:
    """Learning curves of no steps: zeros [K, POINTS, 2]."""
    return torch.zeros(classes, POINTS, 2, dtype=torch.float16)
