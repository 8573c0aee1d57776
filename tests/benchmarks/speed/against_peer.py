"""How long a fit of all of MNIST takes to a quality, beside pythae's VAE: one model per class, the same threads.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.speed --only against_peer

Quality is the Frechet distance of 10,000 generated digits to the test images, in the features of a fixed CNN
(tests.benchmarks.digit_features). pythae's VAE, with its defaults and Gaussian mixtures, trains until ten epochs better
its distance by less than 2 %; what it draws with does not count as time. Ours is fitted with shares of the default's
steps, each a fit from nothing, and the time is all that `fit` takes.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from tests.benchmarks.digit_features import CLASSES, distance_to_test_set
from tests.benchmarks.peers.environment import peer_python, settings
from tests.benchmarks.usefulness import PEERS_FOLDER, images_of
from vae_augment import FitConfig, fit

WORKER = Path(__file__).resolve().parents[1] / "peers" / "pythae_curve.py"
PER_CLASS, TURN, PLATEAU = 1_000, 10, 0.02  # images, epochs, share by which a turn must better the distance
SHARES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # of the default's steps
AGAIN = (0.1, 0.2)  # in the second pair: those about the peer's best
METHODS = ("exemplar", "gaussian")


def at_plateau(distances: list[float]) -> bool:
    return len(distances) > 1 and distances[-1] > (1 - PLATEAU) * min(distances[:-1])


def peer_curve(seed: int = 0) -> list[dict]:
    """Epochs, seconds of training and distance after each turn, to the plateau."""
    data, rows = images_of("mnist", True), []
    python = peer_python(PEERS_FOLDER)
    options = ["--epochs", str(TURN), "--per-class", str(PER_CLASS), "--seed", str(seed)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder, "in.npz"), images=data.images.numpy(), labels=data.targets.numpy())
        command = [str(python), str(WORKER), str(Path(folder, "in.npz")), folder, *options]
        with subprocess.Popen(command, env=settings(), **pipes) as peer:
            for turn, line in enumerate(peer.stdout or (), 1):
                with np.load(Path(folder, f"{turn}.npz")) as made:
                    distance = distance_to_test_set(torch.from_numpy(made["images"]))
                rows.append({"epochs": TURN * turn, "seconds": float(line), "distance": distance})
                print("pythae", rows[-1], flush=True)
                print("stop" if at_plateau([row["distance"] for row in rows]) else "go", file=peer.stdin, flush=True)
    if peer.returncode:
        raise RuntimeError(f"pythae ended with {peer.returncode}.")
    return rows


def our_curve(policy: str, shares: tuple[float, ...] = SHARES, seed: int = 0) -> list[dict]:
    """Steps, seconds and distance of a fit with each share of the default's steps."""
    data = images_of("mnist", True)
    steps = FitConfig().resolve(len(data)).steps or 0
    labels = torch.arange(CLASSES).repeat_interleave(PER_CLASS)
    rows = []
    for share in shares:
        started = time.perf_counter()
        bank = fit(data, config=FitConfig(steps=round(steps * share), policy=policy), seed=seed)
        row = {"share": share, "policy": policy, "seconds": time.perf_counter() - started}
        for method in METHODS:
            random = torch.Generator().manual_seed(seed)
            row[method] = distance_to_test_set(bank.sample(labels, method=method, generator=random))
        rows.append(row)
        print("ours", row, flush=True)
    return rows


def pair(seed: int, shares: tuple[float, ...]) -> dict:
    """Both curves, and what they say."""
    peer, ours = peer_curve(seed), our_curve("none", shares, seed) + our_curve("auto", (1.0,), seed)
    best = min(row["distance"] for row in peer)
    plateau = peer[-1]["seconds"]
    there = [row["seconds"] for row in ours if min(row[method] for method in METHODS) <= best]
    soonest = min(there) if there else float("nan")
    last = min(ours[-1][method] for method in METHODS)
    return {
        "pythae": peer,
        "ours": ours,
        "best": round(best, 2),
        "ours to it, s": round(soonest, 1),
        "time over the peer's": round(soonest / plateau, 3),
        "ours at the end": round(last, 2),
        "distance over the peer's": round(last / best, 3),
    }


def measure(short: bool) -> dict:
    pairs = [pair(0, SHARES)] + ([] if short else [pair(1, AGAIN)])
    figures = ("time over the peer's", "distance over the peer's")
    return {"pairs": pairs, **{name: round(fmean(one[name] for one in pairs), 3) for name in figures}}
