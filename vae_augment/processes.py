"""Processes that work for another one, and do not outlive it."""

from __future__ import annotations

import os
import threading
import time

LOOKS = 0.01  # seconds between two looks whether the parent is there still


def end_with(parent: int) -> None:
    """From now on this process ends when its parent, of that number, does, however that ends; not on Windows."""
    if os.name != "nt":  # where a process keeps its parent's number
        threading.Thread(target=_wait_and_end, args=(parent,), daemon=True).start()


def _wait_and_end(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOKS)
    os._exit(1)
