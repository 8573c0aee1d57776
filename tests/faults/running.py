"""Work in a process of its own, to its end."""

from __future__ import annotations

from tests.faults.forked import start


def ended(work, folder, log, prepare=lambda: None):
    """The exit code of a command or a function, and the last line that it printed."""
    process = start(work, folder, log, prepare)
    process.join(60)
    return process.exitcode, log.read_text().strip().splitlines()[-1]
