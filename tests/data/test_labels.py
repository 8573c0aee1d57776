"""Labels of any kind: what becomes of them, and what is said of those that cannot be."""

import datetime
import enum
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_augment.data.labels import agreeing, as_array, joined, namings, numbered, renumbered

NAN = float("nan")
WORDS = ["cat", "ant", "bee", "ant"]


def item(index):
    return f"item {index}"


def of(labels, classes=None):
    return numbered(labels, len(labels), namings(None, classes), item)


class Kind(enum.IntEnum):
    A = 0
    B = 1


class Word(str, enum.Enum):  # noqa: UP042 - older code has these
    CAT = "cat"
    ANT = "ant"


class NAType:
    """As pandas' NA: comparing it gives neither true nor false."""

    def __ne__(self, other):
        return self

    __hash__ = None

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")


# ---- integers ----


@pytest.mark.parametrize(
    "kind",
    [
        list,
        tuple,
        np.array,
        torch.tensor,
        lambda v: np.array(v, np.int8),
        lambda v: np.array(v)[:, None],
        lambda v: np.array(v, object),
        lambda v: np.array(v, float),
        lambda v: np.array(v, np.float16),
        lambda v: torch.tensor(v, dtype=torch.bfloat16),
        lambda v: torch.tensor(v, dtype=torch.float32, requires_grad=True),
        lambda v: [float(label) for label in v],
        lambda v: [torch.tensor(label) for label in v],
        lambda v: [torch.tensor([label], dtype=torch.bfloat16) for label in v],
        lambda v: [np.array([label]) for label in v],
        lambda v: [v[0], *map(float, v[1:])],
        lambda v: [v[0], *map(np.int64, v[1:])],
    ],
)
def test_whole_numbers_stay_as_they_are(kind):
    labels = of(kind([7, -3, 100, 7]))
    assert labels.values.dtype == torch.int64
    assert labels.values.tolist() == [7, -3, 100, 7]
    assert labels.names == {-3: "-3", 7: "7", 100: "100"}
    assert (labels.have_names, labels.are_names) == (False, False)


@pytest.mark.parametrize(
    ("classes", "names", "has_names"),
    [
        (["x", "y", "z"], {0: "x", 2: "z"}, True),
        (("x", "y", "z", "w"), {0: "x", 2: "z"}, True),
        (["x", "y"], {0: "0", 2: "2"}, False),
        ([1, 2, 3], {0: "0", 2: "2"}, False),
        ({"x": 0}, {0: "0", 2: "2"}, False),
        ("xyz", {0: "0", 2: "2"}, False),
        ([], {0: "0", 2: "2"}, False),
    ],
)
@pytest.mark.parametrize("kind", [int, float])
def test_numbers_are_named_by_classes_that_reach_so_far(kind, classes, names, has_names):
    labels = of([kind(2), kind(0), kind(2)], classes)
    assert (labels.names, labels.have_names, labels.are_names) == (names, has_names, False)


def test_large_integers_lose_nothing_beside_floats():
    big = 2**60 + 1
    assert of(np.array([big, 1.0], dtype=object)).values.tolist() == [big, 1]
    assert of(joined([np.array([big]), np.array([1.0])])).values.tolist() == [big, 1]
    assert of([-(2**63), 2**63 - 1]).values.tolist() == [-(2**63), 2**63 - 1]


def test_enumerations_are_their_values():
    assert of([Kind.B, Kind.A]).values.tolist() == [1, 0]
    assert of([Word.CAT, Word.ANT]).names == {0: "ant", 1: "cat"}


# ---- names ----


@pytest.mark.parametrize(
    "kind",
    [
        list,
        tuple,
        np.array,
        lambda v: np.array(v, object),
        lambda v: np.array(v, np.dtypes.StringDType()),
        lambda v: np.array(v)[:, None],
        lambda v: [np.str_(name) for name in v],
        lambda v: [np.array([name]) for name in v],
        lambda v: [[name] for name in v],
        lambda v: [v[0], *map(np.str_, v[1:])],
    ],
)
def test_names_are_numbered_in_their_order(kind):
    labels = of(kind(WORDS))
    assert labels.values.dtype == torch.int64
    assert labels.values.tolist() == [2, 0, 1, 0]
    assert labels.names == {0: "ant", 1: "bee", 2: "cat"}
    assert all(type(name) is str for name in labels.names.values())
    assert (labels.have_names, labels.are_names) == (True, True)


@pytest.mark.parametrize(
    ("classes", "values"),
    [
        (["cat", "ant", "bee"], [0, 1, 2, 1]),
        (("cow", "cat", "bee", "ant"), [1, 3, 2, 3]),
        (["cat", "ant", "bee", "cat"], [0, 1, 2, 1]),
        (["cat", "ant"], [2, 0, 1, 0]),
        ([0, 1, 2], [2, 0, 1, 0]),
        (None, [2, 0, 1, 0]),
        ("cat ant bee", [2, 0, 1, 0]),
    ],
)
def test_names_are_numbered_as_classes_has_them_if_it_has_all(classes, values):
    labels = of(WORDS, classes)
    assert labels.values.tolist() == values
    assert [labels.names[value] for value in values] == WORDS
    assert list(labels.names) == sorted(labels.names)


