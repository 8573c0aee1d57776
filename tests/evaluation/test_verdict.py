"""What an evaluation says in one sentence."""

import json

import numpy as np
import pytest
import torch

from tests.conftest import Shapes
from tests.evaluation.test_evaluate import quick
from vae_augment.evaluation.intervals import paired_difference
from vae_augment.evaluation.result import Evaluation, verdict_of

FLAT, WORSE, BETTER = [50, 51, 50], [40, 42, 41], [60, 62, 61]  # percent in three rounds


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [
        (
            {"classical": FLAT, "ours+classical": BETTER},
            "helps: ours+classical +10.7 points over classical, interval +9.2",
        ),
        (
            {"classical": FLAT, "ours+classical": WORSE},
            "does not help here: use classical alone: ours+classical -9.3 points over classical, interval ",
        ),
        (
            {"classical": [50, 55, 45], "ours+classical": [51, 50, 55]},
            "cannot tell: ours+classical +2.0 points over classical, interval -16.8 to +20.8, 3 seeds, and about 58",
        ),
        (
            {"classical": FLAT, "ours": BETTER, "ours+classical": WORSE},
            "helps: ours +10.7 points over classical, interval +9.2 to +12.1, 3 seeds; does not help: ours+classical",
        ),
        (
            {"classical": FLAT, "ours": WORSE, "ours+classical": WORSE},
            "does not help here: use classical alone: ours+classical -9.3 points over classical, interval -10.8 to "
            "-7.9, 3 seeds, which is harm; ours -9.3 ",
        ),
        (
            {"none": [20] * 3, "classical": [50] * 3, "ours": [40, 41, 42]},
            "does not help here: use classical alone: ours -9.0 points over classical, interval ",
        ),
        ({"none": FLAT, "ours": WORSE}, "does not help here: use the images as they are: ours -9.3 points over none, "),
        ({"none": FLAT, "ours": BETTER}, "helps: ours +10.7 points over none, interval "),
        ({"none": FLAT, "ours+classical": BETTER}, "helps: ours+classical +10.7 points over none, interval "),
        ({"none": [50, 50], "ours": [60, 60]}, "cannot tell: ours +10.0 points over none in all 2 seeds, which do not"),
        ({"classical": [50, 51], "ours": [40, 41]}, "cannot tell: ours -10.0 points over classical in all 2 seeds, wh"),
        ({"none": [50], "ours": [90]}, "cannot tell: ours +40.0 points over none, from one seed"),
        ({"none": [50, 50], "mixup": [90, 91]}, "cannot tell: run an arm of ours beside 'none' or 'classical'"),
        ({"ours": [50, 50]}, "cannot tell: run an arm of ours beside 'none' or 'classical'"),
        ({"classical": [50] * 2, "none": [50] * 2, "ours+classical": [50] * 2}, "does not help here: use classical"),
    ],
)
def test_the_verdict_is_of_ours_over_what_people_already_do(accuracy, verdict):
    def over(arm, other):
        if other not in accuracy or other == arm:
            return None
        return paired_difference([a - b for a, b in zip(accuracy[arm], accuracy[other], strict=True)]).to_dict()

    rows = [{"arm": arm, "over_none": over(arm, "none"), "over_classical": over(arm, "classical")} for arm in accuracy]
    found = verdict_of(Evaluation(rows, "", "accuracy", {"rounds": len(next(iter(accuracy.values())))}))
    assert found.startswith(verdict)
    assert len(found.splitlines()) == 1


def test_one_round_has_no_interval_and_no_verdict():
    found = quick(seeds=1)
    assert found.verdict.startswith("cannot tell: ")
    assert found.difference("ours", "none").low is None
    assert json.loads(found.to_json())["rows"] == found.rows


def shuffled():
    dataset = Shapes(32)
    order = torch.randperm(96, generator=torch.Generator().manual_seed(0)).tolist()
    dataset.targets = [dataset.targets[i] for i in order]
    return dataset


def noise():
    dataset = Shapes(32)
    dataset.data = np.random.default_rng(0).integers(0, 256, dataset.data.shape, dtype=np.uint8)
    return dataset


@pytest.mark.slow
@pytest.mark.parametrize("dataset", [shuffled, noise])
def test_where_there_is_nothing_to_learn_nothing_helps(dataset):
    found = quick(dataset(), seeds=3, steps=12)
    assert found.verdict.startswith(("does not help here", "cannot tell"))
    assert not any(found.difference(arm, "none").above for arm in ("classical", "ours", "ours+classical"))
