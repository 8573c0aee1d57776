"""Text of unknown origin, such as class names, made safe for a terminal."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

NAME_WIDTH = 60  # characters of a class name in a table or a line


def printable(text: str) -> str:
    """Escape what a terminal would act on: control characters, escape sequences, changes of writing direction."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, limit: int = NAME_WIDTH) -> str:
    """`printable` text of at most `limit` characters; "…" stands for the middle of a longer one."""
    whole = printable(text[: limit + 1])
    if len(text) <= limit and len(whole) <= limit:
        return whole
    end = _at_most([printable(c) for c in text[: -limit - 1 : -1]], limit // 2)[::-1]
    start = _at_most([printable(c) for c in text[:limit]], limit - limit // 2 - 1)
    return f"{''.join(start)}…{''.join(end)}"


def one_line(text: str, limit: int | None = None) -> str:
    """`printable` text in one line, `shortened` if there is a `limit`."""
    line = " ".join(text.split())
    return printable(line) if limit is None else shortened(line, limit)


def _at_most(parts: list[str], limit: int) -> list[str]:
    """The first parts that have at most `limit` characters together."""
    return parts[: bisect_right(list(accumulate(map(len, parts))), limit)]
