"""How long it takes to start: to import, to print help, and to wrap MNIST with a bank that is in the cache."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

from tests.benchmarks.speed.measured import data_folder, in_child, in_turns, ratio

PLAIN = "import torch, torchvision"
OURS = f"{PLAIN}; import vae_augment; vae_augment.VAEAugmentedDataset; vae_augment.fit"  # names load what they need
NOTHING = "pass"


def measure(short: bool) -> dict:
    rounds = 3 if short else 9
    commands = {
        "torch, torchvision": [sys.executable, "-c", PLAIN],
        "and vae_augment with its names": [sys.executable, "-c", OURS],
        "python alone": [sys.executable, "-c", NOTHING],
        "vae-augment --help": [sys.executable, "-m", "vae_augment", "--help"],
    }
    ways = {n: lambda c=command: subprocess.run(c, check=True, capture_output=True) for n, command in commands.items()}
    taken = in_turns(ways, rounds)
    plain, ours, python, help_ = taken.values()
    added = [[whole - empty for whole, empty in zip(values, python, strict=True)] for values in (ours, plain)]
    result = {
        "seconds": {name: sorted(values)[rounds // 2] for name, values in taken.items()},
        "import, ratio": ratio(*added),
        "help, s": sorted(help_)[rounds // 2],
    }
    return result if short else result | {"wrapping MNIST, s": wrapping(rounds=5)}


def wrapping(rounds: int) -> dict:
    """Seconds of the constructor alone, in processes of their own that find the bank in the cache."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "VAE_AUGMENT_CACHE": cache}
        os.environ |= environment
        first, *rest = (in_child(__spec__.name, "--child") for _ in range(rounds + 1))
    taken = sorted(answer["seconds"] for answer in rest)
    return {"median": taken[rounds // 2], "range": [taken[0], taken[-1]], "the first, which fits": first["seconds"]}


def child() -> None:
    from torchvision.datasets import MNIST
    from torchvision.transforms import ToTensor

    from vae_augment import FitConfig, VAEAugmentedDataset
    from vae_augment.wrapper import bank_cache

    # a bank that is fitted for a moment: how long it was trained does not change how long it takes to open
    bank_cache.FitConfig = lambda: FitConfig(steps=20)
    base = MNIST(data_folder(), transform=ToTensor())
    started = time.perf_counter()
    VAEAugmentedDataset(base)
    print(json.dumps({"seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--child", action="store_true")
    if parser.parse_args().child:
        child()
