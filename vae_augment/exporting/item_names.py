"""Names of a dataset's items, and of the PNGs made of them: safe in any folder, whoever gave the names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vae_augment.data.source import Source
from vae_augment.exporting.folder import ENDING
from vae_augment.files.folder_names import caseless, folder_name
from vae_augment.files.untrusted_json import brief
from vae_augment.images.image_file import EXTENSIONS

MOST_CHARACTERS = 1024  # a file's name has 255 bytes at most, which are four characters each where they are no text


def item_names(source: Source) -> tuple[str, ...]:
    """The names of a dataset's items as text, in order: their files', without folders, or their numbers."""
    names = (name.encode(errors="backslashreplace").decode() for name in source.names())
    return tuple(name if 0 < len(name) <= MOST_CHARACTERS else f"{i:06d}" for i, name in enumerate(names))


def check_item_names(names: Iterable[str]) -> None:
    """Raise ValueError unless latents can be kept under these names."""
    for place, name in enumerate(names):
        if not 0 < len(name) <= MOST_CHARACTERS:
            raise ValueError(f"names must have 1 to {MOST_CHARACTERS:,} characters, got {len(name):,} in item {place}")
        if "\0" in name or not _is_unicode(name):
            raise ValueError(f"names must be Unicode without NUL, got {brief(name)} in item {place}")


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def png_names(names: Sequence[str], labels: Sequence[int]) -> list[str]:
    """File names for images of items in class folders: "photo.png" for "photo.jpg".

    What a folder's name cannot have is percent-encoded, a separator too, so that none leads out of its folder. Of names
    in one class that a file system may take for the same, the second gets "~2" behind, and so on; they are a function
    of names and labels alone.

    Example:
        >>> png_names(["a.jpg", "a.png", "../b"], [0, 0, 0])
        ['a.png', 'a~2.png', '%2E.%2Fb.png']

    Args:
        names: of N items, in order, none empty.
        labels: of their classes.
    """
    taken: set[tuple[int, str]] = set()
    last: dict[tuple[int, str], int] = {}  # of a name, the number that was behind it last
    found = []
    for name, label in zip(names, labels, strict=True):
        stem = folder_name(_without_ending(name))
        key = label, caseless(stem)
        chosen, number = stem, last.get(key, 1)
        while (label, caseless(chosen)) in taken:
            number += 1
            chosen = f"{stem}~{number}"
        last[key] = number
        taken.add((label, caseless(chosen)))
        found.append(chosen + ENDING)
    return found


def _without_ending(name: str) -> str:
    """A file's name without what says that it is an image; as it is, where nothing would be left."""
    start, dot, ending = name.rpartition(".")
    return start if start and f"{dot}{ending}".lower() in EXTENSIONS else name
