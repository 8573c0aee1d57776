"""Recovery from a non-finite loss, class by class."""

from __future__ import annotations

import torch
from torch import Tensor

from vae_augment.fitting.callbacks import Callback, Training
from vae_augment.fitting.checkpoint import Part

MOST_SKIPPED = 10  # steps in a row; after one more the class has failed and keeps its weights


class SkipNonFinite(Callback):
    """Skip the step of a class whose loss or gradient is not finite; the other classes take theirs.

    Args:
        classes: K.
    """

    def __init__(self, classes: int) -> None:
        self._in_a_row = torch.zeros(classes, dtype=torch.long)  # skipped steps
        self._taken = torch.zeros(classes, dtype=torch.long)
        self._last = [""] * classes  # step and figures of the last loss or gradient that was not finite
        self._before: list[Tensor] = []

    @property
    def failed(self) -> Tensor:
        """bool [K], True for classes that take no further steps."""
        return self._in_a_row > MOST_SKIPPED

    def on_gradients(self, training: Training) -> None:
        gradients = [weight.grad for weight in training.weights.values() if weight.grad is not None]
        finite = training.finite.cpu()
        # A sum is finite only if every summand is. One sum a tensor first: nearly always all are finite.
        if not bool(torch.isfinite(torch.stack([gradient.sum() for gradient in gradients])).all()):
            sums = torch.stack([gradient.reshape(len(gradient), -1).sum(1) for gradient in gradients])
            finite &= torch.isfinite(sums).all(0).cpu()
        for k in (~finite & ~self.failed).nonzero()[:, 0].tolist():
            reconstruction, kl, logvar = (part[k].item() for part in training.loss)
            figures = f"reconstruction {reconstruction:g}, KL {kl:g} nats, largest |log-variance| {logvar:g}"
            self._last[k] = f"step {training.step} ({figures})"
        takes = finite & ~self.failed
        self._in_a_row = torch.where(takes, 0, self._in_a_row + 1)
        self._taken += takes
        training.finite = takes.to(training.finite.device)
        if not bool(takes.all()):
            self._before = [tensor.clone() for tensor in self._state(training)]
            for gradient in gradients:
                gradient[~training.finite] = 0.0

    def on_step(self, training: Training) -> None:
        if self._before:  # Adam moves weights by their momentum even if the gradient is zero
            for now, before in zip(self._state(training), self._before, strict=True):
                now[~training.finite] = before[~training.finite]
            self._before = []

    @staticmethod
    def _state(training: Training) -> list[Tensor]:
        """Weights and their Adam moments, [K, ...] each."""
        weights, state = training.weights.values(), training.optimizer.state
        moments = [
            state[weight][key] if state[weight] else torch.zeros_like(weight)
            for key in ("exp_avg", "exp_avg_sq")
            for weight in weights
        ]
        return [weight.detach() for weight in weights] + moments

    def notes(self) -> list[str]:
        """The reason why each class failed, or "". A class that took no step has failed, however few there were."""
        notes = []
        for last, failed, taken in zip(self._last, self.failed.tolist(), self._taken.tolist(), strict=True):
            never = "" if taken else f"no loss was finite up to {last}"
            notes.append(f"loss not finite at {last}, nor in the {MOST_SKIPPED} steps before" if failed else never)
        return notes

    def state(self) -> Part:
        return Part({"in_a_row": self._in_a_row, "taken": self._taken}, {"last": self._last})

    def restore(self, part: Part) -> None:
        self._in_a_row, self._taken = part.tensors["in_a_row"], part.tensors["taken"]
        self._last = part.values["last"]
