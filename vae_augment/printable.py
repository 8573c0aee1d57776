"""Text of unknown origin, such as a bank's class names, made safe for a terminal."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

NAME_WIDTH = 60  # characters of a class name in a table or a line


def printable(text: str) -> str:
    """A text with what a terminal would act on escaped: controls, escape sequences, changes of writing direction."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, limit: int = NAME_WIDTH) -> str:
    """A text, `printable`, that is left out in the middle where it has more than `limit` characters."""
    whole = printable(text[: limit + 1])
    if len(text) <= limit and len(whole) <= limit:
        return whole
    end = _at_most([printable(c) for c in text[: -limit - 1 : -1]], limit // 2)[::-1]
    start = _at_most([printable(c) for c in text[:limit]], limit - limit // 2 - 1)
    return f"{''.join(start)}…{''.join(end)}"


def one_line(text: str, limit: int | None = None) -> str:
    """A text, `printable`, in one line; `shortened`, if it may have no more than `limit` characters."""
    line = " ".join(text.split())
    return printable(line) if limit is None else shortened(line, limit)


def _at_most(parts: list[str], limit: int) -> list[str]:
    """The first of the parts, that together have at most `limit` characters."""
    return parts[: bisect_right(list(accumulate(map(len, parts))), limit)]