@pytest.mark.slow
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(st.lists(st.text(max_size=3), min_size=1, max_size=20))
def test_any_texts_are_names_verbatim(names):
    labels = of(names)
    assert [labels.names[value] for value in labels.values.tolist()] == names
    assert list(labels.names.values()) == sorted(set(names))


def test_names_that_look_like_numbers_or_like_nothing_are_names():
    assert of(["10", "9", "nan", "", "None"]).names == {0: "", 1: "10", 2: "9", 3: "None", 4: "nan"}


# ---- booleans ----


@pytest.mark.parametrize(
    "kind", [list, np.array, torch.tensor, lambda v: np.array(v, object), lambda v: [*map(np.bool, v)]]
)
@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (None, {0: "False", 1: "True"}),
        (["no", "yes"], {0: "no", 1: "yes"}),
        (["no", "yes", "maybe"], {0: "False", 1: "True"}),
        (["no"], {0: "False", 1: "True"}),
    ],
)
def test_booleans_are_0_and_1(kind, classes, names):
    labels = of(kind([True, False, True]), classes)
    assert labels.values.tolist() == [1, 0, 1]
    assert (labels.names, labels.have_names, labels.are_names) == (names, True, False)


def test_of_one_truth_the_other_is_no_class():
    assert of([True, True]).names == {1: "True"}


def test_truths_beside_numbers_are_numbers():
    assert of([True, 2, 0]).names == {0: "0", 1: "1", 2: "2"}


# ---- what is refused ----


@pytest.mark.parametrize(
    ("labels", "listed"),
    [
        ([0, None, 1], "1 of 3 items: item 1"),
        (["a", None, "b", None], "2 of 4 items: item 1, item 3"),
        (["a", NAN, "b"], "1 of 3 items: item 1"),
        ([NAN, 1.0, NAN], "2 of 3 items: item 0, item 2"),
        (np.array([1, np.nan], np.float32), "1 of 2 items: item 1"),
        (torch.tensor([1.0, NAN]), "1 of 2 items: item 1"),
        ([torch.tensor(1), torch.tensor(NAN)], "1 of 2 items: item 1"),
        (np.array(["a", NAType()], object), "1 of 2 items: item 1"),
        ([1, NAType()], "1 of 2 items: item 1"),
        (np.array(["2020-01-01", "NaT"], "M8[D]"), "1 of 2 items: item 1"),
        (np.array(["a", None], np.dtypes.StringDType(na_object=None)), "1 of 2 items: item 1"),
        ([True, None], "1 of 2 items: item 1"),
        ([None] * 9, "9 of 9 items: item 0, item 1, item 2, item 3, item 4 and others"),
        ([None, 0.5, "a"], "1 of 3 items: item 0"),
    ],
)
def test_missing_labels_are_counted_and_named(labels, listed):
    message = f"labels must be one per item, got none for {listed}. Leave these out with torch.utils.data.Subset, or "
    with pytest.raises(ValueError, match=re.escape(message)):
        of(labels)


def test_pandas_ways_to_say_that_a_label_is_missing():
    pandas = pytest.importorskip("pandas")
    for series in (
        pandas.Series(["a", None]),
        pandas.Series(["a", None], dtype="category"),
        pandas.Series([1, None]),
        pandas.Series([1, None], dtype="Int64"),
        pandas.Series([True, None], dtype="boolean"),
        pandas.Series([True, None]),
        pandas.Series([pandas.Timestamp(0), None]),
    ):
        for labels in (series, list(series), series.to_numpy(dtype=object)):
            with pytest.raises(ValueError, match="got none for 1 of 2 items: item 1"):
                of(labels)
    assert of(pandas.Series(["b", "a"], index=[5, 3])).values.tolist() == [1, 0]
    assert of(pandas.Series([3, 4], dtype="Int64")).values.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("labels", "came"),
    [
        ([0.0, 0.5], "got 0.5 (float) for item 1"),
        (np.array([1, np.inf]), "got inf (float) for item 1"),
        ([1e300, 1.0], "got 1e+300 (float) for item 0"),
        ([0, 2**64], "got 18446744073709551616 (int) for item 1"),
        ([1, 1j], "got (1+0j) (complex) for item 0"),
        ([b"cat"], "got b'cat' (bytes) for item 0"),
        (np.array([b"cat"]), "got b'cat' (bytes) for item 0"),
        (np.array(["2020-01-01"], "M8[ns]"), "(datetime64) for item 0"),
        ([datetime.date(2020, 1, 1)], "got datetime.date(2020, 1, 1) (date) for item 0"),
        ([{"a": 1}], "got {'a': 1} (dict) for item 0"),
        ([[0, 1], [2]], "got [0, 1] (list) for item 0"),
        ([["a"], ["b", "c"]], "got ['b', 'c'] (list) for item 1"),
        ([1, np.array([1, 2])], "got array([1, 2]) (ndarray) for item 1"),
        (["a", 0.5], "got 0.5 (float) for item 1"),
    ],
)
def test_labels_of_another_kind_are_refused_with_the_first(labels, came):
    with pytest.raises(
        ValueError, match=r"labels must be strings, booleans or whole numbers, got .*Make each"
    ) as error:
        of(labels)
    assert came in str(error.value)


