"""Options of the wrapper that are one number, or one for each class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vae_augment.bank.policy import Policy
from vae_augment.data.source import Source, listed
from vae_augment.exceptions import DataWarning, check_number, warn

ROUNDING = 1e-9  # of a sum of probabilities
Numbers = float | Mapping[Any, float] | None


class ClassOptions:
    """How often and how far the items of each class are changed; where nothing is told, as a policy says.

    Args:
        source: the dataset, which knows the classes.
        p_generate: probability of a generated image, or one by class name or label; None: not told.
        p_jitter: probability of a jittered image, likewise.
        scale: of the jitter, likewise.
        p_unlabelled: probability of an unlabelled image, likewise.

    Raises:
        TypeError: a value is no number.
        ValueError: a value out of range, two probabilities of a class above 1 together, or a class without images.
    """

    def __init__(
        self, source: Source, p_generate: Numbers, p_jitter: Numbers, scale: Numbers, p_unlabelled: Numbers
    ) -> None:
        self._source, self._names = source, list(source.classes.values())
        share = {"wanted": "in [0, 1]", "low": 0.0, "high": 1.0}
        self._p_generate = self._by_name("p_generate", p_generate, **share)
        self._p_jitter = self._by_name("p_jitter", p_jitter, **share)
        self._p_unlabelled = self._by_name("p_unlabelled", p_unlabelled, **share)
        self._scale = self._by_name("scale", scale, wanted="a finite number of at least 0", low=0.0)
        for name in self._names:
            told = [by_name[name] for by_name in self._told.values() if name in by_name]
            if sum(told) > 1 + ROUNDING:
                names = " + ".join(option for option, by_name in self._told.items() if name in by_name)
                raise ValueError(f"{names} must be at most 1, got {' + '.join(map(str, told))}.")

    @property
    def _told(self) -> dict[str, dict[str, float]]:
        """Probabilities that are told, of each class by name."""
        return {"p_generate": self._p_generate, "p_jitter": self._p_jitter, "p_unlabelled": self._p_unlabelled}

    def shares(self, policy: Policy, unlabelled: Mapping[int, int]) -> dict[str, tuple[float, float, float]]:
        """Probabilities to be generated, to be jittered and to be an unlabelled image, of each class by name.

        Args:
            policy: where a probability is not told.
            unlabelled: number of unlabelled images at hand, by label. Unless it is told, one of them is served no more
                often than a labelled one.
        """
        found = {}
        for label, name in self._source.classes.items():
            generates, jitters, others = (by_name.get(name) for by_name in self._told.values())
            there = unlabelled.get(label, 0)
            if others is None or not there:
                own = int((self._source.labels == label).sum()) if there else 1
                rest = 1 - (generates or 0.0) - (jitters or 0.0)
                others = max(0.0, min(policy.p_unlabelled, there / (there + own), rest))
            most = 1 - others
            p_generate = share_of_policy(policy.p_generate, most, jitters or 0.0) if generates is None else generates
            p_jitter = share_of_policy(policy.p_jitter, most, p_generate) if jitters is None else jitters
            found[name] = p_generate, p_jitter, others
        if lacking := [name for label, name in self._source.classes.items() if self._asked_in_vain(label, unlabelled)]:
            warn(f"no unlabelled image was taken for {listed(lacking)}: p_unlabelled is 0 there", DataWarning)
        return found

    def _asked_in_vain(self, label: int, unlabelled: Mapping[int, int]) -> bool:
        return bool(self._p_unlabelled.get(self._source.classes[label])) and not unlabelled.get(label)

    def scales(self, policy: Policy) -> dict[str, float]:
        """Scale of each class's jitter, by name; who tells `p_jitter` asks for jitter, even if the policy has none."""
        usual = {name: policy.scale if name in self._p_jitter else policy.served_scale for name in self._names}
        return {name: self._scale.get(name, usual[name]) for name in self._names}

    def _by_name(self, option: str, value: Numbers, **limits: Any) -> dict[str, float]:
        classes = self._source.classes
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            return dict.fromkeys(classes.values(), check_number(option, value, **limits))
        numbers: dict[Any, int] = {label: label for label in classes} | self._source.class_to_idx
        unknown = [key for key in value if numbers.get(key) not in classes]
        if unknown:
            has = listed(classes.values())
            raise ValueError(f"{option} names class {unknown[0]!r}, which has no images; there are {has}.")
        return {
            classes[numbers[key]]: check_number(f"{option}[{key!r}]", each, **limits) for key, each in value.items()
        }


def share_of_policy(of_policy: float, most: float, taken: float) -> float:
    """The policy's share of what is not unlabelled, at most the rest."""
    return max(0.0, min(most * of_policy, most - taken))


def one_or_each(values: Mapping[str, float]) -> float | dict[str, float]:
    """The number that all classes have; else each class's, by name."""
    each = set(values.values())
    return each.pop() if len(each) == 1 else dict(values)
