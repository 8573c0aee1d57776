"""Labels of any kind as integers with names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vae_augment.files.untrusted_json import brief

TRUTHS = ((0, "False"), (1, "True"))
LISTED_ITEMS = 5  # in an error
LIMIT = 2**63  # of int64


Naming = Sequence[tuple[int, str]]  # labels and their names; a label, or a name, may occur more than once


class Labels(NamedTuple):
    """The labels of a dataset.

    Args:
        values: int64 [N].
        names: name of each label that occurs.
        are_names: True if the labels were names themselves, so that their numbers mean nothing.
        naming: names of all labels, as the dataset declares them; empty if names are just the labels as text.
    """

    values: Tensor
    names: dict[int, str]
    are_names: bool
    naming: Naming = ()

    @property
    def have_names(self) -> bool:
        """False if the names are just the labels as text."""
        return self.are_names or bool(self.naming)


def namings(class_to_idx: Any, classes: Any) -> list[Naming]:
    """Names of labels that a dataset declares by its `class_to_idx`, and by its `classes`; neither need be usable."""
    found: list[Naming] = []
    if isinstance(class_to_idx, Mapping):
        pairs = [(plain(label), name) for name, label in class_to_idx.items()]
        if all(isinstance(name, str) and _is_whole(label) for label, name in pairs):
            found.append([(int(label), str(name)) for label, name in pairs])
    if (
        hasattr(classes, "__len__")
        and hasattr(classes, "__getitem__")
        and not isinstance(classes, (str, bytes, Mapping))
    ):
        names = [plain(name) for name in classes]  # an array or a pandas Series too
        if all(isinstance(name, str) for name in names):
            found.append(list(enumerate(names)))
    return [naming for naming in found if naming]


def names_by_label(naming: Naming) -> dict[int, str]:
    """The first name of each label."""
    return dict(reversed(naming))


def covering(declared: Iterable[Naming], values: Iterable[int]) -> Naming:
    """The first naming that names all labels; empty if there is none."""
    wanted = set(values)
    return next((naming for naming in declared if wanted <= {label for label, _ in naming}), ())


def numbered(labels: Any, count: int, declared: Sequence[Naming], whereabouts: Callable[[int], str]) -> Labels:
    """Convert labels to integers with names.

    Whole numbers keep their value and have their declared names. Names have their declared numbers if all have one,
    else their places among the sorted names that occur. Booleans become 0 and 1.

    Example:
        >>> numbered(["cat", "ant", "cat"], 3, [], str).names
        {0: 'ant', 1: 'cat'}

    Args:
        labels: a sequence, array or tensor, [N] or [N, 1].
        count: N.
        declared: the dataset's own names; the first that has all labels counts.
        whereabouts: function that names an item in messages.

    Raises:
        ValueError: not one label per item, missing labels, names beside numbers, or labels of another kind.
    """
    array = as_array(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or len(array) != count:
        raise ValueError(f"labels must be one per dataset item ({count}), got shape {list(array.shape)}.")
    if array.dtype.kind in "iu":
        return _of_integers(array, declared)
    values = [plain(label) for label in (array if array.dtype.kind in "Mm" else array.tolist())]
    _check(values, whereabouts)
    if isinstance(values[0], str):
        return _of_names(values, declared)
    if all(isinstance(value, bool) for value in values):
        declared = [naming for naming in declared if {label for label, _ in naming} == {0, 1}] or [TRUTHS]
    return _of_integers(np.array([int(value) for value in values], dtype=np.int64), declared)


def renumbered(labels: Labels, known: Mapping[str, int]) -> Labels:
    """Number labels that are names as in `known`; names that it lacks get the numbers after its last."""
    new = sorted(set(labels.names.values()) - set(known))
    following = max(known.values(), default=-1) + 1
    of = {**known, **{name: following + i for i, name in enumerate(new)}}
    values, inverse = labels.values.unique(return_inverse=True)
    moved = torch.tensor([of[labels.names[value]] for value in values.tolist()])[inverse]
    return labels._replace(values=moved, names={of[n]: n for n in sorted(labels.names.values(), key=of.__getitem__)})


def as_array(labels: Any) -> np.ndarray[Any, Any]:
    """Convert labels to an array without turning numbers beside texts into texts, as NumPy does."""
    if isinstance(labels, Tensor):
        return _of_tensor(labels)
    try:
        array = np.asarray(labels)
    except (TypeError, ValueError, RuntimeError):  # of several lengths, on another device, ...
        return np.fromiter(labels, dtype=object, count=len(labels))
    if array.dtype.kind in "US" and array.ndim and not isinstance(labels, np.ndarray):
        return np.fromiter(labels, dtype=object, count=len(labels))
    return array


def joined(parts: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Concatenate labels of several datasets, [N] each, keeping numbers and texts apart."""
    filled = [part for part in parts if len(part)]
    kinds = {"i" if part.dtype.kind == "u" else part.dtype.kind for part in filled}
    return np.concatenate(filled if len(kinds) == 1 else [part.astype(object) for part in filled or parts])


