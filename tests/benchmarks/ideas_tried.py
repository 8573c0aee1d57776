"""The ideas that `tests.benchmarks.ideas` measures: how images are made, and what share of a batch they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from tests.benchmarks.ways import (
    carried,
    certainty,
    coloured,
    either,
    erased,
    evidence,
    flipped,
    followed,
    from_flow,
    generated,
    interpolated,
    jitter,
    moved,
    posterior,
    screened,
    thickened,
)
from vae_augment import FitConfig
from vae_augment.fitting import stages
from vae_augment.images.moves import AFFINE, COLOUR, ELASTIC_COLOUR, Moves

ELASTIC = Moves(rotation=20.0, shift=0.1, scaling=0.2, shear=20.0, elastic=0.09, points=5)
LESS_FAR = Moves(rotation=10.0, shift=0.05, scaling=0.1, shear=20.0, elastic=0.09, points=5)

# options, and the share of the steps that one VAE of all classes takes before each class has its own
BANKS = {
    "textbook": (FitConfig(sharing="none", invariances="none", policy="none"), 0.0),
    "plain": (FitConfig(invariances="none", policy="none"), stages.WARM_SHARE),
    "affine": (FitConfig(invariances="affine", policy="none"), stages.WARM_SHARE),
    "elastic": (FitConfig(invariances="elastic", policy="none"), stages.WARM_SHARE),
    "elastic-colour": (FitConfig(invariances="elastic-colour", policy="none"), stages.WARM_SHARE),
    "affine, tuned for longer": (FitConfig(invariances="affine", policy="none"), 0.4),
    "default": (FitConfig(), stages.WARM_SHARE),
    "affine, not tuned": (FitConfig(invariances="affine", policy="none"), 1.0),
}


# The share of a batch that is made, from the progress of the training and the real images of each item's class [B].
Share = Callable[[float, Tensor], Tensor | float]


class Evened(NamedTuple):
    """Classes filled up to the largest: by the wrapper with changes of its policy, or None: with the same images."""

    changes: dict | None


def constant(share: float) -> Share:
    return lambda progress, counts: share


def falling(progress: float, counts: Tensor) -> float:
    return 0.9 * (1 + math.cos(math.pi * progress)) / 2


def rare_more(progress: float, counts: Tensor) -> Tensor:
    few, several = counts <= 100, counts <= 1000
    return torch.where(few, 0.5, torch.where(several, 0.3, 0.1))


def rare_alone(progress: float, counts: Tensor) -> Tensor:
    return torch.where(counts <= 100, 0.5, 0.0)


def common_alone(progress: float, counts: Tensor) -> Tensor:
    return torch.where(counts > 200, 0.3, 0.0)


def jittered_then_moved(moves: Moves, scale: float, share: Share, bank: str = "affine") -> tuple:
    return bank, followed(jitter(scale, detail=True), moved(moves)), share


def generated_too(moves: Moves, bank: str) -> tuple:
    """Moved, half of the images newly generated before."""
    return bank, either(moved(moves), followed(generated("exemplar"), moved(moves))), NEARLY_ALL


def moved_then_jittered(moves: Moves, scale: float, share: Share, bank: str = "affine") -> tuple:
    return bank, jitter(scale, detail=True, moves=moves), share


HALF, MOST, NEARLY_ALL = constant(0.5), constant(0.75), constant(0.85)
JITTER = jitter(0.8, detail=False)
KEPT_JITTER = jitter(0.8, detail=True)
MOVED_JITTER = jitter(0.4, detail=True, moves=ELASTIC)
MOVED_IN_COLOUR = jitter(0.8, detail=True, moves=ELASTIC_COLOUR)
SLANTED_AND_BENT = replace(ELASTIC, rotation=0.0, shift=0.0, scaling=0.0)
LESS_AFFINE_IN_COLOUR = replace(ELASTIC_COLOUR, rotation=7.5, shift=0.05, scaling=0.05)
SLANTED_IN_COLOUR = replace(LESS_AFFINE_IN_COLOUR, shear=10.0)
HALF_AS_FAR = "turned, shifted and scaled half as far"
# name: (bank, how images are made, their share of a batch)
GREY = {
    "moved affinely": (None, moved(AFFINE), MOST),
    "moved elastically": (None, moved(ELASTIC), MOST),
    "slanted and bent, not turned, shifted or scaled": (None, moved(SLANTED_AND_BENT), NEARLY_ALL),
    "moved elastically, half of them newly generated before": generated_too(ELASTIC, "affine"),
    "moved elastically, strokes thinned or thickened": (None, followed(moved(ELASTIC), thickened), MOST),
    "moved elastically, half of them partly erased": (None, followed(moved(ELASTIC), erased), MOST),
    "textbook: a VAE per class from scratch, prior": ("textbook", generated("prior"), HALF),
    "shared start, prior": ("plain", generated("prior"), HALF),
    "shared start, jitter 0.8": ("plain", JITTER, HALF),
    "VAE of affine copies, jitter 0.8": ("affine", JITTER, HALF),
    "VAE of affine copies, jitter 0.8 by the class's own covariance": ("affine", coloured("own_factors", 0.8), HALF),
    "VAE of affine copies, jitter 0.8 by the covariance of all classes": (
        "affine",
        coloured("pooled_factors", 0.8),
        HALF,
    ),
    "VAE of affine copies, jitter 0.4": ("affine", jitter(0.4, detail=False), HALF),
    "VAE of affine copies, jitter 1.2": ("affine", jitter(1.2, detail=False), HALF),
    "one VAE of affine copies for all classes, jitter 0.8": ("affine, not tuned", JITTER, HALF),
    "VAE of affine copies, classes tuned for longer, jitter 0.8": ("affine, tuned for longer", JITTER, HALF),
    "VAE of elastic copies, jitter 0.8": ("elastic", JITTER, HALF),
    "jitter 0.8, detail kept": ("elastic", KEPT_JITTER, HALF),
    "jitter 0.8, share falling": ("elastic", JITTER, falling),
    "jitter 0.8, screened by a classifier": ("elastic", screened(JITTER, certainty), HALF),
    "jitter 0.8, screened by the evidence bound": ("elastic", screened(JITTER, evidence), HALF),
    "drawn around exemplars": ("elastic", generated("exemplar"), HALF),
    "drawn from a Gaussian": ("elastic", generated("gaussian"), HALF),
    "drawn from a Gaussian mixture": ("elastic", generated("mixture"), HALF),
    "drawn from a flow": ("elastic", from_flow, HALF),
    "drawn by the metric of posteriors": ("elastic", generated("geometry"), HALF),
    "interpolated within the class": ("elastic", interpolated(detail=False), HALF),
    "differences of other classes carried over": ("elastic", carried(detail=False), HALF),
    "drawn from the posterior": ("elastic", posterior, HALF),
    "moved, then jittered 0.4": ("elastic", jitter(0.4, detail=False, moves=ELASTIC), NEARLY_ALL),
    "moved, then jittered 0.4, detail kept, VAE of elastic copies": ("elastic", MOVED_JITTER, NEARLY_ALL),
    "moved, then jittered 0.4, detail kept": ("affine", MOVED_JITTER, NEARLY_ALL),
    "slanted and bent, then jittered 0.4, detail kept": moved_then_jittered(SLANTED_AND_BENT, 0.4, NEARLY_ALL),
    f"{HALF_AS_FAR}, then jittered 0.4, detail kept (default then, moves first)": moved_then_jittered(
        LESS_FAR, 0.4, NEARLY_ALL
    ),
    "moved, then jittered 0.8, detail kept": moved_then_jittered(ELASTIC, 0.8, NEARLY_ALL, "elastic"),
    "jittered 0.4, detail kept, then turned, shifted and scaled half as far (default then)": jittered_then_moved(
        LESS_FAR, 0.4, NEARLY_ALL
    ),
}
COLOURED = {
    "moved affinely, with colour": (None, moved(COLOUR), MOST),
    "moved elastically, with colour": (None, moved(ELASTIC_COLOUR), MOST),
    "moved elastically, with colour, half of them newly generated before": generated_too(
        ELASTIC_COLOUR, "elastic-colour"
    ),
    "shared start, jitter 0.8": ("plain", JITTER, HALF),
    "VAE of moved copies, jitter 0.8": ("elastic-colour", JITTER, HALF),
    "jitter 0.8, detail kept": ("elastic-colour", jitter(0.8, detail=True), HALF),
    "interpolated within the class": ("elastic-colour", interpolated(detail=False), HALF),
    "drawn around exemplars": ("elastic-colour", generated("exemplar"), HALF),
    "moved, then jittered 0.4, detail kept": moved_then_jittered(ELASTIC_COLOUR, 0.4, MOST, "elastic-colour"),
    "moved, then jittered 0.8, detail kept": ("elastic-colour", MOVED_IN_COLOUR, MOST),
    "jittered 0.8, detail kept, then moved": jittered_then_moved(ELASTIC_COLOUR, 0.8, MOST, "elastic-colour"),
    "moved, then interpolated within the class, detail kept": (
        "elastic-colour",
        followed(moved(ELASTIC_COLOUR), interpolated(detail=True)),
        MOST,
    ),
    "moved, then differences of other classes carried over, detail kept": (
        "elastic-colour",
        followed(moved(ELASTIC_COLOUR), carried(detail=True)),
        MOST,
    ),
    "turned, shifted and scaled half as far, then jittered 0.8, detail kept": moved_then_jittered(
        LESS_AFFINE_IN_COLOUR, 0.8, MOST, "elastic-colour"
    ),
    "turned, shifted and scaled half as far, slanted, then jittered 0.8, detail kept": moved_then_jittered(
        SLANTED_IN_COLOUR, 0.8, MOST, "elastic-colour"
    ),
    "turned, shifted and scaled half as far, bent by 6 %, then jittered 0.8, detail kept": moved_then_jittered(
        replace(LESS_AFFINE_IN_COLOUR, elastic=0.06), 0.8, MOST, "elastic-colour"
    ),
    "moved, then jittered 0.8, detail kept, half of them flipped": (
        "elastic-colour",
        followed(MOVED_IN_COLOUR, flipped),
        MOST,
    ),
    "moved, then jittered 0.8, detail kept, half of them partly erased": (
        "elastic-colour",
        followed(MOVED_IN_COLOUR, erased),
        MOST,
    ),
}
GREY_CLOSELY = {
    "moved elastically, p 0.5": (None, moved(ELASTIC), HALF),
    "moved elastically, p 0.85": (None, moved(ELASTIC), NEARLY_ALL),
    "moved elastically, p 0.25": (None, moved(ELASTIC), constant(0.25)),
    "moved elastically, bent by 6 % instead of 9 %, p 0.5": (None, moved(replace(ELASTIC, elastic=0.06)), HALF),
    "moved elastically, bent by 12 %, p 0.5": (None, moved(replace(ELASTIC, elastic=0.12)), HALF),
    "slanted and bent, not turned, shifted or scaled, p 0.85": (None, moved(SLANTED_AND_BENT), NEARLY_ALL),
    "slanted and bent, not turned, shifted or scaled, p 0.5": (None, moved(SLANTED_AND_BENT), HALF),
    "moved elastically, then jittered 0.4, detail kept, p 0.5": ("affine", MOVED_JITTER, HALF),
    "moved elastically, then jittered 0.4, detail kept, p 0.25": ("affine", MOVED_JITTER, constant(0.25)),
    "moved elastically, then jittered 0.2, detail kept, p 0.5": moved_then_jittered(ELASTIC, 0.2, HALF),
    "jitter 0.8, detail kept, p 0.5": ("affine", KEPT_JITTER, HALF),
    "moved elastically, then jittered 0.4, or jittered 0.8, detail kept, p 0.5": (
        "affine",
        either(MOVED_JITTER, KEPT_JITTER),
        HALF,
    ),
    "moved elastically, then jittered 0.4, or jittered 0.8, detail kept, p 0.85": (
        "affine",
        either(MOVED_JITTER, KEPT_JITTER),
        NEARLY_ALL,
    ),
    "turned, shifted and scaled half as far, p 0.5": (None, moved(LESS_FAR), HALF),
    "turned, shifted and scaled half as far, p 0.85": (None, moved(LESS_FAR), NEARLY_ALL),
    **{
        f"turned, shifted and scaled half as far, then jittered {scale}, detail kept, p {p}{note}": moved_then_jittered(
            LESS_FAR, scale, constant(p)
        )
        for scale, p, note in (
            (0.2, 0.5, ""),
            (0.4, 0.5, " (default then, moves first)"),
            (0.2, 0.85, ""),
            (0.4, 0.85, ""),
        )
    },
    "jittered 0.4, detail kept, then turned, shifted and scaled half as far, p 0.5 (default then)": jittered_then_moved(
        LESS_FAR, 0.4, HALF
    ),
    **{
        f"slanted and bent, then jittered {scale}, detail kept, p {p}": moved_then_jittered(
            SLANTED_AND_BENT, scale, constant(p)
        )
        for scale, p in ((0.2, 0.85), (0.4, 0.85), (0.4, 0.5))
    },
    "slanted and bent, then jittered 0.8, detail kept, p 0.85": moved_then_jittered(SLANTED_AND_BENT, 0.8, NEARLY_ALL),
}
SHORT_TAILED = {f"all classes moved elastically, p {p}": (None, moved(ELASTIC), constant(p)) for p in (0.25, 0.5, 0.85)}
ADDED_ALONE = {"p_generate": 0.0, "p_jitter": 0.0, "scale": 0.4, "keep_detail": True}
LONG_TAILED = {
    "all classes moved elastically, p 0.1": (None, moved(ELASTIC), constant(0.1)),
    **SHORT_TAILED,
    **{f"all classes moved affinely, p {p}": (None, moved(AFFINE), constant(p)) for p in (0.25, 0.5)},
    **{f"all classes jittered 0.8, detail kept, p {p}": ("affine", KEPT_JITTER, constant(p)) for p in (0.25, 0.5)},
    **{
        f"all classes moved affinely, then jittered {scale}, detail kept, p 0.25{note}": moved_then_jittered(
            AFFINE, scale, constant(0.25)
        )
        for scale, note in ((0.4, " (default then, moves first)"), (0.8, ""))
    },
    "all classes jittered 0.4, detail kept, then moved affinely, p 0.25 (default then)": jittered_then_moved(
        AFFINE, 0.4, constant(0.25)
    ),
    "all classes moved affinely or jittered 0.8 with detail kept, p 0.5": (
        "affine",
        either(moved(AFFINE), KEPT_JITTER),
        constant(0.5),
    ),
    "rare classes moved more often than common ones": (None, moved(ELASTIC), rare_more),
    "rare classes moved alone": (None, moved(ELASTIC), rare_alone),
    "common classes moved alone": (None, moved(ELASTIC), common_alone),
    "classes evened out by repeating images": Evened(None),
    "classes evened out, added images jittered": Evened(ADDED_ALONE | {"moves": "none"}),
    "classes evened out, added images moved elastically, then jittered": Evened(ADDED_ALONE | {"moves": "elastic"}),
    "classes evened out, added images moved affinely, then jittered": Evened(ADDED_ALONE | {"moves": "affine"}),
    "classes evened out, a quarter of the others moved too (default then)": Evened({}),
    **{
        f"classes evened out, moved affinely{after}, p {p}": Evened(
            {"moves": "affine", "p_generate": 0.0, "p_jitter": p, "scale": 0.4, "keep_detail": True, "vae": vae}
        )
        for after, vae in (("", False), (" after jitter 0.4", True))
        for p in (0.25, 0.5, 0.85)
    },
}


IDEAS: dict[str, dict[str, tuple | Evened]] = {
    "mnist-10": GREY,
    "mnist-50": GREY,
    "mnist-50-closely": GREY_CLOSELY,
    "sign-digits-10": COLOURED,
    "mnist-long-tail": LONG_TAILED,
    "mnist-short-tail": SHORT_TAILED,
}
