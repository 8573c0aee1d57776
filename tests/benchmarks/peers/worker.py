"""Fit a peer to the images in one .npz and write the images that it draws to another. Run by the peers' environment.

    python worker.py METHOD IN.npz OUT.npz --per-class N[,N...] --seed S [--epochs E] [--learning-rate R] [--steps T]

IN holds images, uint8 [N, C, H, W], and labels, int64 [N]; OUT the same of what was made, in label order, and the
seconds that fitting and drawing took. Importing the peer's package is not counted.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

os.environ["TQDM_DISABLE"] = "1"  # pythae shows a bar for every epoch
EPOCHS = 300  # of the VAEs: each on the images of one class

Images = dict[int, torch.Tensor]  # by label: float [n, C, H, W] in 0..1
Method = Callable[[Images, dict[int, int]], Images]


def one_model_per_class(draw: Callable[..., torch.Tensor], seed: int) -> Method:
    """With a seed of its own for each class: the same one would give all classes the same codes."""

    def made(images: Images, counts: dict[int, int]) -> Images:
        seeds = range(1000 * seed, 1000 * seed + len(counts))
        wanted = zip(counts.items(), seeds, strict=True)
        return {label: draw(images[label], count, seed=own) for (label, count), own in wanted if count}

    return made


def load_method(name: str, *, seed: int, epochs: int, learning_rate: float | None, steps: int | None) -> Method:
    """Images of every class, and how many to make of it, to the images made. Imports what the method needs."""
    training = {"epochs": epochs} | ({} if learning_rate is None else {"learning_rate": learning_rate})
    if name.startswith("pythae-"):
        from pythae_vae import pythae_vae

        return one_model_per_class(partial(pythae_vae, sampler=name.removeprefix("pythae-"), **training), seed)
    if name == "pyraug-rhvae":
        from pyraug_rhvae import pyraug_rhvae

        return one_model_per_class(partial(pyraug_rhvae, **training), seed)
    if name == "smote":
        from pixel_smote import pixel_smote

        return partial(pixel_smote, seed=seed)
    from deep_smote import STEPS, deep_smote

    return partial(deep_smote, steps=STEPS if steps is None else steps, seed=seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=["pythae-normal", "pythae-gmm", "pyraug-rhvae", "smote", "deepsmote"])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--per-class", required=True, help="a number, or one a class in label order")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the VAEs")
    parser.add_argument("--learning-rate", type=float, help="of the VAEs; without it, their packages' own")
    parser.add_argument("--steps", type=int, help="of DeepSMOTE")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")

    with np.load(args.source) as given:
        pixels, labels = torch.from_numpy(given["images"]).float() / 255, torch.from_numpy(given["labels"])
    classes = labels.unique().tolist()
    counts = [int(count) for count in args.per_class.split(",")]
    counts = counts * len(classes) if len(counts) == 1 else counts
    if len(counts) != len(classes):
        parser.error(f"--per-class has {len(counts)} numbers for {len(classes)} classes")

    options = {"epochs": args.epochs, "learning_rate": args.learning_rate, "steps": args.steps}
    method = load_method(args.method, seed=args.seed, **options)
    start = time.perf_counter()
    made = method({label: pixels[labels == label] for label in classes}, dict(zip(classes, counts, strict=True)))
    seconds = time.perf_counter() - start

    images = torch.cat([pixels[:0], *made.values()])
    if not images.isfinite().all():
        raise SystemExit(f"{args.method} made pixels that are not finite")
    np.savez(
        args.target,
        images=(images.clamp(0, 1) * 255).round().to(torch.uint8).numpy(),
        labels=np.repeat(np.array(list(made), np.int64), [len(new) for new in made.values()]),
        seconds=seconds,
    )


if __name__ == "__main__":
    main()
