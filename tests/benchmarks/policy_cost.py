"""What choosing the policy adds to the time of a fit: pairs of fits, without and with, alternating.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.policy_cost [--cell NAME ...] [--pairs N]

The aim is that choosing takes no longer than the fit, and at most 60 s at 100 images. The difference holds the quality
figures too, which a fit without a policy has not.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

from tabulate import tabulate

from tests.benchmarks.usefulness import CELLS, training_images
from vae_augment import FitConfig, fit


def seconds(data, policy: str) -> float:
    started = time.perf_counter()
    fit(data, config=FitConfig(policy=policy), progress=False)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs="*", choices=list(CELLS), default=["mnist-10", "mnist-50", "sign-digits-10"])
    parser.add_argument("--pairs", type=int, default=2)
    options = parser.parse_args()
    rows = []
    for name in options.cell:
        data = training_images(CELLS[name], 0)
        pairs = [(seconds(data, "none"), seconds(data, "auto")) for _ in range(options.pairs)]
        ratios = [with_policy / without for without, with_policy in pairs]
        rows.append([name, median(p[0] for p in pairs), median(p[1] for p in pairs), median(ratios)])
    print(tabulate(rows, ["cell", "fit without, s", "with, s", "ratio"], floatfmt=".2f"))


if __name__ == "__main__":
    main()
