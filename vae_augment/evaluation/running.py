"""The rounds of an evaluation: in each a bank, and a classifier for every arm; finished ones are kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from vae_augment.bank.policy import Policy
from vae_augment.evaluation.arms import Classical, batches, parse
from vae_augment.evaluation.prediction import Counted, Prediction
from vae_augment.evaluation.progress import MINUTE, Progress
from vae_augment.evaluation.rounds import Study
from vae_augment.fitting.checkpoint import Checkpoint, Part
from vae_augment.fitting.classifier import Factory, new_classifier, train_classifier
from vae_augment.seeding import derive
from vae_augment.wrapper.sampling_strategy import Strategy

TIMED = 3  # steps, after one that is not
FIT_STEPS = 8  # steps of the small CNN that take as long as a step of a fit, with its trials


@dataclass
class Rounds:
    """The rounds of an evaluation.

    Args:
        study: the images, and their division.
        arms: to compare.
        classifier: makes a module; None: a `SmallCNN`.
        classical: the augmentation of the classical arms.
        strategy: the wrapper's, in terms of classes 0 to K-1.
        steps: of each classifier.
        seed: of everything random.
        device: where to train.
        prediction: how classifiers predict.
    """

    study: Study
    arms: Sequence[str]
    classifier: Factory | None
    classical: Classical
    strategy: Strategy | None
    steps: int
    seed: int
    device: torch.device
    prediction: Prediction
    _last: nn.Module | None = field(default=None, init=False)

    @property
    def _fits(self) -> int:
        """Cost of a round's fits, in steps of a classifier."""
        return FIT_STEPS * self.study.fit_steps({parse(arm)[0] for arm in self.arms})

    @property
    def _cost(self) -> int:
        return len(self.arms) * self.steps + self._fits

    def run(self, count: int, minutes: float | None, kept: Checkpoint, shown: Progress) -> list[Part]:
        """Run or load rounds: at most `count`, and no more than are done in so many minutes, but one.

        Returns:
            A part for each round: predictions of each arm's classifier for the images held out, int64 [N], and
            "policy", that of ours as a dict, or None.
        """
        shown.begin(count * self._cost)
        parts: list[Part] = []
        longest = 0.0
        for number in range(count):
            part, begun = kept.load(f"round-{number}"), shown.minutes
            if part is not None:
                shown.skip(self._cost)
                longest = max(longest, part.values["minutes"])
            elif minutes is not None and parts and begun + longest > minutes:
                shown.say(f"{number} of {count} rounds done; another would not be within {minutes:g} minutes.")
                break
            else:
                part = self._round(number, f"round {number + 1} of {count}", shown)
                part.values["minutes"] = shown.minutes - begun
                kept.save(f"round-{number}", part)
                longest = max(longest, shown.minutes - begun)
            parts.append(part)
        return parts

    def _round(self, number: int, name: str, shown: Progress) -> Part:
        train, held_out = self.study.split(number)
        sources = {parse(arm)[0] for arm in self.arms}
        shown.doing(f"{name}: bank")
        banks = self.study.banks(self.arms, train, number, str(self.device))
        unlabelled = self.study.unlabelled(number)
        shown.step(self._fits)
        seed, predictions = derive(self.seed, "round", number), {}
        for arm in self.arms:
            shown.doing(f"{name}: {arm}")
            model = new_classifier(self.classifier, self.study.shape, len(self.study.names), seed, self.device)
            if model is self._last:
                raise ValueError("classifier must make a new module each time it is called, got the same again.")
            self._last = model
            images = batches(
                arm,
                train,
                banks.get(parse(arm)[0]),
                classical=self.classical,
                sampling_strategy=self.strategy,
                seed=seed,
                unlabelled=unlabelled,
            )
            counted = Counted(images, len(self.study.names))
            train_classifier(model, iter(counted), steps=self.steps, seed=seed, on_step=shown.step)
            predictions[arm] = self.prediction(model, held_out.images, counted.seen, seed)
        policy: Policy | None = banks["ours"].policy if "ours" in sources else None
        return Part(predictions, {"policy": None if policy is None else policy.to_dict()})

    def forecast(self, count: int) -> str:
        """A sentence that says how many rounds there are, and about how long they take, by a few timed steps."""
        arms = len(self.arms)
        said = f"{count} round{'s' * (count != 1)} of {arms} arm{'s' * (arms != 1)}, {self.steps} steps each"
        said += ", and the fit of a bank" if self._fits else ""
        if self.classifier is not None:
            return f"{said}."
        model = new_classifier(None, self.study.shape, len(self.study.names), self.seed, self.device)
        images = batches("none", self.study.split(0)[0], None, classical=self.classical, sampling_strategy=None, seed=0)
        begun = 0.0
        for timed in (1, TIMED):
            begun = time.monotonic()
            train_classifier(model, images, steps=timed)
            if self.device.type == "cuda":
                torch.cuda.synchronize()
        step = (time.monotonic() - begun) / TIMED
        minutes = round(count * self._cost * step / MINUTE)
        return f"{said}: about {minutes} minutes." if minutes > 1 else f"{said}: about a minute or less."