def agreeing(held: Iterable[Any], count: int, targets: Mapping[int, Any]) -> np.ndarray[Any, Any] | None:
    """Find the first attribute of a dataset that holds its labels, as an array [N]; None if there is none.

    Args:
        held: attributes of any kind; all but sequences, arrays and tensors are ignored.
        count: N.
        targets: known labels by item, which must agree; of several labels per item the first counts.
    """
    for labels in held:
        if isinstance(labels, (str, bytes, Mapping)) or not hasattr(labels, "__len__"):
            continue
        try:
            flat = as_array(labels).reshape(-1)
        except (TypeError, ValueError, RuntimeError):
            continue
        if len(flat) == count and all(_same(first_of(target), plain(flat[item])) for item, target in targets.items()):
            return flat
    return None


def differing(held: Sequence[Any], count: int, most: int) -> list[int]:
    """Items for which lists of N labels differ, at most `most` of them, evenly spaced."""
    arrays = []
    for labels in held:
        with suppress(TypeError, ValueError, RuntimeError):
            flat = as_array(labels).reshape(-1)
            arrays += [flat] if len(flat) == count else []
    apart = np.zeros(count, dtype=bool)
    for other in arrays[1:]:
        apart |= np.asarray(other != arrays[0], dtype=bool)
    where = np.flatnonzero(apart)
    return [int(item) for item in where[np.unique(np.linspace(0, len(where) - 1, min(len(where), most)).astype(int))]]


def plain(label: Any) -> Any:
    """Convert a label to Python's int, float, bool or str; None if it is missing; other kinds stay as they are."""
    if isinstance(label, (list, tuple)) and len(label) == 1:
        return plain(label[0])
    label = _array_if_any(label)
    if isinstance(label, np.ndarray) and label.size == 1:
        label = label.reshape(-1)[0]
    if isinstance(label, np.generic) and label.dtype.kind in "biufU":
        label = label.item()
    if isinstance(label, str):
        return str.__str__(label)
    return None if _is_missing(label) else label


def first_of(label: Any) -> Any:
    """Convert a label, or the first of several, by `plain`."""
    label = _array_if_any(label)
    if isinstance(label, np.ndarray) and label.size:
        return plain(label.reshape(-1)[0])
    return first_of(label[0]) if isinstance(label, (list, tuple)) and label else plain(label)


def _same(label: Any, other: Any) -> bool:
    return all(isinstance(one, (str, int, float, type(None))) for one in (label, other)) and label == other


def _array_if_any(label: Any) -> Any:
    if isinstance(label, Tensor):
        return _of_tensor(label)
    return np.asarray(label) if hasattr(label, "__array__") else label


def _is_missing(label: Any) -> bool:
    if label is None:
        return True
    try:
        return bool(label != label)  # NaN and NaT
    except (TypeError, ValueError):
        return type(label).__name__ == "NAType"  # of pandas, whose comparisons have no truth value


def _of_tensor(labels: Tensor) -> np.ndarray[Any, Any]:
    labels = labels.detach().cpu()
    array: np.ndarray[Any, Any] = (labels.double() if labels.is_floating_point() else labels).numpy()
    return array


def _check(values: list[Any], whereabouts: Callable[[int], str]) -> None:
    """Raise ValueError unless the labels are all names or all whole numbers."""
    missing = [item for item, value in enumerate(values) if value is None]
    if missing:
        listed = ", ".join(whereabouts(item) for item in missing[:LISTED_ITEMS])
        more = " and others" if len(missing) > LISTED_ITEMS else ""
        raise ValueError(
            f"labels must be one per item, got none for {len(missing)} of {len(values)} items: {listed}{more}. "
            "Leave these out with torch.utils.data.Subset, or pass labels= to fit."
        )
    for item, value in enumerate(values):
        if not (isinstance(value, str) or _is_whole(value)):
            raise ValueError(
                "labels must be strings, booleans or whole numbers, "
                f"got {brief(value)} ({type(value).__name__}) for {whereabouts(item)}. "
                "Make each class a number or a name in the dataset, or pass labels= to fit."
            )
        if isinstance(value, str) != isinstance(values[0], str):
            raise ValueError(
                f"labels must be all strings or all numbers, got {brief(values[0])} for {whereabouts(0)} and "
                f"{brief(value)} for {whereabouts(item)}. Make them all strings, or pass labels= to fit."
            )


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, float)) and -LIMIT <= value < LIMIT and value == int(value)


def _of_integers(array: np.ndarray[Any, Any], declared: Sequence[Naming]) -> Labels:
    if array.dtype.kind == "u" and len(array) and int(array.max()) >= LIMIT:
        raise ValueError(f"labels must be below 2**63, got {array.max()}.")
    values = torch.from_numpy(array.astype(np.int64))
    present: list[int] = values.unique().tolist()
    naming = covering(declared, present)
    names = names_by_label(naming) if naming else {label: str(label) for label in present}
    return Labels(values, {label: names[label] for label in present}, False, naming)


def _of_names(names: list[str], declared: Sequence[Naming]) -> Labels:
    present = sorted(set(names))
    of_all = (naming for naming in declared if set(present) <= {name for _, name in naming})
    naming: Naming = next(of_all, list(enumerate(present)))
    place, first = {name: label for label, name in reversed(naming)}, names_by_label(naming)
    values = torch.tensor([place[name] for name in names])
    labels = sorted({place[name] for name in present})
    return Labels(values, {label: first[label] for label in labels}, True, naming)
