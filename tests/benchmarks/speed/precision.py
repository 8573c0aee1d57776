"""Whole fits of photographs in float32 and in bfloat16, and how well they know images held out.

The images are 960 training images of sign-digits at 64x64; the 240 others are held out. The policy is not chosen. To
tell a quicker step from a shorter fit, float32 has its turn with three quarters of the steps too. And steps alone of
images of several shapes, by which it is chosen where bfloat16 pays.
"""

from __future__ import annotations

import math
import time
from functools import partial
from unittest.mock import patch

import torch

from tests.benchmarks.speed.measured import in_turns, ratio
from tests.benchmarks.speed.training import Task
from tests.benchmarks.usefulness import images_of
from vae_augment import FitConfig, fit
from vae_augment.evaluation.arms import InMemory
from vae_augment.fitting import training

HELD_OUT, SEEDS = 240, 2
FEWER = 0.75  # of the steps
SHAPES = ((1, 28, 28), (3, 32, 32), (1, 64, 64), (3, 48, 48), (3, 64, 64), (3, 128, 128))

WAYS = {"float32": (1.0, False), "float32, fewer steps": (FEWER, False), "bfloat16": (1.0, True)}


def fitted(name: str, seed: int, steps: int | None = None) -> dict:
    """Seconds of a fit and the error of its reconstructions of images it has not seen."""
    share, in_bfloat16 = WAYS[name]
    data = images_of("sign-digits", True)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    seen, unseen = order[HELD_OUT:], order[:HELD_OUT]
    steps = steps or FitConfig().resolve(len(seen)).steps or 0
    config = FitConfig(steps=round(share * steps), policy="none")
    started = time.perf_counter()
    with patch.object(training, "computes_bfloat16", lambda device: in_bfloat16):
        bank = fit(InMemory(data.images[seen], data.targets[seen]), config=config, seed=seed, progress=False)
    seconds = time.perf_counter() - started
    images = data.images[unseen]
    error = (bank.reconstruct(images, data.targets[unseen]) - images.float() / 255).square().mean()
    row = {"fit": name, "seed": seed, "seconds": round(seconds, 1), "held-out RMSE": round(math.sqrt(error), 4)}
    print(row, flush=True)
    return row


def steps_of(shape: tuple[int, int, int], rounds: int) -> dict:
    """Steps of two classes in bfloat16, over float32."""
    task = Task(shape, 2, 128)
    around = partial(torch.autocast, "cpu", torch.bfloat16)
    with training.flush_denormals():
        taken = in_turns({"float32": task.steps, "bfloat16": lambda: task.steps(around=around)}, rounds)
    over = ratio(taken["bfloat16"], taken["float32"])
    return {"image": "x".join(map(str, shape)), "numbers": math.prod(shape), "bfloat16 over float32": over}


def measure(short: bool) -> dict:
    seeds, steps = (1, 60) if short else (SEEDS, None)
    shapes = [steps_of(shape, 3 if short else 5) for shape in SHAPES]
    return {"rows": [fitted(name, seed, steps) for seed in range(seeds) for name in WAYS], "steps": shapes}
