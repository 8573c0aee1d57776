"""Make mnist_sample.npz: 500 training and 100 test images of each digit, drawn at random (seed 0) from real MNIST.

    python -m vae_augment.mnist_sample.build ROOT

ROOT holds MNIST in torchvision's layout. The same ROOT gives the same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from torchvision.datasets import MNIST

PER_CLASS = {"train": 500, "test": 100}


def build(root: str, out: Path) -> None:
    arrays = {}
    for split, count in PER_CLASS.items():
        mnist = MNIST(root, train=split == "train")
        labels = mnist.targets.numpy()
        rng = np.random.default_rng(0)
        chosen = np.concatenate([rng.permutation(np.flatnonzero(labels == k))[:count] for k in range(10)])
        chosen.sort()
        arrays[f"{split}_images"] = mnist.data.numpy()[chosen]
        arrays[f"{split}_labels"] = labels[chosen].astype(np.uint8)
    np.savez_compressed(out, **arrays)


if __name__ == "__main__":
    build(sys.argv[1], Path(__file__).with_name("mnist_sample.npz"))
