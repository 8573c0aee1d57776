"""Worker processes that end with their parent."""

from __future__ import annotations

import os
import threading
import time


def end_with(parent: int) -> None:
    """End this process as soon as its parent, whose process number is given, has ended; not on Windows."""
    if os.name != "nt":  # there a process keeps the number of a parent that has ended
        threading.Thread(target=_wait_and_end, args=(parent,), daemon=True).start()


def _wait_and_end(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.01)
    os._exit(1)
