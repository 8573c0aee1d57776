"""Ctrl-C and SIGTERM end a command within two seconds, and it says how to go on."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from vae_augment.cli.exit_codes import WORK_FAILED

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE = 1.0  # seconds, in which a command must have come to its end by itself
WORKERS_END = 0.3  # seconds in all, in which workers must have come to theirs
RESUMED = ("fit", "generate")  # commands that have --resume


@contextmanager
def stopped_by_signals(resume: str) -> Iterator[None]:
    """End the process when a signal comes meanwhile, and say its name and `resume`.

    KeyboardInterrupt gives the command time to put away what it has begun. Nothing that it writes is ever half-written
    under its own name, so it can be ended anywhere when that time is over.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield
        return
    owner, timers = os.getpid(), list[threading.Timer]()

    def stop(number: int, frame: Any) -> None:
        if os.getpid() != owner:  # a worker, which its parent ends
            if number == signal.SIGTERM:
                os._exit(WORK_FAILED)
            return
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)  # a second one ends it at once
        message = f"stopped by {signal.Signals(number).name}.{resume}"
        timers.append(threading.Timer(GRACE, _end_now, [message]))  # somebody may swallow the exception, or take long
        timers[0].daemon = True
        timers[0].start()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    except click.Abort:  # what click makes of KeyboardInterrupt
        for timer in timers:
            timer.cancel()
            _end_now(*timer.args)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_now(message: str) -> NoReturn:
    """From any thread, without waiting for anything: taking down an interpreter with torch is more than a second."""
    import multiprocessing

    workers = multiprocessing.active_children()
    for worker in workers:
        worker.terminate()
    for worker in workers:  # none goes on beside a command that resumes
        worker.join(WORKERS_END / len(workers))
        worker.kill()
    os.write(2, f"\nvae-augment: error: {message}\n".encode())
    os._exit(WORK_FAILED)


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
