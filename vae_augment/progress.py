"""Progress of long work on standard error: a bar on a terminal, elsewhere a line every 15 seconds."""

from __future__ import annotations

import io
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

EVERY = 15.0  # seconds


@contextmanager
def progress_bar(unit: str, total: int | None = None, *, shown: bool = True) -> Iterator[tqdm[Any]]:
    """Show how much of a piece of work is done.

    Args:
        unit: a noun for one step of the work, such as "image".
        total: number of steps, where it is known; `reset(total)` tells it later.
        shown: False to show nothing.

    Yields:
        A tqdm bar, to call `update` and `set_description` of. Where standard error is no terminal it draws nothing.
    """
    stream = stream_for(shown)
    if stream is None or on_terminal(stream):
        bar = tqdm(total=total, unit=unit, file=stream) if stream else tqdm(disable=True)
        with bar:
            yield bar
        return
    bar = tqdm(total=total, unit=unit, file=io.StringIO(), mininterval=EVERY, disable=False)
    line = _Line(bar)
    with bar, repeated(lambda: say(line())):
        yield bar


def stream_for(shown: bool) -> Any:
    """Standard error; None if nothing is to be shown, it is not there, or the log has errors alone, as by -q."""
    return sys.stderr if shown and logging.getLogger("vae_augment").isEnabledFor(logging.WARNING) else None


def on_terminal(stream: Any) -> bool:
    """Tell if a stream is a terminal; what stands in for a stream may not say."""
    return bool(getattr(stream, "isatty", lambda: False)())


def say(text: str) -> None:
    """Write a line on standard error, clear of bars."""
    tqdm.write(f"vae-augment: {text}", file=sys.stderr)


@contextmanager
def repeated(work: Callable[[], object], seconds: float | None = None) -> Iterator[None]:
    """Call a function every 15 seconds, or every so many, until the end: in a thread."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(EVERY if seconds is None else seconds):
            work()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(1.0)  # so that no line comes after the end, though a stream may hang


def passed(bar: tqdm[Any], steps: int) -> None:
    """Count steps that an earlier run did, which say nothing of how long others take."""
    with bar.get_lock():  # type: ignore[no-untyped-call]
        bar.initial = getattr(bar, "initial", 0) + steps  # which a bar that is not shown lacks
        bar.update(steps)


class _Line:
    """How far a bar is, in words, and for how long it goes on at the pace since the last line."""

    def __init__(self, bar: tqdm[Any]) -> None:
        self._bar, self._last, self._at = bar, 0.0, time.monotonic()

    def __call__(self) -> str:
        bar, now = self._bar, time.monotonic()
        own = bar.n - bar.initial
        done, took = own - self._last, now - self._at
        self._last, self._at = own, now
        doing = bar.desc.removesuffix(": ") + ", " if bar.desc else ""
        of = "" if bar.total is None else f" of {bar.total:,}"
        left = ""
        if bar.total is not None and done > 0 and bar.n < bar.total:
            left = f", about {(bar.total - bar.n) / done * took:.0f} s for the others"
        return f"{doing}{bar.n:,}{of} {bar.unit}s after {bar.format_dict['elapsed']:.0f} s{left}"
