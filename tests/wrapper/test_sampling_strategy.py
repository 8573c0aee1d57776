from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_augment.data.subsample import added_items
from vae_augment.wrapper.sampling_strategy import wanted_totals

LABELS = torch.tensor([0] * 2 + [1] * 5 + [4] * 3)
NAMES = {0: "ant", 1: "bee", 4: "cat"}
TIED = torch.tensor([0] * 2 + [1] * 2 + [4] * 3 + [5] * 3)


def totals(strategy, labels=LABELS):
    """Images of each class in the end."""
    origin = torch.cat([torch.arange(len(labels)), added_items(wanted_totals(strategy, labels), labels)])
    return dict(Counter(labels[origin].tolist()))


@pytest.mark.parametrize(
    ("strategy", "labels", "wanted"),
    [
        ("not majority", LABELS, {0: 5, 1: 5, 4: 5}),
        ("auto", LABELS, {0: 5, 1: 5, 4: 5}),
        ("all", LABELS, {0: 5, 1: 5, 4: 5}),
        ("minority", LABELS, {0: 5, 1: 5, 4: 3}),
        ("not minority", LABELS, {0: 2, 1: 5, 4: 5}),
        ("minority", TIED, {0: 3, 1: 2, 4: 3, 5: 3}),
        ("not minority", TIED, {0: 2, 1: 3, 4: 3, 5: 3}),
        ({0: 7, 4: 3}, LABELS, {0: 7, 1: 5, 4: 3}),
        ({np.int64(0): np.int64(7)}, LABELS, {0: 7, 1: 5, 4: 3}),
        (lambda labels: {1: 2 * int((labels == 1).sum())}, LABELS, {0: 2, 1: 10, 4: 3}),
        ({}, LABELS, {0: 2, 1: 5, 4: 3}),
        ([0], LABELS, {0: 5, 1: 5, 4: 3}),
        ((np.int64(4), 0), LABELS, {0: 5, 1: 5, 4: 5}),
        ([], LABELS, {0: 2, 1: 5, 4: 3}),
        (np.array([0, 4]), LABELS, {0: 5, 1: 5, 4: 5}),
        ({0}, LABELS, {0: 5, 1: 5, 4: 3}),
        (0.5, LABELS[:6], {0: 2, 1: 4}),
        (0.75, LABELS[:6], {0: 3, 1: 4}),
        (1.0, LABELS[:6], {0: 4, 1: 4}),
    ],
)
def test_a_strategy_means_what_imbalanced_learn_says(strategy, labels, wanted):
    assert totals(strategy, labels) == wanted


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(0, 20))
def test_added_items_are_of_their_class_and_take_turns(labels, extra):
    labels = torch.tensor(labels)
    wanted = {label: count + extra for label, count in Counter(labels.tolist()).items()}
    added = added_items(wanted, labels)
    assert totals(wanted, labels) == wanted
    turns = torch.bincount(added, minlength=len(labels))
    for label in wanted:
        used = turns[labels == label]
        assert used.max() - used.min() <= 1


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("majority", "sampling_strategy must be one of 'minority', .*a dict or a callable, got 'majority'"),
        (0.5, r"may be a ratio for two classes, from what they have to 1; got 0.5 for classes of \[2, 3, 5\] images"),
        (lambda labels: 3, "may be a ratio for two classes, .* got 3"),
        (True, "sampling_strategy must be one of .* got True"),
        ([True], r"names class True, which has no images"),
        ([[0]], r"names class \[0\], which has no images"),
        ({0: 10**13}, "at most 10,000,000 images, got 10,000,000,000,000 for 0"),
        ([0, 7], r"names class 7, which has no images; there are \[0, 1, 4\]"),
        ({2: 9}, r"names class 2, which has no images; there are \[0, 1, 4\]"),
        ({"zero": 9}, "names class 'zero', which has no images"),
        ({1: 4}, "must give class 1 a total of at least the 5 images it has, got 4"),
        ({1: -1}, "at least the 5 images it has, got -1"),
        ({1: 7.5}, "at least the 5 images it has, got 7.5"),
        ({"cow": 7}, r"names class 'cow', which has no images; there are \['ant', 'bee', 'cat'\]"),
        ({"cat": 1}, "must give class 'cat' a total of at least the 3 images it has, got 1"),
    ],
)
def test_other_strategies_are_refused(strategy, message):
    names = NAMES if set(strategy if isinstance(strategy, dict) else ()) & {"cow", "cat"} else None
    with pytest.raises(ValueError, match=message):
        wanted_totals(strategy, LABELS, names)


def test_a_callable_may_count_as_imbalanced_learns_do():
    labels = torch.tensor([0, 0, 0, 1])
    assert wanted_totals(lambda y: dict.fromkeys(Counter(y), 5), labels) == {0: 5, 1: 5}


@pytest.mark.parametrize("by_name", [False, True])
def test_classes_may_be_called_by_name(by_name):
    for strategy in ({"cat": 7, 0: 3}, lambda y: {"cat": 7, "ant": 3}):
        assert wanted_totals(strategy, LABELS, NAMES, by_name=by_name) == {4: 7, 0: 3}


def test_a_callable_is_given_labels_as_the_dataset_has_them():
    def same(y):
        return {label: count + 1 for label, count in Counter(y.tolist()).items()}

    for by_name in (False, True):
        assert wanted_totals(same, LABELS, NAMES, by_name=by_name) == {0: 3, 1: 6, 4: 4}
