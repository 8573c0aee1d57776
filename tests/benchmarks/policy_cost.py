"""Time that choosing the policy, or unlabelled images, add to a fit: pairs of fits, alternating.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.policy_cost [--cell NAME ...] [--pairs N] [--unlabelled COUNT]

The aim is that choosing takes no longer than the fit, and at most 60 s at 100 images. The difference holds the quality
figures too, which a fit without a policy has not. With `--unlabelled` both choose a policy, and the second is given so
many other images of the training set, which is to take at most 2.5 times as long.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

from tabulate import tabulate
from torch.utils.data import TensorDataset

from tests.benchmarks.usefulness import CELLS, images_of, training_images
from vae_augment import FitConfig, fit


def seconds(data, policy: str, unlabelled=None) -> float:
    started = time.perf_counter()
    fit(data, unlabelled=unlabelled, config=FitConfig(policy=policy), progress=False)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs="*", choices=list(CELLS), default=["mnist-10", "mnist-50", "sign-digits-10"])
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--unlabelled", type=int, default=0, help="images without labels, of the same data")
    options = parser.parse_args()
    rows = []
    for name in options.cell:
        data = training_images(CELLS[name], 0)
        if options.unlabelled:
            others = TensorDataset(images_of(CELLS[name].data, True).images[: options.unlabelled])
            pairs = [(seconds(data, "auto"), seconds(data, "auto", others)) for _ in range(options.pairs)]
        else:
            pairs = [(seconds(data, "none"), seconds(data, "auto")) for _ in range(options.pairs)]
        ratios = [with_policy / without for without, with_policy in pairs]
        rows.append([name, median(p[0] for p in pairs), median(p[1] for p in pairs), median(ratios)])
    print(tabulate(rows, ["cell", "fit without, s", "with, s", "ratio"], floatfmt=".2f"))


if __name__ == "__main__":
    main()
