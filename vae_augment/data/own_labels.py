"""Labels that items have when they are read, which count where a dataset's list of labels says others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vae_augment.data.labels import first_of
from vae_augment.exceptions import DataWarning, warn


class OwnLabels:
    """The labels that items may have when they are read.

    Args:
        names: class of each label that items may have when they are read; empty if that does not tell the class.
    """

    def __init__(self, names: Mapping[Any, str]) -> None:
        self._names = dict(names)
        self._told = False  # of a first item

    def changes(
        self, items: Iterable[tuple[int, int, Any]], classes: Mapping[int, str], whereabouts: Callable[[int], str]
    ) -> dict[int, int]:
        """Label of each item that has another one when it is read; the first is warned of.

        Args:
            items: index, label in the list, and label as it was read, of each item.
            classes: name of each label that occurs in the list.
            whereabouts: function that names an item in messages.

        Raises:
            ValueError: an item has a label that no item has in the list.
        """
        found = {}
        for item, label, target in items if self._names else ():
            own = target if type(target) in (int, str) else first_of(target)
            name = self._names.get(own) if own is None or isinstance(own, (int, float, str)) else classes[label]
            if name == classes[label]:  # or the item has several labels
                continue
            said = f"{classes[label]!r} in the dataset's list of labels"
            numbers = {known: number for number, known in classes.items()}
            if name not in numbers:
                raise ValueError(
                    f"{whereabouts(item)} has label {own!r} when it is read, which no item has in the list, and "
                    f"{said}. Correct the list, or pass labels=."
                )
            if not self._told:
                warn(
                    f"{whereabouts(item)} has label {name!r} when it is read, and {said}; going by the item. Correct "
                    "the list too: classes are counted by it.",
                    DataWarning,
                )
            self._told = True
            found[item] = numbers[name]
        return found
