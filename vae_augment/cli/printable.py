"""Text of unknown origin, such as a bank's class names, made safe for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """A text with what a terminal would act on escaped: controls, escape sequences, changes of writing direction."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
