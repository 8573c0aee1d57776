"""Dataclasses from JSON objects of unknown origin."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from vae_augment.files.untrusted_json import check_types, from_dict


@dataclass(frozen=True)
class Example:
    """A field of each kind."""

    name: str
    count: int
    share: float
    known: bool
    places: list[int]
    values: dict[str, Any]
    most: int | None
    mover: str | Callable[[Any], Any] = "none"


VALUES = {"name": "a", "count": 3, "share": 0.5, "known": True, "places": [], "values": {}, "most": None}


@pytest.mark.parametrize(
    "changes", [{}, {"share": 1}, {"most": 4}, {"mover": "affine"}, {"places": ["x"], "values": {"a": 1}}]
)
def test_an_object_of_the_fields_is_the_dataclass(changes):
    made = from_dict(Example, {**VALUES, **changes}, "the example")
    assert vars(made) == {**VALUES, "mover": "none", **changes}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("name", 3, "a text"),
        ("name", None, "a text"),
        ("count", True, "a whole number"),
        ("count", 3.0, "a whole number"),
        ("share", "0.5", "a number"),
        ("share", False, "a number"),
        ("known", 1, "true or false"),
        ("places", {}, "a list"),
        ("values", [], "an object"),
        ("most", 0.5, "a whole number or null"),
        ("most", True, "a whole number or null"),
        ("mover", 1, "a text"),
    ],
)
def test_a_value_of_another_type_is_named_with_what_was_expected(name, value, expected):
    said = re.escape(f"{name} of the example must be {expected}, got {value!r}.")
    with pytest.raises(ValueError, match=f"^{said}$"):
        from_dict(Example, {**VALUES, name: value}, "the example")
    with pytest.raises(ValueError, match=f"^{said}$"):
        check_types(Example, {name: value}, "the example")


def test_unknown_and_lacking_entries_are_named():
    for name in ("depth", 3, "x" * 200):
        with pytest.raises(ValueError, match=r"^the example has an unknown entry ('depth'|3|'x+\.\.\.x+')\.$"):
            from_dict(Example, {**VALUES, name: 3}, "the example")
    with pytest.raises(ValueError, match=r"^the example lacks the entry 'known'\.$"):
        from_dict(Example, {name: value for name, value in VALUES.items() if name != "known"}, "the example")


@pytest.mark.parametrize("values", [None, [], "name", 3, [("name", "a")]])
def test_what_is_no_object_is_refused(values):
    with pytest.raises(ValueError, match=r"^the example must be an object of name, count, .*, mover, got .+\.$"):
        from_dict(Example, values, "the example")
