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
        verdict: one sentence that begins with "helps", "does not help" or "cannot tell".
        metric: of the differences: "accuracy", or "balanced_accuracy" if classes are unequal.
        setup: numbers of images, rounds, steps and held-out images, and the seed; "images_per_class", the fewest and
            the most that are trained on; "sampling_strategy"; "not_measured", classes without a held-out image;
            "test_images_in_dataset", the number of test images that are in `dataset` too; "policies", what the wrapper
            "does" in each round of ours, and "why"; "ended", if there was no time for all rounds; "classifier",
            "test_time_augmentation" and "logit_adjustment", if they were set.
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
        notes, lacking = [f"Ended {self.setup['ended']}."] if "ended" in self.setup else [], self.setup["not_measured"]
        if "classifier" in self.setup:
            notes.append(f"Classifier: {self.setup['classifier']}.")
        if lacking:
            notes.append(f"not measured: {', '.join(lacking)}")
        policies = self.setup.get("policies", [])
        for does in dict.fromkeys(policy["does"] for policy in policies):
            rounds = [place for place, policy in enumerate(policies, start=1) if policy["does"] == does]
            why = policies[rounds[0] - 1]["why"]
            notes.append(f"Ours in round {', '.join(map(str, rounds))}: {does} Why, in round {rounds[0]}: {why}.")
        fewest, most = self.setup["images_per_class"]
        ours = any(parse(row["arm"])[0] == "ours" for row in self.rows)
        if ours and most > UNEQUAL * fewest and self.setup["sampling_strategy"] is None:
            notes.append(f"Classes are unequal ({fewest} to {most} images): try sampling_strategy='not majority' too.")
        return notes


HELPS, DOES_NOT_HELP, CANNOT_TELL = "helps", "does not help", "cannot tell"  # the beginning of a verdict


def verdict_of(evaluation: Evaluation) -> str:
    """One sentence: does our augmentation help? Each arm of ours is compared with classical, or else with none."""
    arms = [row["arm"] for row in evaluation.rows]
    found: dict[str, tuple[Difference, str, str]] = {}
    for over, instead in ((CLASSICAL, "classical alone"), ("none", "the images as they are")):
        for arm in ("ours+classical", "ours"):
            difference = evaluation.difference(arm, over) if arm in arms else None
            if difference is not None:
                found[arm] = difference, over, instead
        if found:
            break
    if not found:
        return f"{CANNOT_TELL}: run an arm of ours beside 'none' or 'classical'"
    outcomes = {arm: _outcome(difference) for arm, (difference, _, _) in found.items()}
    outcome = next(one for one in (HELPS, CANNOT_TELL, DOES_NOT_HELP) if one in outcomes.values())
    deciding = [arm for arm in found if outcomes[arm] == outcome]
    instead = f" here: use {found[deciding[0]][2]}" if outcome == DOES_NOT_HELP else ""
    rounds = evaluation.setup["rounds"]
    parts = [_figures(arm, *found[arm][:2], rounds) for arm in deciding]
    parts += [f"{outcomes[arm]}: {_figures(arm, *found[arm][:2], rounds)}" for arm in found if arm not in deciding]
    return f"{outcome}{instead}: {'; '.join(parts)}"


def _outcome(difference: Difference) -> str:
    """Helps if the interval is above zero; does not help if it is below what is worth having; else nobody can tell."""
    unequal = difference.low is None or (difference.mean and difference.low == difference.high)
    if unequal or not difference.told:
        return CANNOT_TELL
    return HELPS if difference.above else DOES_NOT_HELP


def _figures(arm: str, difference: Difference, over: str, rounds: int) -> str:
    said = f"{arm} {difference.mean:+.1f} points over {over}"
    if difference.low is None:
        return f"{said}, from one seed"
    if difference.mean and difference.low == difference.high:
        return f"{said} in all {rounds} seeds, which do not differ: run more"
    said += f", interval {difference.low:+.1f} to {difference.high:+.1f}, {rounds} seeds"
    if difference.told:
        return f"{said}, which is harm" if difference.below else said
    if difference.enough is None:
        return f"{said}, and more seeds would not tell: test on more images"
    return f"{said}, and about {difference.enough} would tell"
