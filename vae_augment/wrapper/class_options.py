"""Options of the wrapper that are one number, or one for each class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vae_augment.bank.policy import Policy
from vae_augment.data.source import Source, listed
from vae_augment.exceptions import check_number

Numbers = float | Mapping[Any, float] | None


class ClassOptions:
    """How often and how far the items of each class are changed; where nothing is told, as a policy says.

    Args:
        source: the dataset, which knows the classes.
        p_generate: probability of a generated image, or one by class name or label; None: not told.
        p_jitter: probability of a jittered image, likewise.
        scale: of the jitter, likewise.

    Raises:
        TypeError: a value is no number.
        ValueError: a value out of range, two probabilities of a class above 1 together, or a class without images.
    """

    def __init__(self, source: Source, p_generate: Numbers, p_jitter: Numbers, scale: Numbers) -> None:
        self._source, self._names = source, list(source.classes.values())
        share = {"wanted": "in [0, 1]", "low": 0.0, "high": 1.0}
        self._p_generate = self._by_name("p_generate", p_generate, **share)
        self._p_jitter = self._by_name("p_jitter", p_jitter, **share)
        self._scale = self._by_name("scale", scale, wanted="a finite number of at least 0", low=0.0)
        for name in self._names:
            generates, jitters = self._p_generate.get(name), self._p_jitter.get(name)
            if generates is not None and jitters is not None and generates + jitters > 1:
                raise ValueError(f"p_generate + p_jitter must be at most 1, got {generates} + {jitters}.")

    def shares(self, policy: Policy) -> dict[str, tuple[float, float]]:
        """Probabilities to be generated and to be jittered, of each class by name."""
        found = {}
        for name in self._names:
            generates, jitters = self._p_generate.get(name), self._p_jitter.get(name)
            p_generate = min(policy.p_generate, 1 - (jitters or 0.0)) if generates is None else generates
            found[name] = p_generate, min(policy.p_jitter, 1 - p_generate) if jitters is None else jitters
        return found

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


def one_or_each(values: Mapping[str, float]) -> float | dict[str, float]:
    """The number that all classes have; else each class's, by name."""
    each = set(values.values())
    return each.pop() if len(each) == 1 else dict(values)
