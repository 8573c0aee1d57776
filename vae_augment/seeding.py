"""Independent random streams from one seed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

import numpy as np
import torch
from torch import Tensor


def derive(seed: int, *parts: str | int) -> int:
    """63-bit seed of the stream named by `parts`: a pure function of its arguments, the same on every machine."""
    text = "\x1f".join([str(int(seed)), *map(str, parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def check_seed(seed: int) -> None:
    """Raise TypeError unless the seed is a whole number."""
    if not isinstance(seed, Integral) or isinstance(seed, bool):
        raise TypeError(f"seed must be a whole number, got {seed!r}.")


def generator(seed: int, *parts: str | int) -> torch.Generator:
    """CPU generator of the stream named by `parts`."""
    return torch.Generator().manual_seed(derive(seed, *parts))


def draw_items(labels: Tensor, label: Tensor | int, draws: torch.Generator, most: int | None = None) -> Tensor:
    """Positions of a label's items among labels [N], in random order; at most `most` of them."""
    where = (labels == label).nonzero()[:, 0]
    return where[torch.randperm(len(where), generator=draws)[:most]]


@contextmanager
def undrawn() -> Iterator[None]:
    """Leave the global generators of Python, NumPy and torch (of the CPU) as they are, whatever is drawn inside."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
