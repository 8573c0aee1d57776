"""Work in a process forked from this one, which has imported everything: only its own work takes time."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import sys
import warnings
from collections.abc import Callable
from pathlib import Path


def start(
    work: str | Callable[[], object], folder: Path, log: Path, prepare: Callable[[], object] = lambda: None
) -> multiprocessing.Process:
    """Start the work in a folder.

    Args:
        work: the arguments of a command, or a function.
        folder: where it runs.
        log: what it prints is added to this.
        prepare: called in the process before it.
    """
    process = multiprocessing.get_context("fork").Process(target=_run, args=(work, folder, log, prepare))
    process.start()
    return process


def _run(work: str | Callable[[], object], folder: Path, log: Path, prepare: Callable[[], object]) -> None:
    from vae_augment.cli import main

    os.setsid()  # so that its workers can be told from others
    os.chdir(folder)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    warnings.resetwarnings()  # those of pytest, which make errors of them
    prepare()
    if isinstance(work, str):
        main(shlex.split(work))
    else:
        work()
