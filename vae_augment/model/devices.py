"""The choice of a device, its block size, and settings of torch while we compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

BLOCKS = {"cpu": 64}  # images a pass: more would not stay in the processor's cache


@cache
def computes_bfloat16(device: torch.device) -> bool:
    """True for a CPU with instructions for bfloat16 products, which PyTorch from 2.10 on reports."""
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def choose_device(name: str | torch.device) -> torch.device:
    """A device by name; "auto" takes a CUDA device if there is one. Raises ValueError if torch cannot use it here."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return usable_device(name, computes=True)


def usable_device(name: str | torch.device, *, computes: bool = False) -> torch.device:
    """A device by name, one that holds values if it `computes`. Raises ValueError if torch cannot use it here."""
    try:
        device = torch.device(name)
        one = torch.ones(1, device=device)
        _ = one.item() if computes else None
    except (RuntimeError, AssertionError, NotImplementedError, ImportError, AttributeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device must be 'auto' or one that torch can use here, got {name!r}: {reason}") from None
    return device


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Treat denormal numbers as zero, since they slow a CPU manyfold; the setting is restored at the end."""
    was_on = bool(torch.tensor(1e-310, dtype=torch.float64) * 1.0 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_on)


def block_of(device: torch.device) -> int:
    """Images a pass on a device, at most."""
    return BLOCKS.get(device.type, 512)


@contextmanager
def single_thread() -> Iterator[None]:
    """Compute on one thread, as a DataLoader's worker does, so that the main process gets the same bits."""
    threads = torch.get_num_threads()
    if threads > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if threads > 1:
            torch.set_num_threads(threads)


def half(numbers: Tensor) -> Tensor:
    """Numbers in half precision, clamped to its range."""
    largest = torch.finfo(torch.float16).max
    return numbers.clamp(-largest, largest).half()
