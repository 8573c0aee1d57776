"""SIGINT and SIGTERM end a command within two seconds, and it says how to go on."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NAMES = tuple(number.name for number in SIGNALS)
GRACE = 1.0  # seconds, in which a command must have come to its end by itself
RESUMED = ("fit", "generate")  # commands that have --resume


@contextmanager
def stopped_by_signals(give_up: Callable[[str], object]) -> Iterator[None]:
    """Meanwhile, a signal raises KeyboardInterrupt with its name, and a second one ends the process at once.

    Nothing that a command writes is ever half-written under its own name, so it can be ended anywhere.

    Args:
        give_up: called with the signal's name, from another thread, when the process has not ended in time: where an
            exception was swallowed, or a library's own code takes long. It must end the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner, timers = os.getpid(), list[threading.Timer]()
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def stop(number: int, frame: Any) -> None:
        if os.getpid() != owner:  # a worker, which its parent ends
            if number == signal.SIGTERM:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        name = signal.Signals(number).name
        timers.append(threading.Timer(GRACE, partial(give_up, name)))
        timers[-1].daemon = True
        timers[-1].start()
        raise KeyboardInterrupt(name)

    for number in SIGNALS:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def how_to_resume(arguments: Sequence[str]) -> str:
    """The command line that goes on where one was ended, in a sentence; "" for commands that have nothing to resume."""
    at = next((place for place, argument in enumerate(arguments) if not argument.startswith("-")), None)
    if at is None or arguments[at] not in RESUMED:
        return ""
    end = arguments.index("--", at) if "--" in arguments[at:] else len(arguments)  # of the options
    if "--check" in arguments[at:end]:  # which keeps nothing
        return ""
    options = [argument for argument in arguments[:end] if argument not in ("--resume", "--overwrite")]
    again = [*options, "--resume", *arguments[end:]]
    return f" What is finished is kept. Go on with:\n\n    vae-augment {shlex.join(again)}\n"
