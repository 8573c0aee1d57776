"""End of a command within two seconds of Ctrl-C or SIGTERM, with the command line that resumes it."""

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
GRACE = 1.0  # seconds that a command has to end by itself
WORKERS_END = 0.3  # seconds that all its workers have to end
RESUMED = ("fit", "augment", "generate", "evaluate")  # commands that have --resume


@contextmanager
def stopped_by_signals(resume: str) -> Iterator[None]:
    """End the process when a signal comes meanwhile, and print the signal's name and `resume`.

    KeyboardInterrupt gives the command time to clean up. When that time is over it can be ended anywhere: files have
    their own names only when they are whole.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread gets signals
        yield
        return
    owner, timers = os.getpid(), list[threading.Timer]()

    def stop(number: int, frame: Any) -> None:
        if os.getpid() != owner:  # a worker: its parent ends it
            if number == signal.SIGTERM:
                os._exit(WORK_FAILED)
            return
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)  # a second signal ends the process at once
        message = f"stopped by {signal.Signals(number).name}.{resume}"
        timers.append(threading.Timer(GRACE, _end_now, [message]))  # the exception may be swallowed, or take long
        timers[0].daemon = True
        timers[0].start()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    except click.Abort:  # click's name for KeyboardInterrupt
        for timer in timers:
            timer.cancel()
            _end_now(*timer.args)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_now(message: str) -> NoReturn:
    """End the process from any thread at once: an interpreter with torch takes more than a second to shut down."""
    import multiprocessing

    workers = multiprocessing.active_children()
    for worker in workers:
        worker.terminate()
    for worker in workers:  # none may write beside the command that resumes
        worker.join(WORKERS_END / len(workers))
        worker.kill()
    os.write(2, f"\nvae-augment: error: {message}\n".encode())
    os._exit(WORK_FAILED)


def how_to_resume(arguments: Sequence[str]) -> str:
    """A sentence with the command line that resumes this one; "" for commands that cannot be resumed."""
    at = next((place for place, argument in enumerate(arguments) if not argument.startswith("-")), None)
    if at is None or arguments[at] not in RESUMED:
        return ""
    end = arguments.index("--", at) if "--" in arguments[at:] else len(arguments)  # end of the options
    if "--check" in arguments[at:end]:  # it keeps nothing
        return ""
    options = [argument for argument in arguments[:end] if argument not in ("--resume", "--overwrite")]
    again = [*options, "--resume", *arguments[end:]]
    return f" What is finished is kept. Go on with:\n\n    vae-augment {shlex.join(again)}\n"
