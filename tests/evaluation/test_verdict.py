"""What an evaluation says in one sentence."""

import json

import numpy as np
import pytest
import torch

from tests.conftest import Shapes
from tests.evaluation.test_evaluate import pretended, quick


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [
        ({"classical": [50, 51, 50], "ours+classical": [60, 62, 61]}, "helps: +10.7 points over classical, interval "),
        (
            {"classical": [50, 51, 50], "ours+classical": [40, 42, 41]},
            "hurts here: use classical alone (-9.3 points over classical, interval ",
        ),
        (
            {"classical": [50, 55, 45], "ours+classical": [51, 50, 55]},
            "does not help here: use classical alone (+2.0 points over classical, interval ",
        ),
        ({"none": [20] * 3, "classical": [50] * 3, "ours": [40, 41, 42]}, "hurts here: use classical alone (-9.0"),
        (
            {"none": [50, 51, 50], "ours": [40, 42, 41]},
            "hurts here: use the images as they are (-9.3 points over none, interval ",
        ),
        ({"none": [50, 51, 50], "ours": [60, 62, 61]}, "helps: +10.7 points over none, interval "),
        ({"none": [50, 51, 50], "ours+classical": [60, 62, 61]}, "helps: +10.7 points over none, interval "),
        (
            {"none": [50, 51, 50], "ours+classical": [40, 42, 41]},
            "hurts here: use the images as they are (-9.3 points over none, interval ",
        ),
        (
            {"none": [50, 50], "ours": [60, 60]},
            "no verdict: the rounds do not differ, run more seeds (+10.0 points over none)",
        ),
        (
            {"classical": [50, 51, 52], "ours": [40, 41, 42]},
            "no verdict: the rounds do not differ, run more seeds (-10.0 points over classical)",
        ),
        ({"none": [50], "ours": [90]}, "no verdict from one seed: +40.0 points over none"),
        ({"none": [50, 50], "mixup": [90, 91]}, "no verdict: run an arm of ours beside 'none' or 'classical'"),
        ({"ours": [50, 50]}, "no verdict: run an arm of ours beside 'none' or 'classical'"),
        ({"classical": [50] * 2, "none": [50] * 2, "ours+classical": [50] * 2}, "does not help here: use classical"),
    ],
)
def test_the_verdict_is_of_ours_over_what_people_already_do(monkeypatch, accuracy, verdict):
    found = pretended(monkeypatch, accuracy)
    assert found.verdict.startswith(verdict)
    assert len(found.verdict.splitlines()) == 1
    if "interval" in found.verdict:
        assert f"{len(accuracy['classical' if 'classical' in accuracy else 'none'])} seeds" in found.verdict


def test_one_round_has_no_interval_and_no_verdict():
    found = quick(seeds=1)
    assert found.verdict.startswith("no verdict from one seed: ")
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


@pytest.mark.parametrize("dataset", [shuffled, noise])
@pytest.mark.parametrize("seed", [0, 1])
def test_where_there_is_nothing_to_learn_nothing_helps(dataset, seed):
    found = quick(dataset(), seeds=3, steps=12, seed=seed)
    assert found.verdict.startswith(("does not help here", "hurts here"))
    assert not any(found.difference(arm, "none").above for arm in ("classical", "ours", "ours+classical"))
