"""Limits to class names, so that every bank that is written can be read."""

from __future__ import annotations

import json
from collections.abc import Iterable

from vae_augment.files.untrusted_json import MAX_TEXT, brief, values_in

MAX_CLASSES = 100_000
# Bounds of all names together. Beside its name a class has at most 512 bytes and 15 values in the metadata. With these
# limits a bank of the most classes stays within those of `untrusted_json`.
MAX_NAME_BYTES, MAX_NAME_VALUES = 14 * 2**20, 500_000


def check_names(names: Iterable[str]) -> None:
    """Raise ValueError unless a bank can hold classes of these names."""
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
    # in the file this text is within another, where quotes and backslashes take several bytes
    size = len(json.dumps(text, ensure_ascii=False).encode())
    if size > MAX_NAME_BYTES:
        raise ValueError(f"class names must have at most {MAX_NAME_BYTES:,} bytes in all, got {size:,}. Shorten them.")
    if values_in(text) > MAX_NAME_VALUES:  # a reader counts commas and brackets before it parses
        raise ValueError(
            f"class names must have at most {MAX_NAME_VALUES:,} commas and opening brackets in all, got "
            f"{values_in(text):,}. Leave them out of the names."
        )
