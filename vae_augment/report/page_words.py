"""Words and rows of a page for a bank's policy, its quality figures and an evaluation."""

from __future__ import annotations

from typing import Any

from vae_augment.bank import VAEBank
from vae_augment.bank.policy import Policy
from vae_augment.evaluation.result import Evaluation
from vae_augment.fitting.quality import Quality
from vae_augment.report.differences import differences_figure
from vae_augment.report.plots import INK, LINES, page_style, svg

WIDTH = 5.0  # inches of a plot, so that it can be read on a phone
COLOURS = {"none": "#7d848e", "classical": "#1f86c2"}  # on white and on black


def quality_of(bank: VAEBank) -> dict[str, Any] | None:
    """The quality figures of a bank, row by row; None if it holds none, or damaged ones."""
    try:
        found = Quality.from_dict(bank.data["quality"])
    except (KeyError, ValueError):
        return None
    expected = max(1, round(0.01 * found.generated)) if found.held_out > 100 else None
    near = "" if expected is None else f"about {expected}"
    nearest = f"{found.copy_distance:.3f}", f"{found.real_distance:.3f}"
    rows = [  # a figure, its value for the bank and for real images, and its meaning
        ("RMSE", f"{found.rmse:.4f}", "", "error of reconstructed held-out images, pixels in 0 to 1"),
        ("RMSE, training images", f"{found.train_rmse:.4f}", "", "much less than the above: the bank is overfitted"),
        ("precision", f"{found.precision:.2f}", "", "share of generated images that lie among real ones"),
        ("recall", f"{found.recall:.2f}", "", "share of real images that lie among generated ones"),
        ("density", f"{found.density:.2f}", "about 1", "how deep among real images the generated ones lie"),
        ("coverage", f"{found.coverage:.2f}", "about 0.97", "share of real images with a generated one near"),
        ("Fréchet distance", f"{found.frechet:.1f}", f"{found.frechet_real:.1f}", "of a small classifier's features"),
        ("distance to the nearest training image", *nearest, "median; much less than real images': look for copies"),
        (
            "near-duplicates",
            found.near_duplicates,
            near,
            "generated images nearer to a training image than nearly all real ones",
        ),
    ]
    return {"held_out": found.held_out, "generated": found.generated, "rows": rows}


def policy_of(policy: Policy) -> dict[str, Any]:
    """The wrapper's default behaviour, as a sentence and as rows."""
    kept = f"the real image's detail is kept{', with slow changes of light and colour' * policy.smooth}"
    rows = [
        ("p_jitter", f"{policy.p_jitter:g}"),
        ("p_generate", f"{policy.p_generate:g}"),
        *([("p_unlabelled", f"{policy.p_unlabelled:g}")] if policy.p_unlabelled else []),
        ("scale", f"{policy.scale:g} standard deviations"),
        ("keep_detail", kept if policy.keep_detail else "images are decoded anew"),
        ("method", policy.method),
        ("moves, after jitter", policy.moves),
    ]
    return {"sentence": policy.sentence, "rows": rows, "why": policy.origin.rstrip(".") or "not said"}


def evaluation_of(evaluation: Evaluation) -> dict[str, Any]:
    """The verdict of an evaluation, its plot and its table."""
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
