"""Intervals of paired differences, and the recall of each class."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

CONFIDENCE = 0.95
WORTH = 0.5  # points; a smaller difference is not worth having
MOST_ROUNDS = 1_000  # that are looked at


@dataclass(frozen=True)
class Difference:
    """A mean of paired differences, in percentage points, and its 95 % interval.

    Args:
        mean: over the rounds.
        low: the lower end of the interval; None after a single round, which says nothing of the spread.
        high: the upper end.
        enough: rounds that would tell whether it is worth having, if they spread as these do; None: no number of rounds
            on these images would, or it is told.
    """

    mean: float
    low: float | None
    high: float | None
    enough: int | None = None

    @property
    def above(self) -> bool:
        """True if the whole interval is above zero."""
        return self.low is not None and self.low > 0

    @property
    def below(self) -> bool:
        """True if the whole interval is below zero."""
        return self.high is not None and self.high < 0

    @property
    def told(self) -> bool:
        """True if the interval is above zero, or below what is worth having."""
        return self.above or (self.high is not None and self.high < WORTH)

    def to_dict(self) -> dict[str, float | None]:
        rounded = {name: None if value is None else round(value, 4) for name, value in asdict(self).items()}
        return {name: value for name, value in rounded.items() if name != "enough" or value is not None}

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:+.1f}"
        return f"{self.mean:+.1f} ({self.low:+.1f} to {self.high:+.1f})"


def paired_difference(differences: list[float], *, overlap: float = 0.0, image_variance: float = 0.0) -> Difference:
    """The mean of differences over rounds, with Student's t interval.

    Args:
        differences: of two arms in each round, in percentage points.
        overlap: n_2 / n_1 of rounds that share images, for the correction of Nadeau and Bengio (2003), "Inference for
            the Generalization Error"; 0 for independent rounds.
        image_variance: variance of the mean due to the choice of test images, in squared points.
    """
    from scipy.stats import t

    values = torch.tensor(differences, dtype=torch.float64)
    rounds, mean = len(values), values.mean().item()
    if rounds < 2:
        return Difference(mean, None, None)

    def reach(count: int) -> float:
        """Half of the interval after so many rounds of the spread seen."""
        variance = values.var().item() * (1 / count + overlap) + image_variance
        return float(t.ppf(0.5 + CONFIDENCE / 2, count - 1)) * math.sqrt(variance)

    found = Difference(mean, mean - reach(rounds), mean + reach(rounds))
    distance = max(mean, WORTH - mean)  # from the nearer border of what an interval must not hold
    more = () if found.told else range(rounds + 1, MOST_ROUNDS)
    return replace(found, enough=next((count for count in more if reach(count) < distance), None))


def recalls(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Recall of each class, float64 [K]; NaN for a class without images."""
    right = torch.bincount(labels[predicted == labels], minlength=classes).double()
    return right / torch.bincount(labels, minlength=classes)
