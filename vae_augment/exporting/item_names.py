"""Names of a dataset's items, and file names of the PNGs made of them, safe in any folder whoever gave them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from vae_augment.data.source import Source
from vae_augment.exporting.folder import ENDING
from vae_augment.files.folder_names import caseless, folder_name
from vae_augment.files.untrusted_json import brief
from vae_augment.images.image_file import EXTENSIONS

MOST_CHARACTERS = 1024  # a file name has at most 255 bytes, which become four characters each where they are no text
UNFIT = re.compile("[\0\ud800-\udfff]")  # NUL and lone surrogates


def item_names(source: Source) -> tuple[str, ...]:
    """The names of a dataset's items, in order: their files' names without folders, or their numbers."""
    names = (name.encode(errors="backslashreplace").decode() for name in source.names())
    return tuple(name if 0 < len(name) <= MOST_CHARACTERS else f"{i:06d}" for i, name in enumerate(names))


def check_item_names(names: Iterable[str]) -> None:
    """Raise ValueError if a latent file cannot hold one of these names."""
    for place, name in enumerate(names):
        if not 0 < len(name) <= MOST_CHARACTERS:
            raise ValueError(f"names must have 1 to {MOST_CHARACTERS:,} characters, got {len(name):,} in item {place}")
        if UNFIT.search(name):
            raise ValueError(f"names must be Unicode without NUL, got {brief(name)} in item {place}")


def png_names(names: Sequence[str], labels: Sequence[int]) -> list[str]:
    """File names for images of items in class folders: "photo.png" for "photo.jpg". See `file_stems`."""
    return [stem + ENDING for stem in file_stems([without_ending(name) for name in names], labels)]


def without_ending(name: str) -> str:
    """The name of an item without the ending of an image's file."""
    start, _, ending = name.rpartition(".")
    return start if start and f".{ending}".lower() in EXTENSIONS else name


def file_stems(names: Sequence[str], labels: Sequence[int]) -> list[str]:
    """Names for files of items in class folders, without an ending.

    Characters that a folder's name cannot have are percent-encoded, separators too, so that no name leads out of its
    folder. Where a file system may take names of one class for the same, the second ends in "~2", and so on. The result
    is a function of names and labels alone.

    Example:
        >>> file_stems(["a", "a", "../b"], [0, 0, 0])
        ['a', 'a~2', '%2E.%2Fb']

    Args:
        names: of N items, in order, none empty.
        labels: of the items.
    """
    taken: set[tuple[int, str]] = set()
    last: dict[tuple[int, str], int] = {}  # the last number behind each name
    found = []
    for name, label in zip(names, labels, strict=True):
        stem = folder_name(name)
        key = label, caseless(stem)
        chosen, number = stem, last.get(key, 1)
        while (label, caseless(chosen)) in taken:
            number += 1
            chosen = f"{stem}~{number}"
        last[key] = number
        taken.add((label, caseless(chosen)))
        found.append(chosen)
    return found
