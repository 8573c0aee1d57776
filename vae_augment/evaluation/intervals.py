"""Means of paired differences and their intervals, and figures of one set of predictions."""

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
        low: of the interval; None after a single round, which says nothing of the spread.
        high: likewise.
    """

    mean: float
    low: float | None
    high: float | None

    @property
    def above(self) -> bool:
        """Whether the interval lies wholly above zero."""
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
        differences: of two arms, one a round, in percentage points.
        overlap: n_2 / n_1 of rounds that share images: the correction of Nadeau and Bengio (2003), "Inference for the
            Generalization Error". 0 for independent rounds.
        image_variance: what the choice of test images adds to the variance of the mean, in squared points.
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
    """The share of each class's images that are recognised, float64 [K]; NaN for a class that has none."""
    right = torch.bincount(labels[predicted == labels], minlength=classes).double()
    return right / torch.bincount(labels, minlength=classes)
