"""Callbacks of a training: work that is done around its steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm

from vae_augment.fitting.checkpoint import Checkpoint, Part
from vae_augment.model.vae import VAE, Loss, Params
from vae_augment.progress import passed

if TYPE_CHECKING:
    from vae_augment.fitting.learning_curve import LearningCurve
    from vae_augment.fitting.training import Job

KEEP_EVERY = 25  # steps between states that may be kept
SECONDS = 2.0  # between two kept states of a training, at least
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass
class Training:
    """The state of a training of K classes, for callbacks.

    Args:
        vae: the model's shapes.
        weights: of K classes, on the device where they are trained; those that are, and not `fixed` ones.
        optimizer: Adam over the weights.
        jobs: the images and randomness of each class.
        steps: of the whole training.
        curve: the learning curve so far.
        callbacks: called in this order.
        step: the present one, from 0.
        loss: of the present step's batches, float32 [K] each.
        fixed: weights that training leaves as they are (`VAE.fixed`).
        finite: bool [K], False for a class that skips this step because its loss or gradient is not finite.
    """

    vae: VAE
    weights: Params
    optimizer: torch.optim.Optimizer
    jobs: Sequence[Job]
    steps: int
    curve: LearningCurve
    callbacks: Sequence[Callback] = ()
    step: int = 0
    fixed: Params = field(default_factory=dict)
    loss: Loss = field(init=False)
    finite: Tensor = field(init=False)


class Callback:
    """Work around the steps of a training. A subclass overrides the methods it needs."""

    def on_start(self, training: Training) -> None:
        """Called before the first step; may set `training.step` to resume at a later one."""

    def on_gradients(self, training: Training) -> None:
        """Called when the loss and the gradients of a step are known, before the weights change."""

    def on_step(self, training: Training) -> None:
        """Called after each step."""

    def state(self) -> Part:
        """The state that a resumed training needs."""
        return Part({}, {})

    def restore(self, part: Part) -> None:
        """Restore a kept state."""


class Progress(Callback):
    """Show steps on a progress bar, which other trainings may share.

    Args:
        bar: updated with each step, and with the steps before a resumed training.
        each: the count of one step, for example the number of classes.
    """

    def __init__(self, bar: tqdm[Any], each: int = 1) -> None:
        self._bar, self._each = bar, each

    def on_start(self, training: Training) -> None:
        passed(self._bar, training.step * self._each)

    def on_step(self, training: Training) -> None:
        self._update(1)

    def _update(self, steps: int) -> None:
        with self._bar.get_lock():  # type: ignore[no-untyped-call]
            self._bar.update(steps * self._each)


class CallEachStep(Callback):
    """Call a function after each step, which may raise to end the training."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function

    def on_step(self, training: Training) -> None:
        self._function()


class KeepState(Callback):
    """Keep the whole state of a training every few seconds. A resumed training gives the same bits.

    Args:
        checkpoint: keeps the state.
        name: of the training.
    """

    def __init__(self, checkpoint: Checkpoint, name: str) -> None:
        self._checkpoint, self._name = checkpoint, name
        self._kept_at = time.monotonic()

    def on_step(self, training: Training) -> None:
        taken = training.step + 1
        if taken % KEEP_EVERY or not self._checkpoint.kept or time.monotonic() - self._kept_at < SECONDS:
            return
        tensors = {f"generator.{k}": job.generator.get_state() for k, job in enumerate(training.jobs)}
        values: dict[str, Any] = {"taken": taken}
        tensors |= {f"weight.{name}": weight.cpu() for name, weight in training.fixed.items()}
        for name, weight in training.weights.items():
            tensors[f"weight.{name}"] = weight.detach().cpu()
            moments = training.optimizer.state[weight]  # none of a weight that has no gradient
            tensors |= {f"{moment}.{name}": moments.get(moment, torch.zeros_like(weight)).cpu() for moment in MOMENTS}
        for place, callback in enumerate(training.callbacks):
            part = callback.state()
            tensors |= {f"callback.{place}.{name}": tensor for name, tensor in part.tensors.items()}
            values[f"callback.{place}"] = part.values
        self._checkpoint.save(self._name, Part(tensors, values))
        self._kept_at = time.monotonic()

    def on_start(self, training: Training) -> None:
        kept = self._checkpoint.load(self._name)
        if kept is None:
            return
        training.step = kept.values["taken"]
        for k, job in enumerate(training.jobs):
            job.generator.set_state(kept.tensors[f"generator.{k}"])
        for name, weight in training.fixed.items():
            weight.copy_(kept.tensors[f"weight.{name}"])
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
            callback.restore(Part(own, kept.values.get(prefix[:-1], {})))  # none of a log that was not there before
