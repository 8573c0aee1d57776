"""What the speed benchmarks share: things that take turns, whole processes, and the machine in words."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[3]


def data_folder() -> Path:
    """The folder that holds MNIST and sign-digits."""
    if "VAE_AUGMENT_DATA" not in os.environ:
        raise SystemExit("set VAE_AUGMENT_DATA to a folder that holds MNIST and sign-digits.")
    return Path(os.environ["VAE_AUGMENT_DATA"]).resolve()


def seconds_of(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def in_turns(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round; in a round each has its turn. One round before them is not counted."""
    for way in ways.values():
        way()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(seconds_of(way))
    return taken


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Median over rounds of one way's figure over another's."""
    return round(statistics.median(a / b for a, b in zip(over, under, strict=True)), 3)


def in_child(module: str, *arguments: object, python: str = sys.executable) -> dict[str, Any]:
    """What `module`'s last line of output says, JSON, run as a process of its own; raises RuntimeError if it fails."""
    command = [python, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def peak_megabytes(who: int = resource.RUSAGE_SELF) -> float:
    """The most memory that this process, or the largest of its children, has held."""
    return round(resource.getrusage(who).ru_maxrss / 1024, 1)


def machine() -> str:
    """The processor and versions, in words."""
    names = [line.split(":")[1] for line in _cpuinfo() if line.startswith("model name")]
    flags = next((line.split() for line in _cpuinfo() if line.startswith("flags")), [])
    has = [name for flag, name in (("avx2", "AVX2"), ("avx512f", "AVX-512"), ("amx_bf16", "AMX")) if flag in flags]
    processor = (names[0].strip() if names else platform.machine()) + (f" with {', '.join(has)}" if has else "")
    return (
        f"{os.cpu_count()} cores, {processor}; {platform.system()}, Python {platform.python_version()}, "
        f"PyTorch {torch.__version__.split('+')[0]} on {torch.get_num_threads()} threads"
    )


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
