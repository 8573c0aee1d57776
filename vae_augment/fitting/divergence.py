"""A class whose loss is not finite, kept from spoiling its weights and the others'."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vae_augment.model.vae import Loss, Params

MAX_RETRIES = 3


class Guard:
    """Keeps each class at its last good state, apart from the others."""

    def __init__(self, weights: Params, classes: int) -> None:
        self._weights = weights
        self._rate = torch.ones(classes)
        self._retries = [0] * classes
        self._notes = [""] * classes
        self._trained = torch.zeros(classes, dtype=torch.bool)
        self._last = [""] * classes  # the last loss that was not finite
        self._before: list[Tensor] = []
        self._good: list[Tensor] = []

    def _state(self, optimizer: torch.optim.Optimizer) -> list[Tensor]:
        moments = [
            optimizer.state[w][key] if optimizer.state[w] else torch.zeros_like(w)
            for key in ("exp_avg", "exp_avg_sq")
            for w in self._weights.values()
        ]
        return [w.detach() for w in self._weights.values()] + moments

    def snapshot(self, optimizer: torch.optim.Optimizer) -> bool:
        """Remember the state of every class whose weights are finite. Returns whether all are."""
        state = self._state(optimizer)
        if not self._good:
            self._good = [tensor.clone() for tensor in state]
            return True
        finite = torch.stack([torch.isfinite(t).reshape(len(t), -1).all(1) for t in state]).all(0).tolist()
        for good, now in zip(self._good, state, strict=True):
            if all(finite):
                good.copy_(now)
            else:
                rows = [k for k, ok in enumerate(finite) if ok]
                good[rows] = now[rows]
        return all(finite)

    def values(self) -> dict[str, Any]:
        """What it knows besides tensors, as JSON has it."""
        return {
            "rate": self._rate.tolist(),
            "retries": list(self._retries),
            "notes": list(self._notes),
            "trained": self._trained.tolist(),
            "last": list(self._last),
        }

    def restore(self, values: dict[str, Any]) -> None:
        self._rate, self._trained = torch.tensor(values["rate"]), torch.tensor(values["trained"])
        self._retries, self._notes, self._last = values["retries"], values["notes"], values["last"]

    def before_step(self) -> None:
        if bool((self._rate != 1).any()):
            self._before = [w.detach().clone() for w in self._weights.values()]

    def after_step(self, optimizer: torch.optim.Optimizer, finite: Tensor, step: int, loss: Loss) -> None:
        if self._before:  # Adam ignores the loss's scale, so a lower rate is a shorter step
            for weight, before in zip(self._weights.values(), self._before, strict=True):
                rate = self._rate.to(weight.device).view(-1, *[1] * (weight.ndim - 1))
                weight.data = before + rate * (weight.detach() - before)
            self._before = []
        self._trained |= finite.cpu()
        if bool(finite.all()):
            return
        for k in (~finite).nonzero()[:, 0].tolist():
            for now, good in zip(self._state(optimizer), self._good, strict=True):
                now[k] = good[k]
            self._retries[k] += 1
            self._rate[k] = 0.5 ** self._retries[k] if self._retries[k] <= MAX_RETRIES else 0.0
            figures = (
                f"(reconstruction {loss.reconstruction[k].item():g}, KL {loss.kl[k].item():g} nats, "
                f"largest |log-variance| {loss.logvar[k].item():g})"
            )
            self._last[k] = f"no loss was finite up to step {step} {figures}"
            if self._retries[k] > MAX_RETRIES and not self._notes[k]:
                self._notes[k] = f"loss not finite at step {step} after {MAX_RETRIES} retries {figures}"

    def result(self) -> tuple[Params, list[str]]:
        """The weights, those of a class that the last step spoiled as they were before; and why a class failed.

        A class that no step was taken for has failed, however few steps there were.
        """
        weights = [w.detach() for w in self._weights.values()]
        spoiled = ~torch.stack([torch.isfinite(w).reshape(len(w), -1).all(1) for w in weights]).all(0)
        if bool(spoiled.any()):
            for weight, good in zip(weights, self._good, strict=False):  # moments come after the weights
                weight[spoiled] = good[spoiled]
        notes = [
            note or ("" if trained else last)
            for note, trained, last in zip(self._notes, self._trained.tolist(), self._last, strict=True)
        ]
        return {name: w.detach().cpu() for name, w in self._weights.items()}, notes
