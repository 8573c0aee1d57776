"""A CSV file that lists image files and their labels."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from vae_augment.data.opened import OpenedData, Problem, check_count, check_usable
from vae_augment.data.readers.columns import FILES, LABELS, SPLIT, chosen_split, column, numbered
from vae_augment.data.readers.image_files import ImageFiles
from vae_augment.images.image_file import EXTENSIONS

MOST_BYTES = 2**28  # of the list, which is read into memory
MOST_CHARACTERS = 2**20  # of a row, whose fields take dozens of bytes each


def open_csv(path: Path, part: str, on_error: str, max_pixels: int) -> OpenedData:
    """Open the images of a CSV file, relative to its folder; if it has a column "split", those of the part."""
    folder, problems, taken = path.parent.resolve(), [], []
    for line, file, label in _rows(path, part):
        reason = _reason_against(file, label, folder)
        if reason:
            problems.append(Problem(f"{path.name}, line {line}", reason))
        else:
            taken.append((str(path.parent / file), label))
    check_usable(problems, path, on_error, left=len(taken))
    labels, names = numbered([label for _, label in taken])
    files = [file for file, _ in taken]
    dataset = ImageFiles(list(zip(files, labels, strict=True)), names, path.parent, max_pixels)
    twice = sum(count > 1 for count in Counter(files).values())
    notes = (f"Files listed more than once: {twice}.",) if twice else ()
    return OpenedData(dataset, path.stem, "csv", tuple(problems), notes)


def _rows(path: Path, part: str) -> list[tuple[int, str, str]]:
    """Line number, file and label of each row of the part; a missing field is ""."""
    lines = _lines(path)
    first = next(lines, None)
    if first is None:
        raise ValueError(f"{path} must list images and labels, got an empty file.")
    header, places, rows = first[1], (0, 1, -1), []
    if len(header) > 1 and header[0].lower().endswith(EXTENSIONS):  # there is no header
        lines = chain([first], lines)
    else:
        names = [header.index(column(header, wanted, path)) for wanted in (FILES, LABELS)]
        at = next((place for place, name in enumerate(header) if name.strip().casefold() == SPLIT), -1)
        places = names[0], names[1], at
    for line, row in lines:
        file, label, split = (row[k].strip() if 0 <= k < len(row) else "" for k in places)
        rows.append((line, file, label, split))
        check_count(len(rows), path)
    if places[2] >= 0 and rows:
        wanted = chosen_split((split for *_, split in rows), part, path)
        rows = [row for row in rows if row[3] == wanted]
    return [(line, file, label) for line, file, label, _ in rows]


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each row that is not empty."""
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path} must have at most {MOST_BYTES:,} bytes, got {path.stat().st_size:,}.")
    left = MOST_CHARACTERS

    def pieces() -> Iterator[str]:
        nonlocal left
        while piece := file.readline(MOST_CHARACTERS + 1):
            left -= len(piece)
            if left < 0:
                raise ValueError(f"{path} must have rows of at most {MOST_CHARACTERS:,} characters, got more in one.")
            yield piece

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline(MOST_CHARACTERS)
            delimiter = max(",;\t", key=first.count)  # the comma, where none occurs
            file.seek(0)
            reader = csv.reader(pieces(), delimiter=delimiter)
            for row in reader:
                left = MOST_CHARACTERS
                if any(field.strip() for field in row):
                    yield reader.line_num, row
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be text in UTF-8, got other bytes at position {error.start}.") from None
    except csv.Error as error:
        raise ValueError(f"{path} must be a CSV file: {error}.") from None


def _reason_against(file: str, label: str, folder: Path) -> str:
    """Reason why a row is not usable, or "". No file outside the folder is opened, wherever a link or ".." leads."""
    if not file or not label:
        return "it has no label" if file else "it names no file"
    if "\0" in file:
        return "a file's name cannot hold NUL"
    try:
        found = (folder / file).resolve()
        if not found.is_relative_to(folder):
            return f"{file} leads out of the folder that the list lies in"
        if not found.exists():
            return f"there is no file {file}"
        return "" if found.is_file() else f"{file} is no regular file"
    except (OSError, RuntimeError) as error:  # a name too long; links in a circle
        return f"{file[:80]} cannot be looked up ({getattr(error, 'strerror', None) or error})"
