"""Names of classes: those that a bank may have, so that none is written that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Iterable

from vae_augment.files.untrusted_json import MAX_BYTES, MAX_TEXT, MAX_VALUES, brief, values_in

MAX_CLASSES = 100_000
OTHER_BYTES, OTHER_VALUES = 512, 15  # of a class in the metadata, more than it ever has beside its name
ROOM = 2**16  # of either, for what there is once a bank


def check_names(names: Iterable[str]) -> None:
    """Raise ValueError unless a bank can have classes of these names."""
    names = list(names)
    if len(names) > MAX_CLASSES:
        raise ValueError(f"a bank must have at most {MAX_CLASSES:,} classes, got {len(names):,}. Leave some out.")
    for name in names:
        if len(name) > MAX_TEXT:
            raise ValueError(
                f"class names must have at most {MAX_TEXT:,} characters, got {len(name):,} in {brief(name)}. "
                "Shorten it."
            )
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"class names must be Unicode, got a lone surrogate in {ascii(name)[:80]}. Rename it."
            ) from None
    text = json.dumps(names, ensure_ascii=False)
    size, most = len(json.dumps(text, ensure_ascii=False).encode()), MAX_BYTES - ROOM - OTHER_BYTES * len(names)
    if size > most:  # as a text in a text, in which quotes and backslashes take several
        raise ValueError(
            f"names of {len(names):,} classes must have at most {most:,} bytes in all, got {size:,}. Shorten them."
        )
    values, most = values_in(text), MAX_VALUES - ROOM - OTHER_VALUES * len(names)
    if values > most:  # by which a reader counts values before it parses them
        raise ValueError(
            f"names of {len(names):,} classes must have at most {most:,} commas and opening brackets in all, got "
            f"{values:,}. Leave them out of the names."
        )
