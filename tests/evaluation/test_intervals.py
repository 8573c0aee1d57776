import math
import warnings

import pytest
import scipy.stats
import torch

from vae_augment.evaluation.intervals import Difference, paired_difference, recalls

ROUNDS = [1.5, -0.25, 2.0, 0.75, 1.0]


def reach(found):
    return (found.high - found.low) / 2


# ---- the interval ----


@pytest.mark.parametrize("differences", [ROUNDS, [3.0, 4.0], [0.1 * n for n in range(40)]])
def test_the_interval_is_students(differences):
    found = paired_difference(differences)
    test = scipy.stats.ttest_1samp(differences, 0.0)
    interval = test.confidence_interval(0.95)
    assert found.mean == pytest.approx(sum(differences) / len(differences))
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert (found.above or found.below) == (test.pvalue < 0.05)


@pytest.mark.parametrize("overlap", [1 / 3, 1.0])
def test_rounds_that_share_images_are_corrected_as_nadeau_and_bengio_do(overlap):
    plain, corrected = paired_difference(ROUNDS), paired_difference(ROUNDS, overlap=overlap)
    assert corrected.mean == plain.mean
    # the variance of the mean is s^2 (1 / J + n2 / n1) instead of s^2 / J
    assert reach(corrected) == pytest.approx(reach(plain) * math.sqrt(1 + len(ROUNDS) * overlap))


def test_no_number_of_rounds_makes_shared_images_certain():
    many = paired_difference([0.5, 1.5] * 200, overlap=1 / 3)
    assert reach(many) > 1.96 * 0.5 * math.sqrt(1 / 3)


def test_the_choice_of_test_images_adds_to_the_variance_of_the_mean():
    quantile = scipy.stats.t.ppf(0.975, len(ROUNDS) - 1)
    own = torch.tensor(ROUNDS, dtype=torch.float64).var().item() / len(ROUNDS)
    found = paired_difference(ROUNDS, image_variance=0.3)
    assert reach(found) == pytest.approx(quantile * math.sqrt(own + 0.3))
    alike = paired_difference([1.0, 1.0, 1.0], image_variance=0.25)
    assert reach(alike) == pytest.approx(scipy.stats.t.ppf(0.975, 2) * 0.5)


def test_one_round_has_no_interval():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = paired_difference([1.25], overlap=0.3, image_variance=2.0)
    assert found == Difference(1.25, None, None)
    assert not found.above
    assert not found.below
    assert str(found) == "+1.2"


@pytest.mark.parametrize("value", [0.0, 2.5, -1.0])
def test_rounds_that_agree_leave_no_doubt(value):
    found = paired_difference([value] * 4)
    assert (found.mean, found.low, found.high) == pytest.approx((value,) * 3)
    assert (found.above, found.below) == (value > 0, value < 0)


def test_an_interval_covers_the_truth_as_often_as_it_says():
    draws = torch.randn(1000, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1.0
    found = [paired_difference(row.tolist()) for row in draws]
    assert sum(d.low <= 1.0 <= d.high for d in found) / 1000 == pytest.approx(0.95, abs=0.025)


def test_a_difference_as_text_and_as_a_dict():
    assert str(Difference(1.24, -0.31, 2.79)) == "+1.2 (-0.3 to +2.8)"
    found = Difference(1.234567, None, 2.0)
    assert found.to_dict() == {"mean": 1.2346, "low": None, "high": 2.0}
    assert Difference(**found.to_dict()) == Difference(1.2346, None, 2.0)


# ---- recalls ----


def test_recall_is_the_share_of_each_class_that_is_recognised():
    predicted, labels = torch.tensor([0, 0, 1, 1, 2, 0]), torch.tensor([0, 0, 0, 1, 1, 1])
    found = recalls(predicted, labels, 4)
    assert found.dtype == torch.float64
    assert found[:2].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert found[2:].isnan().all()  # what is predicted of them is no matter


@pytest.mark.parametrize(
    ("low", "high", "told"), [(0.1, 9, True), (-9, 0.4, True), (-1, 0.6, False), (0.0, 0.6, False)]
)
def test_a_difference_is_told_above_zero_or_below_what_is_worth_having(low, high, told):
    assert Difference((low + high) / 2, low, high).told is told
    assert not Difference(1.0, None, None).told


def test_enough_rounds_tell_if_they_spread_alike():
    few = [3.0, -1.0, 4.0, -2.0]
    found = paired_difference(few)
    assert not found.told
    as_many = [few[i % 4] for i in range(found.enough)]
    assert paired_difference(as_many[: found.enough - found.enough % 4]).told or found.enough < 8
    assert paired_difference(few, image_variance=100.0).enough is None
    assert paired_difference([5.0, 6.0, 5.5]).enough is None
    assert "enough" not in paired_difference([5.0, 6.0, 5.5]).to_dict()
