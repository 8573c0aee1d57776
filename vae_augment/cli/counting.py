"""Progress of a command that writes images: a bar on a terminal, elsewhere a line every half minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click

EVERY = 30.0  # seconds


class Counter(Protocol):
    """A count of images as they are written; a tqdm bar is one."""

    def reset(self, total: int) -> object:
        """Tell how many images there will be."""

    def update(self, count: int) -> object:
        """Count images that are written."""


class _Lines:
    def __init__(self) -> None:
        self._done, self._total, self._begun = 0, 0, time.monotonic()
        self._said = self._begun

    def reset(self, total: int) -> None:
        self._total = total

    def update(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._said >= EVERY:
            self._said = now
            text = f"vae-augment: {self._done:,} of {self._total:,} images after {now - self._begun:.0f} s"
            click.echo(text, err=True)


@contextmanager
def counting() -> Iterator[Counter]:
    """Show how many images of how many are written, on standard error."""
    from tqdm import tqdm

    if sys.stderr is None or not sys.stderr.isatty():
        yield _Lines()
        return
    with tqdm(unit="image") as bar:
        yield bar
