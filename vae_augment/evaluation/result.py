"""The result of an evaluation: its table, its verdict, and both as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from vae_augment.evaluation.arms import CLASSICAL, parse
from vae_augment.evaluation.intervals import Difference
from vae_augment.evaluation.rounds import UNEQUAL
from vae_augment.files.untrusted_json import brief, from_dict
from vae_augment.files.untrusted_json import parse as parse_json

METRICS = ("accuracy", "balanced_accuracy")


@dataclass(frozen=True)
class _Row:
    """The entries of a row; see `Evaluation`."""

    arm: str
    accuracy: float
    balanced_accuracy: float
    recall: dict[str, float | None]
    rounds: list[float]
    over_none: dict[str, float | None] | None
    over_classical: dict[str, float | None] | None


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`. `str()` gives a table and the verdict.

    Args:
        rows: one dict an arm: "arm"; "accuracy", "balanced_accuracy" and "recall" (by class name) in percent, means
            over the rounds; "over_none" and "over_classical", paired differences as {"mean", "low", "high"} in points,
            or None; "rounds", the metric of each round.
        verdict: one sentence.
        metric: of the differences: "accuracy", or "balanced_accuracy" if classes are unequal.
        setup: numbers of images, rounds, steps and held-out images, and the seed; "images_per_class", the fewest and
            the most that are trained on; "sampling_strategy"; "not_measured", classes without a held-out image;
            "test_images_in_dataset", the number of test images that are in `dataset` too.
    """

    rows: list[dict[str, Any]]
    verdict: str
    metric: str
    setup: dict[str, Any]

    def to_json(self) -> str:
        """The result as JSON. It holds no time and no path, so that the same seed gives the same text."""
        content = {"verdict": self.verdict, "metric": self.metric, "setup": self.setup, "rows": self.rows}
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Evaluation:
        """The inverse of `to_json`. Raises ValueError, naming the entry, for a text that `to_json` does not write."""
        try:
            content = parse_json(text)
        except (ValueError, RecursionError) as error:
            reason = "it is too deep" if isinstance(error, RecursionError) else error
            raise ValueError(f"the text is not JSON as to_json writes it: {reason}.") from None
        found = from_dict(cls, content, "an evaluation")
        if found.metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {brief(found.metric)}.")
        for row in found.rows:
            checked = from_dict(_Row, row, "a row of an evaluation")
            for difference in (checked.over_none, checked.over_classical):
                if difference is not None:
                    from_dict(Difference, difference, f"a difference of arm {brief(checked.arm)}")
        return found

    def difference(self, arm: str, over: str) -> Difference | None:
        """The paired difference of an arm over "none" or "classical", if both were run."""
        found = next((row[f"over_{over}"] for row in self.rows if row["arm"] == arm), None)
        return None if found is None else Difference(**found)

    def __str__(self) -> str:
        table = [
            [
                row["arm"],
                row["accuracy"],
                row["balanced_accuracy"],
                *(str(self.difference(row["arm"], over) or "") for over in ("none", CLASSICAL)),
            ]
            for row in self.rows
        ]
        headers = ["arm", "accuracy %", "balanced %", "over none", "over classical"]
        of = self.metric.replace("_", " ")
        rounds = self.setup["rounds"]
        over = f"{rounds} round{'s' * (rounds != 1)}"
        note = f"Differences are of {of}, in points, with 95 % intervals over {over}."
        return "\n".join([tabulate(table, headers, floatfmt=".1f"), "", note, *self._notes(), self.verdict])

    def _notes(self) -> list[str]:
        """Remarks about the data that matter to a reader of the figures."""
        notes, lacking = [], self.setup["not_measured"]
        if lacking:
            notes.append(f"not measured: {', '.join(lacking)}")
        fewest, most = self.setup["images_per_class"]
        ours = any(parse(row["arm"])[0] == "ours" for row in self.rows)
        if ours and most > UNEQUAL * fewest and self.setup["sampling_strategy"] is None:
            notes.append(f"Classes are unequal ({fewest} to {most} images): try sampling_strategy='not majority' too.")
        return notes


def verdict_of(evaluation: Evaluation) -> str:
    """One sentence: does our augmentation help? It is compared with classical augmentation, or else with none."""
    arms = [row["arm"] for row in evaluation.rows]
    for arm, over, instead in (
        ("ours+classical", CLASSICAL, "classical alone"),
        ("ours", CLASSICAL, "classical alone"),
        ("ours", "none", "the images as they are"),
        ("ours+classical", "none", "the images as they are"),
    ):
        difference = evaluation.difference(arm, over) if arm in arms else None
        if difference is not None:
            return _sentence(difference, over, instead, evaluation.setup["rounds"])
    return "no verdict: run an arm of ours beside 'none' or 'classical'"


def _sentence(difference: Difference, over: str, instead: str, rounds: int) -> str:
    figures = f"{difference.mean:+.1f} points over {over}"
    if difference.low is None:
        return f"no verdict from one seed: {figures}"
    if difference.mean and difference.low == difference.high:
        return f"no verdict: the rounds do not differ, run more seeds ({figures})"
    figures += f", interval {difference.low:+.1f} to {difference.high:+.1f}, {rounds} seeds"
    if difference.above:
        return f"helps: {figures}"
    harm = "hurts" if difference.below else "does not help"
    return f"{harm} here: use {instead} ({figures})"
