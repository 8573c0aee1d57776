"""On a CUDA device, if there is one: classes trained together and one by one, decoding, bfloat16, a whole fit.

    python -m tests.benchmarks.speed --only accelerator

The same functions run on a CPU, where a test calls them.
"""

from __future__ import annotations

import time
from functools import partial

import torch

from tests.benchmarks.speed.measured import data_folder, in_turns, ratio, seconds_of
from tests.benchmarks.speed.training import GREY, STEPS, Task
from vae_augment import FitConfig, VAEBank, fit

DECODED = 100_000


def stacked(device: str, classes: int, rounds: int, batch: int = 128) -> dict:
    """Steps of all classes stacked, over those of one class after the other; and in bfloat16 over float32."""
    task = Task(GREY, classes, batch, device)
    taken = in_turns(
        {
            "a loop": task.steps,
            "stacked": lambda: task.steps(apart=False),
            "stacked, bfloat16": lambda: task.steps(
                apart=False, around=partial(torch.autocast, device, torch.bfloat16)
            ),
        },
        rounds,
    )
    return {
        "classes": classes,
        "images a second, stacked": round(classes * batch * STEPS / min(taken["stacked"])),
        "stacked, times as fast": ratio(taken["a loop"], taken["stacked"]),
        "bfloat16, times as fast": ratio(taken["stacked"], taken["stacked, bfloat16"]),
    }


def decoding(bank: VAEBank, device: str, count: int) -> dict:
    """Images decoded in a second, and how far they are from a CPU's."""
    there = bank.to(device)
    labels = torch.arange(count) % len(bank.classes)
    z = torch.randn(count, bank.latent_dim, generator=torch.Generator().manual_seed(0))

    def decode() -> None:
        there.decode(z, labels)
        if device == "cuda":
            torch.cuda.synchronize()

    decode()
    some = slice(0, 1_000)
    apart = (there.decode(z[some], labels[some]).cpu() - bank.decode(z[some], labels[some])).abs().max().item()
    return {"images a second": round(count / seconds_of(decode)), "largest difference from a CPU's": apart}


def measure(short: bool) -> dict:
    if not torch.cuda.is_available():
        return {"not run": "there is no CUDA device on this machine"}
    from torchvision.datasets import MNIST

    data, rounds = MNIST(data_folder()), 3 if short else 7
    started = time.perf_counter()
    bank = fit(data, config=FitConfig(steps=100) if short else FitConfig(), device="cuda", progress=False)
    taken = time.perf_counter() - started
    return {
        "device": torch.cuda.get_device_name(),
        "stacked": [stacked("cuda", classes, rounds) for classes in (10, 100)],
        "decoding": decoding(bank, "cuda", DECODED),
        "fit of all of MNIST, s": round(taken, 1),
    }
