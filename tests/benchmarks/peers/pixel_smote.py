"""SMOTE on pixels, by imbalanced-learn."""

from __future__ import annotations

import numpy as np
import torch
from imblearn.over_sampling import SMOTE

NEIGHBOURS = 5


def pixel_smote(images: dict[int, torch.Tensor], counts: dict[int, int], *, seed: int) -> dict[int, torch.Tensor]:
    """New images between neighbours of a class.

    Chawla, Bowyer, Hall and Kegelmeyer 2002, "SMOTE: Synthetic Minority Over-sampling Technique".

    Every class has neighbours of its own, up to five, as many as it has; a class of one image is repeated.

    Args:
        images: by label, float [n, C, H, W] in 0..1.
        counts: by label, how many to make in addition.
        seed: of everything random.

    Returns:
        by label, float [count, C, H, W] in 0..1.
    """
    pixels = np.concatenate([of_class.flatten(1).numpy() for of_class in images.values()])
    labels = np.repeat(list(images), [len(of_class) for of_class in images.values()])
    made = {}
    for label, count in counts.items():
        real = images[label]
        if len(real) == 1:
            made[label] = real.repeat(count, 1, 1, 1)
        elif count:
            smote = SMOTE(
                sampling_strategy={label: len(real) + count},
                k_neighbors=min(NEIGHBOURS, len(real) - 1),
                random_state=seed,
            )
            moved, _ = smote.fit_resample(pixels, labels)  # the given ones first
            made[label] = torch.from_numpy(moved[len(pixels) :]).float().reshape(count, *real.shape[1:])
    return made