@pytest.mark.parametrize("first", ["cat", np.str_("cat")])
@pytest.mark.parametrize("second", [1, 1.0, True, np.int64(1), torch.tensor(1)])
def test_names_beside_numbers_are_refused(first, second):
    for labels, came in (([first, first, second], "'cat' for item 0 and"), ([second, first], "'cat' for item 1")):
        with pytest.raises(
            ValueError, match=f"labels must be all strings or all numbers, .*{came}.*Make them all strings"
        ):
            of(labels)


@pytest.mark.parametrize(
    ("labels", "shape"), [([0, 1], [2]), (np.zeros((4, 2), int), [4, 2]), ("abcd", []), (3, []), (["a"] * 5, [5])]
)
def test_labels_that_are_not_one_an_item_are_refused(labels, shape):
    with pytest.raises(ValueError, match=re.escape(f"labels must be one per dataset item (4), got shape {shape}")):
        numbered(labels, 4, [], item)


# ---- numbered as another ----


def test_names_take_the_numbers_that_are_known():
    labels = renumbered(of(["cat", "ant", "cat"]), {"ant": 0, "bee": 1, "cat": 2})
    assert labels.values.tolist() == [2, 0, 2]
    assert labels.names == {0: "ant", 2: "cat"}
    assert labels.are_names


def test_names_that_are_not_known_follow():
    labels = renumbered(of(["cow", "ant", "dog", "cat"]), {"cat": -4, "ant": 7})
    assert labels.values.tolist() == [8, 7, 9, -4]
    assert list(labels.names.items()) == [(-4, "cat"), (7, "ant"), (8, "cow"), (9, "dog")]
    assert renumbered(of(["b", "a"]), {}).values.tolist() == [1, 0]


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=12),
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(-9, 9)).filter(lambda d: len(set(d.values())) == len(d)),
)
def test_numbering_again_changes_no_name(names, known):
    labels = renumbered(of(names), known)
    assert [labels.names[value] for value in labels.values.tolist()] == names
    assert {name: value for value, name in labels.names.items()}.items() >= {
        (name, known[name]) for name in set(names) & set(known)
    }
    assert torch.equal(renumbered(labels, known).values, labels.values)
    assert len(labels.names) == len(set(names))


# ---- parts, attributes ----


@pytest.mark.parametrize(
    ("parts", "values"),
    [
        ([["b", "a"], ["c"]], [1, 0, 2]),
        ([["b"], [], ["long name"]], [0, 1]),
        ([[1, 2], np.array([3], np.uint8)], [1, 2, 3]),
        ([[1], np.array([2], np.uint64)], [1, 2]),
        ([[1], [2.0]], [1, 2]),
        ([[True], [3]], [1, 3]),
        ([[], []], []),
    ],
)
def test_parts_are_joined_as_what_they_are(parts, values):
    array = joined([as_array(part) for part in parts])
    assert not values or of(array).values.tolist() == values
    assert len(array) == len(values)


@pytest.mark.parametrize(
    ("held", "found"),
    [
        ([["a", "b", "a"]], ["a", "b", "a"]),
        (
            [None, "aba", {"a": 1, "b": 2, "c": 3}, ["a", "b"], ["a", "b", "c"], np.array(["a", "b", "a"])],
            ["a", "b", "a"],
        ),
        ([[0, 1, 0], ["a", "b", "a"]], ["a", "b", "a"]),
        ([[0, 1, 0]], None),
        ([np.array([["a"], ["b"], ["a"]])], ["a", "b", "a"]),
        ([[["a", "b"], ["b"], ["a"]]], None),
        ([len], None),
    ],
)
def test_what_agrees_with_the_items_holds_their_labels(held, found):
    array = agreeing(held, 3, {0: "a", 1: np.str_("b"), 2: ["a"]})
    assert (None if array is None else array.tolist()) == found


@pytest.mark.parametrize(
    ("target", "held", "agree"),
    [
        (1, 1, True),
        (1, 1.0, True),
        (True, 1, True),
        ("1", 1, False),
        (1, "1", False),
        (None, NAN, True),
        (0, NAN, False),
        (torch.tensor([1, 2]), 1, True),
        (np.array([], int), 1, False),
        (b"a", b"a", False),
    ],
)
def test_a_label_and_what_is_held_agree_by_value(target, held, agree):
    assert (agreeing([np.array([held], dtype=object)], 1, {0: target}) is not None) == agree
