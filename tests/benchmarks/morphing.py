"""How smooth and how sharp morphs across classes are, by how weights and codes lead from one class to the other.

    python -m tests.benchmarks.morphing BANK --data NAME|PATH [--root DIR]

Of every pair of classes a few training images are morphed. A path's largest change from frame to frame over its mean
one is 1 where it is perfectly even; its sharpness is the mean squared gradient of the two frames in the middle over
that of both ends.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import torch
from tabulate import tabulate
from torch import Tensor

from vae_augment import VAEBank
from vae_augment.bank.matching import source_for
from vae_augment.data import open_data, subsample
from vae_augment.data.loading import load_images
from vae_augment.exploring.morphing import PATHS
from vae_augment.model.vae import Params

FRAMES, IMAGES = 16, 4

# Shares of what two classes differ from their start by, as t goes from 0 to 1.
Fade = Callable[[Tensor], tuple[Tensor, Tensor]]
FADES: dict[str, Fade] = {
    "straight": lambda t: (1 - t, t),
    "through the start": lambda t: ((1 - 2 * t).clamp_min(0), (2 * t - 1).clamp_min(0)),
}


def between(bank: VAEBank, rows: list[int], shares: tuple[Tensor, Tensor]) -> Params:
    """Decoder weights of T frames (K = T): the start's, and shares [T] of what two classes differ from it by."""
    stored = bank.content.weights
    a, b = (stored.params([row], "decoder.") for row in rows)
    start = stored.start(int(stored.base[rows[0]]))
    whole = torch.stack([1 - shares[0] - shares[1], *shares], dim=1)  # [T, 3]
    return {name: torch.tensordot(whole, torch.cat([start[name], a[name], b[name]]), dims=1) for name in a}


def paths(bank: VAEBank, ends: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Frames [T, C, H, W] from one image to another [2, C, H, W] of different classes, by each way."""
    t = torch.linspace(0, 1, FRAMES)
    codes, rows = bank.encode(ends, labels)[0], [bank.row_of[label] for label in labels.tolist()]
    found = {}
    for fade, shares in FADES.items():
        weights = between(bank, rows, shares(t))
        for name, path in PATHS.items():
            z = path(*codes, bank.stats.mean[rows], t[:, None])
            found[f"weights {fade}, codes {name}"] = bank.vae.decode(weights, z[:, None])[:, 0]
    first, last = bank.decode(codes, labels)
    return {**found, "pixels": first + t.view(-1, 1, 1, 1) * (last - first)}


def unevenness(frames: Tensor) -> float:
    steps = (frames[1:] - frames[:-1]).square().mean((1, 2, 3)).sqrt()
    return float(steps.max() / steps.mean())


def sharpness(frames: Tensor) -> float:
    across = (frames[..., 1:] - frames[..., :-1]).square().mean((1, 2, 3))
    down = (frames[..., 1:, :] - frames[..., :-1, :]).square().mean((1, 2, 3))
    middle = len(frames) // 2
    return float((across + down)[middle - 1 : middle + 1].mean() / (across + down)[[0, -1]].mean())


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bank", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--root", type=Path)
    options = parser.parse_args()
    bank = VAEBank.load(options.bank)
    few = subsample(open_data(options.data, root=options.root).dataset, IMAGES, 0)
    data = load_images(source_for(bank, few), bank.image_shape)
    measured: dict[str, list[tuple[float, float]]] = {}
    for a, b in combinations(bank.class_to_idx.values(), 2):
        for ends in zip(data.of(a), data.of(b), strict=True):
            for way, frames in paths(bank, torch.stack(ends), torch.tensor([a, b])).items():
                measured.setdefault(way, []).append((unevenness(frames), sharpness(frames)))
    rows = []
    for way, figures in measured.items():
        uneven, sharp = torch.tensor(figures).T
        rows.append((way, uneven.mean(), uneven.max(), sharp.mean(), sharp.min()))
    headers = ("way", "largest step / mean", "at worst", "sharpness halfway", "at worst")
    print(f"{len(figures)} morphs of {FRAMES} frames between classes of {options.data}")
    print(tabulate(rows, headers, floatfmt=".2f"))


if __name__ == "__main__":
    main()
