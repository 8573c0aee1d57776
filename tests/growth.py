"""How the time that something takes grows with its size, whatever the machine and what runs beside."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

TENFOLD = 40  # what ten times the size may take: linear is 10, quadratic 100


def growth(run: Callable[[int], object], size: int) -> float:
    """Processor time of a run of ten times a size, over that of a run of the size; the least of up to three tries."""
    found = []
    while not found or (min(found) >= TENFOLD and len(found) < 3):
        gc.collect()
        times = []
        for count in (size, 10 * size):
            started = time.process_time()
            run(count)
            times.append(time.process_time() - started)
        found.append(times[1] / times[0])
    return min(found)
