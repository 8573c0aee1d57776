"""Settings that a process has once, such as torch's defaults, and worker processes that end with their parent."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

import torch

Defaults = tuple[torch.dtype, torch.device]
AUTOCAST = ("cpu", "cuda")
USUAL: Defaults = (torch.float32, torch.device("cpu"))

_callers: ContextVar[Defaults | None] = ContextVar("the caller's defaults, while ours are set", default=None)


@contextmanager
def own_defaults() -> Iterator[None]:
    """Compute with torch's usual dtype and device, without autocast, whatever the caller has set; also a decorator."""
    held = torch.get_default_dtype(), torch.get_default_device()
    casts = [kind for kind in AUTOCAST if torch.is_autocast_enabled(kind)]
    if held == USUAL and not casts:
        yield
        return
    token = _callers.set(held)
    try:
        with ExitStack() as stack:
            stack.enter_context(_defaults(USUAL))
            for kind in casts:
                stack.enter_context(torch.autocast(kind, enabled=False))
            yield
    finally:
        _callers.reset(token)


@contextmanager
def callers_defaults() -> Iterator[None]:
    """Run the caller's code, a dataset or a transform, with the defaults that `own_defaults` has replaced."""
    held = _callers.get()
    if held is None:
        yield
    else:
        with _defaults(held):
            yield


@contextmanager
def _defaults(defaults: Defaults) -> Iterator[None]:
    dtype, device = defaults
    held = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            yield
    finally:
        torch.set_default_dtype(held)


def end_with(parent: int) -> None:
    """End this process as soon as its parent, whose process number is given, has ended; not on Windows."""
    if os.name != "nt":  # there a process keeps the number of a parent that has ended
        threading.Thread(target=_wait_and_end, args=(parent,), daemon=True).start()


def _wait_and_end(parent: int) -> None:
    creator = multiprocessing.parent_process()
    if os.getppid() == parent or creator is None:
        while os.getppid() == parent:
            time.sleep(0.01)
    else:  # a fork server is the parent of this process, and another one made it
        creator.join()
    os._exit(1)
