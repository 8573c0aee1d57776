"""What a page says of a bank's policy, its quality figures and an evaluation, in words and rows."""

from __future__ import annotations

from typing import Any, NamedTuple

from vae_augment.bank import VAEBank
from vae_augment.bank.policy import Policy
from vae_augment.evaluation.result import Evaluation
from vae_augment.fitting.quality import Quality
from vae_augment.report.differences import differences_figure
from vae_augment.report.plots import INK, LINES, page_style, svg

WIDTH = 5.0  # inches of a plot, so that it can be read on a phone
COLOURS = {"none": "#7d848e", "classical": "#1f86c2"}  # on white and on black


class QualityRow(NamedTuple):
    """A figure, its value for the bank and for real images, and what it says."""

    name: str
    value: str
    real: str
    meaning: str


def quality_of(bank: VAEBank) -> dict[str, Any] | None:
    """The quality figures of a bank, row by row; None if it holds none that are known."""
    try:
        found = Quality.from_dict(bank.data["quality"])
    except (KeyError, ValueError):
        return None
    expected = max(1, round(0.01 * found.generated)) if found.held_out > 100 else None
    rows = [
        QualityRow("RMSE", f"{found.rmse:.4f}", "", "error of reconstructed held-out images, pixels in 0 to 1"),
        QualityRow(
            "RMSE, training images", f"{found.train_rmse:.4f}", "", "much less than the above: the bank is overfitted"
        ),
        QualityRow("precision", f"{found.precision:.2f}", "", "share of generated images that lie among real ones"),
        QualityRow("recall", f"{found.recall:.2f}", "", "share of real images that lie among generated ones"),
        QualityRow("density", f"{found.density:.2f}", "about 1", "how deep among real images the generated ones lie"),
        QualityRow("coverage", f"{found.coverage:.2f}", "about 0.97", "share of real images with a generated one near"),
        QualityRow(
            "Fréchet distance", f"{found.frechet:.1f}", f"{found.frechet_real:.1f}", "of a small classifier's features"
        ),
        QualityRow(
            "distance to the nearest training image",
            f"{found.copy_distance:.3f}",
            f"{found.real_distance:.3f}",
            "median; much less than real images': look for copies",
        ),
        QualityRow(
            "near-duplicates",
            f"{found.near_duplicates}",
            "" if expected is None else f"about {expected}",
            "generated images nearer to a training image than nearly all real ones",
        ),
    ]
    note = (
        "A VAE's images are blurred, and blurred images are nearer to all others: a distance a little below the real "
        "images', or some near-duplicates more, are a reason to look, not a proof of copies."
    )
    return {"held_out": found.held_out, "generated": found.generated, "rows": rows, "note": note}


def policy_of(policy: Policy) -> dict[str, Any]:
    """What the wrapper does by itself, as a sentence and as rows."""
    if policy.off:
        sentence = "The wrapper serves the images as they are, unless it is told otherwise."
    else:
        sentence = (
            f"Of a hundred items the wrapper serves {_percent(policy.p_jitter)} jittered and "
            f"{_percent(policy.p_generate)} newly generated; the others are the images themselves."
        )
    rows = [
        ("p_jitter", f"{policy.p_jitter:g}"),
        ("p_generate", f"{policy.p_generate:g}"),
        ("scale", f"{policy.scale:g} standard deviations"),
        (
            "keep_detail",
            "the real image's detail is kept" if policy.keep_detail else "images are decoded anew",
        ),
        ("method", policy.method),
        ("moves, after jitter", policy.moves),
    ]
    return {"sentence": sentence, "rows": rows, "why": policy.origin.rstrip(".") or "not said"}


def _percent(share: float) -> str:
    return f"{100 * share:g}"


def evaluation_of(evaluation: Evaluation) -> dict[str, Any]:
    """The verdict, its plot and its table."""
    arms = [row["arm"] for row in evaluation.rows]
    with page_style():
        plot = svg(differences_figure(evaluation, width=WIDTH, ink=INK, lines=LINES, colours=COLOURS), "verdict")
    differences = [
        f"{arm} over {over}: {found}"
        for arm in arms
        for over in ("none", "classical")
        if (found := evaluation.difference(arm, over)) is not None
    ]
    rows = [
        {
            "arm": row["arm"],
            "cells": [
                f"{row['accuracy']:.1f}",
                f"{row['balanced_accuracy']:.1f}",
                *(str(evaluation.difference(row["arm"], over) or "") for over in ("none", "classical")),
            ],
        }
        for row in evaluation.rows
    ]
    return {
        "verdict": evaluation.verdict,
        "metric": evaluation.metric.replace("_", " "),
        "rounds": evaluation.setup.get("rounds", "some"),
        "plot": plot,
        "alt": "Differences in points. " + "; ".join(differences),
        "rows": rows,
    }
