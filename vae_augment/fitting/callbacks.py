"""Callbacks of a training: what is done around its steps, apart from the step itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm

from vae_augment.fitting.checkpoint import Checkpoint, Part
from vae_augment.model.vae import VAE, Loss, Params

if TYPE_CHECKING:
    from vae_augment.fitting.learning_curve import LearningCurve
    from vae_augment.fitting.training import Job

KEEP_EVERY = 25  # steps between states that may be kept
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass
class Training:
    """A training of K classes under way, as callbacks see it.

    Args:
        vae: the model's shapes.
        weights: of K classes, on the device where they are trained.
        optimizer: Adam over the weights, which has their moments.
        jobs: what each class is trained on.
        steps: of the whole training.
        curve: how the losses fell so far.
        callbacks: told of each step in this order.
        step: the one under way, from 0.
        loss: of this step's batches, float32 [K] each.
        finite: bool [K], False for a class whose step is left out because its loss or gradient is not finite.
    """

    vae: VAE
    weights: Params
    optimizer: torch.optim.Optimizer
    jobs: Sequence[Job]
    steps: int
    curve: LearningCurve
    callbacks: Sequence[Callback] = ()
    step: int = 0
    loss: Loss = field(init=False)
    finite: Tensor = field(init=False)


class Callback:
    """Something that is done around the steps of a training. A subclass has the methods it needs."""

    def on_start(self, training: Training) -> None:
        """Called before the first step; sets `training.step` to go on from a later one."""

    def on_gradients(self, training: Training) -> None:
        """Called when the loss and the gradients of a step are known, before the weights change."""

    def on_step(self, training: Training) -> None:
        """Called after each step."""

    def state(self) -> Part:
        """What must be kept for a training that is ended to go on as if it had not been."""
        return Part({}, {})

    def restore(self, part: Part) -> None:
        """Take over a kept state."""


class Progress(Callback):
    """Steps shown on a progress bar.

    Args:
        bar: updated with each step, and with those that were taken before the training was ended.
        each: what a step counts, for example the number of classes.
    """

    def __init__(self, bar: tqdm[Any], each: int = 1) -> None:
        self._bar, self._each = bar, each

    def on_start(self, training: Training) -> None:
        self._bar.update(training.step * self._each)

    def on_step(self, training: Training) -> None:
        self._bar.update(self._each)


class KeepState(Callback):
    """The whole state of a training in a checkpoint every few seconds, to go on from to the very same bits.

    Args:
        checkpoint: where to.
        name: of the training.
    """

    def __init__(self, checkpoint: Checkpoint, name: str) -> None:
        self._checkpoint, self._name = checkpoint, name

    def on_step(self, training: Training) -> None:
        taken = training.step + 1
        if taken % KEEP_EVERY or not self._checkpoint.due:
            return
        tensors = {f"generator.{k}": job.generator.get_state() for k, job in enumerate(training.jobs)}
        values: dict[str, Any] = {"taken": taken}
        for name, weight in training.weights.items():
            tensors[f"weight.{name}"] = weight.detach().cpu()
            tensors |= {f"{moment}.{name}": training.optimizer.state[weight][moment].cpu() for moment in MOMENTS}
        for place, callback in enumerate(training.callbacks):
            part = callback.state()
            tensors |= {f"callback.{place}.{name}": tensor for name, tensor in part.tensors.items()}
            values[f"callback.{place}"] = part.values
        self._checkpoint.save(self._name, Part(tensors, values))

    def on_start(self, training: Training) -> None:
        kept = self._checkpoint.load(self._name)
        if kept is None:
            return
        training.step = kept.values["taken"]
        for k, job in enumerate(training.jobs):
            job.generator.set_state(kept.tensors[f"generator.{k}"])
        states: dict[int, Any] = {}
        for place, (name, weight) in enumerate(training.weights.items()):
            weight.data.copy_(kept.tensors[f"weight.{name}"])
            states[place] = {moment: kept.tensors[f"{moment}.{name}"] for moment in MOMENTS}
            states[place]["step"] = torch.tensor(float(training.step))
        groups = training.optimizer.state_dict()["param_groups"]
        training.optimizer.load_state_dict({"state": states, "param_groups": groups})
        for place, callback in enumerate(training.callbacks):
            prefix = f"callback.{place}."
            own = {name.removeprefix(prefix): t for name, t in kept.tensors.items() if name.startswith(prefix)}
            callback.restore(Part(own, kept.values[prefix[:-1]]))
