"""Intervals of paired differences, and the recall of each class."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """A mean of paired differences, in percentage points, and its 95 % interval.

    Args:
        mean: over the rounds.
        low: the lower end of the interval; None after a single round, which says nothing of the spread.
        high: the upper end.
    """

    mean: float
    low: float | None
    high: float | None

    @property
    def above(self) -> bool:
        """True if the whole interval is above zero."""
        return self.low is not None and self.low > 0

    @property
    def below(self) -> bool:
        return self.high is not None and self.high < 0

    def to_dict(self) -> dict[str, float | None]:
        return {name: None if value is None else round(value, 4) for name, value in asdict(self).items()}

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
    variance = values.var().item() * (1 / rounds + overlap) + image_variance
    reach = float(t.ppf(0.5 + CONFIDENCE / 2, rounds - 1)) * math.sqrt(variance)
    return Difference(mean, mean - reach, mean + reach)


def recalls(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Recall of each class, float64 [K]; NaN for a class without images."""
    right = torch.bincount(labels[predicted == labels], minlength=classes).double()
    return right / torch.bincount(labels, minlength=classes)
