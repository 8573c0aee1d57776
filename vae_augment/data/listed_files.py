"""A CSV file that lists image files and their labels."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from vae_augment.data.columns import FILES, LABELS, SPLIT, chosen_split, column, numbered
from vae_augment.data.image_files import ImageFiles
from vae_augment.data.opened import OpenedData, Problem, refuse
from vae_augment.image_file import EXTENSIONS

MOST_BYTES = 2**28  # of the list itself, which is read into memory


def open_csv(path: Path, part: str, on_error: str, max_pixels: int) -> OpenedData:
    """Files are named from the CSV's folder. Where there is a column "split", its rows of the part are taken."""
    folder, problems, taken = path.parent.resolve(), [], []
    for line, file, label in _rows(path, part):
        reason = _reason_against(file, label, folder)
        if reason:
            problems.append(Problem(f"{path.name}, line {line}", reason))
        else:
            taken.append((str(path.parent / file), label))
    if on_error == "fail":
        refuse(problems, str(path))
    if not taken:
        refuse(problems, str(path), all_of_it=True)
        raise ValueError(f"{path} must list at least one image, got none.")
    labels, names = numbered([label for _, label in taken])
    files = [file for file, _ in taken]
    dataset = ImageFiles(list(zip(files, labels, strict=True)), names, path.parent, max_pixels)
    twice = sum(count > 1 for count in Counter(files).values())
    notes = (f"{twice} files are listed more than once.",) if twice else ()
    return OpenedData(dataset, path.stem, "csv", tuple(problems), notes)


def _rows(path: Path, part: str) -> list[tuple[int, str, str]]:
    """Line number, file and label of each row of the part. A missing field is empty."""
    lines = _lines(path)
    if not lines:
        raise ValueError(f"{path} must list images and labels, got an empty file.")
    header, places = lines[0][1], (0, 1, -1)
    if len(header) > 1 and header[0].lower().endswith(EXTENSIONS):  # the first row is an image already
        header = []
    else:
        of = str(path)
        names = [header.index(column(header, wanted, of)) for wanted in (FILES, LABELS)]
        split = next((place for place, name in enumerate(header) if name.strip().casefold() == SPLIT), -1)
        places = names[0], names[1], split
        lines = lines[1:]
    rows = [(line, [row[k].strip() if 0 <= k < len(row) else "" for k in places]) for line, row in lines]
    if places[2] >= 0 and rows:
        wanted = chosen_split((row[2] for _, row in rows), part, str(path))
        rows = [(line, row) for line, row in rows if row[2] == wanted]
    return [(line, row[0], row[1]) for line, row in rows]


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """The fields of each line that is not empty, and its number."""
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path} must have at most {MOST_BYTES:,} bytes, got {path.stat().st_size:,}.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            delimiter = max(",;\t", key=first.count)  # the comma, where none occurs
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter)
            return [(reader.line_num, row) for row in reader if any(field.strip() for field in row)]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be text in UTF-8, got other bytes at position {error.start}.") from None
    except csv.Error as error:
        raise ValueError(f"{path} must be a CSV file: {error}.") from None


def _reason_against(file: str, label: str, folder: Path) -> str:
    """Why a row cannot be used, or "". No file outside the folder is touched, wherever a link or ".." leads."""
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
