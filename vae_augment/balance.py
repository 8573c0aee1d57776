"""sampling_strategy: how many images each class should have, in imbalanced-learn's terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

Strategy = str | Mapping[int, int] | Callable[[np.ndarray[Any, Any]], Mapping[int, int]]
NAMES = ("minority", "not minority", "not majority", "all", "auto")


def wanted_totals(strategy: Strategy, labels: Tensor) -> dict[int, int]:
    """Images each class should have in all, for the classes that should get more.

    Args:
        strategy: "not majority" or "auto" (all but the largest class), "minority", "not minority", "all", each up to
            the largest class's count; a dict of label to total; or a function of the labels, a NumPy array [N], that
            returns one.
        labels: int64 [N].

    Raises:
        ValueError: an unknown name or label, or a total below what the class has.
    """
    values, counts = labels.unique(return_counts=True)
    have = dict(zip(values.tolist(), counts.tolist(), strict=True))
    if callable(strategy):
        strategy = strategy(labels.numpy())
    if isinstance(strategy, Mapping):
        return {label: _checked(label, total, have) for label, total in strategy.items()}
    if not isinstance(strategy, str) or strategy not in NAMES:
        expected = ", ".join(map(repr, NAMES))
        raise ValueError(f"sampling_strategy must be one of {expected}, a dict or a callable, got {strategy!r}.")
    most, rarest = max(have.values()), min(have, key=lambda label: have[label])  # of several, the first
    chosen = {
        "minority": [rarest],
        "not minority": [label for label in have if label != rarest],
    }.get(strategy, list(have))
    return dict.fromkeys(chosen, most)


def _checked(label: Any, total: Any, have: dict[int, int]) -> int:
    if label not in have:
        raise ValueError(f"sampling_strategy names class {label!r}, which has no images; there are {sorted(have)}.")
    if not isinstance(total, Integral) or total < have[label]:  # NumPy's integers too
        raise ValueError(
            f"sampling_strategy must give class {label} a total of at least the {have[label]} images it has, "
            f"got {total!r}."
        )
    return int(total)


def added_items(totals: Mapping[int, int], labels: Tensor) -> Tensor:
    """The real item [A] that each added item stands for: those of its class in turn."""
    added = []
    for label, total in sorted(totals.items()):
        items = (labels == label).nonzero()[:, 0]
        extra = total - len(items)
        added.append(items.repeat(extra // len(items) + 1)[:extra])
    return torch.cat(added) if added else torch.empty(0, dtype=torch.long)
