"""Progress of an evaluation: a forecast, then a bar on a terminal, and elsewhere a line every 15 seconds."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from types import TracebackType

from tqdm import tqdm

from vae_augment.progress import on_terminal, repeated, say, stream_for

MINUTE = 60.0  # seconds


class Progress:
    """Progress on standard error.

    Args:
        shown: False to say nothing.
    """

    def __init__(self, *, shown: bool) -> None:
        stream = stream_for(shown)
        self._shown = stream is not None
        bar = self._shown and on_terminal(stream)
        self._bar = tqdm(disable=not bar, unit="step", file=sys.stderr)
        self._in_lines, self._stack = self._shown and not bar, ExitStack()
        self._steps, self._done, self._doing, self._begun = 0, 0, "", time.monotonic()

    def __enter__(self) -> Progress:
        if self._in_lines:
            self._stack.enter_context(repeated(self._say_how_far))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self._bar.close()

    @property
    def minutes(self) -> float:
        """Time since the beginning."""
        return (time.monotonic() - self._begun) / MINUTE

    def begin(self, steps: int) -> None:
        """Tell how many steps there are to do."""
        self._steps = self._bar.total = steps

    def skip(self, steps: int) -> None:
        """Tell that steps were done before."""
        self.begin(self._steps - steps)

    def say(self, text: str) -> None:
        """Print a line."""
        if self._shown and text:
            say(text)

    def doing(self, text: str) -> None:
        """Tell what begins now."""
        self._doing = text
        self._bar.set_description(text)

    def step(self, steps: int = 1) -> None:
        """Count steps of a classifier, or as much other work."""
        self._done += steps
        self._bar.update(steps)

    def _say_how_far(self) -> None:
        if self._doing:
            self.say(f"{self._doing}, {self.minutes:.1f} minutes so far{self._left()}")

    def _left(self) -> str:
        if not self._done:
            return ""
        return f", about {self.minutes * (self._steps - self._done) / self._done:.0f} left"
