"""sampling_strategy: the number of images that each class should have, in imbalanced-learn's terms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from numbers import Integral, Real
from typing import Any

import numpy as np
from torch import Tensor

from vae_augment.data.opened import MOST_ITEMS

Totals = Mapping[int, int] | Mapping[str, int]
Strategy = str | float | Sequence[str | int] | Totals | Callable[[np.ndarray[Any, Any]], Totals]
NAMES = ("minority", "not minority", "not majority", "all", "auto")


def wanted_totals(
    strategy: Strategy,
    labels: Tensor,
    names: Mapping[int, str] | None = None,
    *,
    numbers: Mapping[str, int] | None = None,
    by_name: bool = False,
) -> dict[int, int]:
    """The total of images that each class should have, by label, for the classes that should get more.

    Args:
        strategy: "not majority" or "auto" (all but the largest class), "minority", "not minority", "all", or a list of
            labels or class names, each up to the largest class's count; a float, of two classes: images of the smaller
            over those of the larger; a dict of label or class name to total; or a function of the labels, a NumPy array
            [N], that returns one.
        labels: int64 [N].
        names: class name of each label.
        numbers: label of each class name, where that says more than `names`.
        by_name: the dataset's labels are names, and a function is given these.

    Raises:
        ValueError: an unknown name or label, a total below what the class has, or a ratio of other than two classes.
    """
    names = names or {}
    label_of: dict[Any, int] = {name: label for label, name in names.items()} | dict(numbers or {})
    values, counts = labels.unique(return_counts=True)
    have = dict(zip(values.tolist(), counts.tolist(), strict=True))
    most, rarest = max(have.values()), min(have, key=lambda label: have[label])  # of several, the first
    if callable(strategy):
        strategy = strategy(np.array([names[label] for label in labels.tolist()]) if by_name else labels.numpy())
    if isinstance(strategy, (np.ndarray, Set)):
        strategy = list(strategy.tolist() if isinstance(strategy, np.ndarray) else strategy)
    if isinstance(strategy, Mapping):
        totals = [_checked(key, label_of, total, have, names) for key, total in strategy.items()]
        twice = [label for label, times in Counter(label for label, _ in totals).items() if times > 1]
        if twice:
            raise ValueError(f"sampling_strategy gives label {twice[0]} more than one total.")
        return dict(totals)
    if isinstance(strategy, Real) and not isinstance(strategy, bool):
        if len(have) != 2 or not have[rarest] / most <= strategy <= 1:
            raise ValueError(
                f"sampling_strategy may be a ratio for two classes, from what they have to 1; got {strategy:g} for "
                f"classes of {sorted(have.values())} images."
            )
        return {rarest: int(strategy * most)}
    if isinstance(strategy, Sequence) and not isinstance(strategy, str):
        return dict(_checked(key, label_of, most, have, names) for key in strategy)
    if not isinstance(strategy, str) or strategy not in NAMES:
        expected = ", ".join(map(repr, NAMES))
        raise ValueError(
            f"sampling_strategy must be one of {expected}, a ratio, a list of classes, a dict or a callable, "
            f"got {strategy!r}."
        )
    chosen = {
        "minority": [rarest],
        "not minority": [label for label in have if label != rarest],
    }.get(strategy, list(have))
    return dict.fromkeys(chosen, most)


def _checked(
    key: Any, label_of: Mapping[Any, int], total: Any, have: dict[int, int], names: Mapping[int, str]
) -> tuple[int, int]:
    """The label and total of the class that the strategy calls `key`."""
    label: Any = label_of.get(key, key) if isinstance(key, (str, Integral)) and not isinstance(key, bool) else None
    if label not in have:
        known = list(names.values()) if isinstance(key, str) and names else sorted(have)
        raise ValueError(f"sampling_strategy names class {key!r}, which has no images; there are {known}.")
    if not isinstance(total, Integral) or total < have[label]:  # NumPy's integers too
        images = f"{have[label]} image{'s' * (have[label] != 1)}"
        raise ValueError(
            f"sampling_strategy must give class {key!r} a total of at least the {images} it has, got {total!r}."
        )
    if int(total) > MOST_ITEMS:
        raise ValueError(
            f"sampling_strategy may give a class at most {MOST_ITEMS:,} images, got {total:,} for {key!r}."
        )
    return int(label), int(total)
