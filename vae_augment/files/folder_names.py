"""Folder names of classes: safe on every file system, sorted as their labels are."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence

UNSAFE_CHARACTERS = frozenset('<>:"/\\|?*%') | {chr(code) for code in range(32)} | {chr(127)}
RESERVED_NAMES = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))]
)
MAX_NAME_BYTES = 200  # file systems take 255; an index may stand in front
HASH_BYTES = 4
MANIFEST, CLASSES = "manifest.json", "classes.json"  # files beside class folders


def folder_name(class_name: str) -> str:
    """Folder name of a class: the class name if every file system takes it, else percent-encoded.

    `urllib.parse.unquote` gives the class name back (RFC 3986), except for a name too long for a folder, of which the
    beginning and a hash remain.

    Args:
        class_name: any text that is not empty.

    Returns:
        A name of at most 200 bytes in UTF-8.

    Raises:
        ValueError: the name is empty, or no Unicode.
    """
    text = "".join(_escaped(class_name))
    return text if len(text.encode()) <= MAX_NAME_BYTES else _with_hash(class_name, HASH_BYTES)


def _escaped(class_name: str) -> list[str]:
    """Characters of a class name, percent-encoded where a folder name cannot have them."""
    if not class_name:
        raise ValueError("a class name must not be empty: it becomes a folder's name.")
    try:
        class_name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"a class name must be Unicode, got a lone surrogate in {ascii(class_name)[:80]}.") from None
    parts = [_escape(c) if c in UNSAFE_CHARACTERS else c for c in class_name]
    if parts[-1] in (".", " "):
        parts[-1] = _escape(parts[-1])
    text = "".join(parts)
    reserved = text.split(".")[0].casefold() in RESERVED_NAMES or text.casefold() in (MANIFEST, CLASSES)
    if parts[0] in (".", " ") or reserved:
        parts[0] = _escape(parts[0])
    return parts


def _escape(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


def _with_hash(class_name: str, hash_bytes: int) -> str:
    """Beginning of the escaped class name, as long as fits, "~" and a hash of the whole name."""
    mark = "~" + hashlib.blake2b(class_name.encode(), digest_size=hash_bytes).hexdigest()
    kept, room = "", MAX_NAME_BYTES - len(mark)
    for part in _escaped(class_name):  # whole characters and whole escapes
        room -= len(part.encode())
        if room < 0:
            break
        kept += part
    return kept + mark


def folder_names(class_names: Sequence[str]) -> list[str]:
    """Folder names in label order, which sort in that order too, so that ImageFolder numbers them the same.

    Names that a file system may take for the same, because it ignores case or how accents are encoded, get "~" and a
    hash of the class name. If the names would sort otherwise, each gets a zero-padded index in front.

    Args:
        class_names: no two equal.

    Raises:
        ValueError: a name is empty or no Unicode, or two are equal.
    """
    for name, count in Counter(class_names).items():
        if count > 1:
            raise ValueError(f"class names must differ, got {name[:80]!r} {count} times.")
    names = [folder_name(name) for name in class_names]
    hashed = [0] * len(names)  # bytes of the hash in each name
    while alike := _alike(names):
        for rows in alike:
            plain = [row for row in rows if not hashed[row]]
            for row in plain or rows:  # a plain name that looks like a hashed one gives way, so that this ends
                hashed[row] += HASH_BYTES
                names[row] = _with_hash(class_names[row], hashed[row])
    if names != sorted(names):
        digits = len(str(len(names) - 1))
        names = [f"{index:0{digits}d}_{name}" for index, name in enumerate(names)]
    return names


def _alike(names: Sequence[str]) -> list[list[int]]:
    """Groups of rows whose names some file system takes for the same."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(caseless(name), []).append(row)
    return [group for group in rows.values() if len(group) > 1]


def caseless(name: str) -> str:
    """Equal for names that a file system may take for the same (Unicode's canonical caseless matching)."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
