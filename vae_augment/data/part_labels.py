"""Labels of a dataset and its parts: items without a label left out, classes of all parts numbered alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vae_augment.data.composed import Parts
from vae_augment.data.labels import Labels, Naming, as_array, covering, names_by_label, numbered
from vae_augment.data.stand_ins import TARGET_TRANSFORM
from vae_augment.exceptions import DataWarning, warn

UNLABELLED = -1  # as in datasets' ClassLabel and torchvision's STL10


def labelled_parts(parts: Parts, given: Any, own: Sequence[Naming] = ()) -> tuple[Parts, Any]:
    """Leave out items without a label, which is -1 in a dataset with class names; a warning counts them.

    Args:
        parts: of N items.
        given: their labels [N], of any kind.
        own: names that the whole declares, before those of its parts.

    Raises:
        ValueError: no item has a label.
    """
    array, declared = as_array(given), [*own, *(naming for dataset in parts.datasets for naming in dataset.namings)]
    count = len(parts.place)
    if array.dtype.kind not in "iu" or array.size != count or not declared or covering(declared, [UNLABELLED]):
        return parts, given
    known = array.reshape(-1) != UNLABELLED
    if known.all():
        return parts, given
    kind = type(parts.datasets[0].dataset).__name__
    if not known.any():
        raise ValueError(f"labels must be one per item, got none: all {count} items of the {kind} have label -1.")
    warn(f"{count - known.sum()} of {count} items of the {kind} have no label (-1), and are left out.", DataWarning)
    owner = None if parts.owner is None else parts.owner[known]
    return Parts(parts.datasets, owner, np.asarray(parts.place)[known], True), array.reshape(-1)[known]


def numbered_parts(
    parts: Parts, given: Any, own: Sequence[Naming], whereabouts: Callable[[int], str]
) -> tuple[Labels, bool]:
    """Number labels, with the names that the parts declare.

    Args:
        parts: of N items.
        given: their labels [N], of any kind.
        own: names that the whole declares, before those of its parts.
        whereabouts: function that names an item in messages.

    Returns:
        The labels; and True if parts have other names for a label, so that classes go by name, and an item's own label
        does not tell its class.

    Raises:
        ValueError: parts have other names for a label, and do not all map it by a target_transform; or as `numbered`.
    """
    array, count = as_array(given), len(parts.place)
    if parts.owner is None or array.dtype.kind not in "iu" or own:
        declared = [*own, *(naming for dataset in parts.datasets for naming in dataset.namings)]
        return numbered(given, count, declared, whereabouts), False
    array = array.reshape(count)
    names: dict[int, str] = {}
    texts, differs = array.astype(object), False
    for number, dataset in enumerate(parts.datasets):
        its = parts.owner == number
        present = np.unique(array[its]).tolist()
        naming = names_by_label(covering(dataset.namings, present))
        for label in present if naming else ():
            texts[its & (array == label)] = naming[label]
            if names.setdefault(label, naming[label]) != naming[label]:
                differs = True
                if any(each.transform(TARGET_TRANSFORM) is None for each in parts.datasets):
                    raise ValueError(
                        f"parts of a ConcatDataset must number classes alike, got label {label} for {names[label]!r} "
                        f"and {naming[label]!r}. Number them alike, for example by a target_transform of each part."
                    )
    if differs:
        return numbered(texts, count, [], whereabouts), True
    for dataset in parts.datasets:  # classes without images too
        for label, name in names_by_label(dataset.namings[0] if dataset.namings else ()).items():
            names.setdefault(label, name)
    return numbered(array, count, [list(names.items())], whereabouts), False
