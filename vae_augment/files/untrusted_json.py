"""JSON of unknown origin read within bounds, and dataclasses made from it."""

from __future__ import annotations

import json
import math
import reprlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

MAX_BYTES = 64 * 2**20
MAX_VALUES = 2**21  # twice those of 100,000 classes; each takes some 100 bytes of memory
MAX_TEXT = 2**16  # characters
MAX_WHOLE = 2**256  # below the largest float
TYPES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
    NoneType: "null",
}

T = TypeVar("T")


def parse(text: str) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: no JSON, too many values, a key twice, a number that is not finite or too large, or a text that is
            too long or no Unicode; the message names the field.
        RecursionError: lists and objects are nested too deeply.
    """
    if values_in(text) > MAX_VALUES:
        raise ValueError(f"metadata must have at most {MAX_VALUES:,} values, got more")
    value = json.loads(text, object_pairs_hook=_once)
    for where, part in _parts(value):
        _check(where, part)
    return value


def check_keys(text: str) -> None:
    """Raise ValueError for too many values or a key that is there twice, of which a reader would take one."""
    if values_in(text) > 2 * MAX_VALUES:
        raise ValueError(f"it must have at most {2 * MAX_VALUES:,} values, got more")
    json.loads(text, object_pairs_hook=_once)


def values_in(text: str) -> int:
    """Upper bound to the values in a JSON text, less one: commas and brackets, in its texts too."""
    return sum(map(text.count, ",[{"))


def from_dict(cls: type[T], values: Any, what: str) -> T:
    """Make a dataclass from a JSON object that has its fields and no others, each of the annotated type.

    Fields with a default may be absent. Contents of lists and objects are not checked.

    Args:
        cls: the dataclass.
        values: the parsed JSON, of unknown origin.
        what: name of the object in messages.

    Raises:
        ValueError: the message names the field, what was expected and what came.
    """
    names = {field.name: field.default is MISSING for field in fields(cls)}  # type: ignore[arg-type]
    if not isinstance(values, dict):
        raise ValueError(f"{what} must be an object of {', '.join(names)}, got {brief(values)}.")
    for name in values:
        if name not in names:
            raise ValueError(f"{what} has an unknown entry {brief(name)}.")
    for name, needed in names.items():
        if needed and name not in values:
            raise ValueError(f"{what} lacks the entry {brief(name)}.")
    check_types(cls, values, what)
    return cls(**values)


def check_types(cls: type, values: Mapping[str, Any], what: str) -> None:
    """Raise ValueError unless values have the types of the dataclass's fields; an int will do for a float."""
    for name, (types, expected) in _types(cls).items():
        value = values.get(name)
        if name in values and (not isinstance(value, types) or (isinstance(value, bool) and bool not in types)):
            raise ValueError(f"{name} of {what} must be {expected}, got {brief(value)}.")


def brief(value: object) -> str:
    """Short form of any value for a message."""
    return reprlib.repr(value)


@cache
def _types(cls: type) -> dict[str, tuple[tuple[type, ...], str]]:
    """Allowed types of each field of a dataclass, and their name in messages."""
    found = {}
    for name, hint in get_type_hints(cls).items():
        options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        types = tuple(get_origin(option) or option for option in options)
        expected = " or ".join(TYPES[kind] for kind in types if kind in TYPES)
        found[name] = (*types, int) if float in types else types, expected
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"each key must be there once, got {brief(twice)} twice")
    return values


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Every value and key inside a value, each with its place."""
    left = [("", value)]
    while left:
        where, value = left.pop()
        yield where, value
        if isinstance(value, dict):
            for key, inner in value.items():
                yield f"a key of {where or 'metadata'}", key
                left.append((f"{where}.{key}".strip(".")[:100], inner))
        elif isinstance(value, list):
            left += [(f"{where}[{i}]"[:100], inner) for i, inner in enumerate(value)]


def _check(where: str, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} must be a finite number, got {value}")
    if isinstance(value, int) and abs(value) >= MAX_WHOLE:
        raise ValueError(f"{where} is out of range: a whole number of {value.bit_length()} bits")
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise ValueError(f"{where} must have at most {MAX_TEXT:,} characters, got {len(value):,}")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{where} must be Unicode, got a lone surrogate in {ascii(value)[:80]}") from None
