"""The JSON that a file of unknown origin carries, read within bounds."""

from __future__ import annotations

import json
import math
import reprlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

MAX_BYTES = 64 * 2**20
MAX_VALUES = 2**21  # a hundred thousand classes have half as many; each costs some 100 bytes of memory
MAX_TEXT = 2**16  # characters
MAX_WHOLE = 2**256  # less than the largest float


def parse(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is no JSON, is too large, or has a key twice, a number that is not finite or too large, or a text
            that is too long or no Unicode; the message names the field.
        RecursionError: it is too deep.
    """
    if values_in(text) > MAX_VALUES:
        raise ValueError(f"metadata must have at most {MAX_VALUES:,} values, got more")
    value = json.loads(text, object_pairs_hook=_once)
    for where, part in _parts(value):
        _check(where, part)
    return value


def check_keys(text: str) -> None:
    """Raise as `parse`, where a JSON text holds another as a text: of keys that are there twice, a reader takes one."""
    if values_in(text) > 2 * MAX_VALUES:
        raise ValueError(f"it must have at most {2 * MAX_VALUES:,} values, got more")
    json.loads(text, object_pairs_hook=_once)


def values_in(text: str) -> int:
    """At least as many values as a JSON text holds, but for one: those of its texts are counted too."""
    return sum(map(text.count, ",[{"))


def brief(value: object) -> str:
    """A value in a message: whatever a file held, not long."""
    return reprlib.repr(value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"each key must be there once, got {brief(twice)} twice")
    return values


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """All that is in a value, and where; keys too."""
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
