"""Time that choosing the policy, or unlabelled images, add to a fit: pairs of fits, alternating.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.policy_cost [--cell NAME ...] [--pairs N] [--unlabelled COUNT]

The aim is that choosing takes no longer than the fit, and at most 60 s at 100 images. The difference holds the quality
figures too, which a fit without a policy has not; so the parts are shown: moves tried on folds, a trial bank, and what
that is asked: whether the VAE belongs in the policy, where enough images are held out, and the figures; where too few
are, how far to jitter. With `--unlabelled` both choose a policy, and the second is given so many other images of the
training set, which is to take at most 2.5 times as long.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from contextlib import ExitStack
from statistics import median
from unittest.mock import patch

from tabulate import tabulate
from torch.utils.data import TensorDataset

from tests.benchmarks.usefulness import CELLS, images_of, training_images
from vae_augment import FitConfig, fit
from vae_augment.fitting import stages

PARTS = {
    "moves": (stages, "tried_moves"),
    "trial": (stages.Fitter, "_short_fit"),
    "asked": (stages.Fitter, "_select"),
    "jitter": (stages, "recognised"),
}


def seconds(data, policy: str, unlabelled=None) -> Counter[str]:
    """Seconds of a whole fit, and of the parts that choosing a policy adds where they are parts of their own."""
    spent: Counter[str] = Counter()

    def timed(name: str, function):
        def call(*args, **kwargs):
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent[name] += time.perf_counter() - started

        return call

    with ExitStack() as patches:
        for name, (owner, attribute) in PARTS.items():
            patches.enter_context(patch.object(owner, attribute, timed(name, getattr(owner, attribute))))
        timed("fit", fit)(data, unlabelled=unlabelled, config=FitConfig(policy=policy), progress=False)
    return spent


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
        ratios = [with_policy["fit"] / without["fit"] for without, with_policy in pairs]
        parts = [median(p[1][name] for p in pairs) for name in PARTS]
        rows.append([name, *(median(p[i]["fit"] for p in pairs) for i in (0, 1)), median(ratios), *parts])
    headers = ["cell", "fit without, s", "with, s", "ratio", "moves, s", "trial bank, s", "asking it, s", "jitter, s"]
    print(tabulate(rows, headers, floatfmt=".2f"))


if __name__ == "__main__":
    main()
