import math
from itertools import islice

import pytest
import torch
import torch.nn.functional as F

from vae_augment.bank.policy import Policy
from vae_augment.data.loading import FitData
from vae_augment.fitting import cross_validation
from vae_augment.fitting.classifier import PooledCNN, SmallCNN
from vae_augment.fitting.cross_validation import (
    FOLDS,
    SIDE,
    CrossValidation,
    evened,
    log_loss,
    mean_and_error,
    paired,
    weights,
)

CPU = torch.device("cpu")
REAL = Policy(0.0, 0.0)
MOVED = Policy(0.0, 1.0, scale=0.0, keep_detail=True, moves="affine")


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def data(counts=(10, 10), side=8, labels=(3, 7)):
    """Images that hold their place in the dataset; those of the second class are brighter."""
    numbers = torch.cat([torch.full((n,), label) for label, n in zip(labels, counts, strict=True)])
    images = torch.randint(100, (len(numbers), 1, side, side), dtype=torch.uint8, generator=gen())
    images[numbers == labels[1]] += 150
    images[:, 0, 0, 0] = torch.arange(len(numbers)) % 256
    return FitData(images, numbers, {label: str(label) for label in labels})


def trial(given=None, **options):
    return CrossValidation(given or data(), seed=1, device=CPU, **options)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(cross_validation, "STEPS", 15)
    monkeypatch.setattr(cross_validation, "EPOCHS", 1)
    monkeypatch.setattr(cross_validation, "CLASS_STEPS", 0)


# ---- folds ----


@pytest.mark.parametrize("counts", [(10, 10), (50, 5), (7, 3)])
def test_each_class_is_spread_evenly_over_the_folds(counts):
    found = trial(data(counts))
    for label, count in enumerate(counts):
        held = torch.bincount(found._fold[found._labels == label], minlength=FOLDS)
        assert held.sum() == count
        assert held.max() - held.min() <= 1


def test_identical_images_of_a_class_are_in_one_fold():
    given = data((20, 20))
    given.images[:6] = given.images[0]
    assert len(set(trial(given)._fold[:6].tolist())) == 1


def test_a_class_of_one_image_or_of_copies_is_trained_on_and_not_judged(short):
    given = data((20, 20, 1, 3), labels=(3, 7, 8, 9))
    given.images[-3:] = given.images[-1]
    found = trial(given)
    assert (found._fold[-4:] == -1).all()
    found.judge({"none": REAL}, found.folds)
    mean, error = found.over_chance(["none"])
    assert mean > 2 * error


@pytest.mark.parametrize("counts", [(1,) * 21, (1, 1, 2), (30, 1, 1)])
def test_where_no_images_can_be_judged_nothing_is_shown(short, counts):
    found = trial(data(counts, labels=range(len(counts))))
    for name in ("real", "moved"):
        found.judge({name: REAL}, found.folds[:1])
    assert found.over_chance(["real", "moved"]) == (0.0, math.inf)
    assert found.over("moved", "real")[0] == 0
    assert mean_and_error(torch.ones(1)) == (1.0, math.inf)


def test_a_fold_is_predicted_by_a_classifier_that_has_not_seen_it(monkeypatch):
    seen, scales = [], []

    def train(jobs, *, steps):
        for model, batches, _ in jobs:
            images = torch.cat([images for images, _ in islice(batches(), 5)])
            scales.append((model.mean.item(), model.std.item()))
            seen.append((type(model), sorted(set((images[:, 0, 0, 0] * 255).round().long().tolist()))))
        return [job.model for job in jobs]

    monkeypatch.setattr(cross_validation, "train_classifiers", train)
    found = trial()
    found.judge({"real": REAL}, found.folds)
    assert [kind for kind, _ in seen] == [SmallCNN, PooledCNN, SmallCNN, PooledCNN, SmallCNN]
    for fold, (_, places) in enumerate(seen):
        assert places == (found._fold != fold).nonzero()[:, 0].tolist()
        others = found._images[found._fold != fold] / 255
        assert scales[fold] == pytest.approx((others.mean().item(), others.std().item()))
        assert (found._judge[found._fold == fold] == fold % 2).all()
    found.judge({"real": REAL}, found.folds)
    assert len(seen) == FOLDS  # what is known is not trained again


@pytest.mark.parametrize(
    ("labels", "more"), [([0, 1, 1, 0], []), ([2, 0, 0, 2, 2, 0, 5], [6, 6]), ([0] * 5 + [1], [5] * 4)]
)
def test_images_of_smaller_classes_are_repeated_in_training(labels, more):
    assert evened(torch.tensor(labels)).tolist() == [*range(len(labels)), *more]


def test_so_many_are_repeated_that_their_places_fit_into_memory(lowered):
    lowered(cross_validation, "MOST_EVENED", 6)
    assert torch.bincount(torch.tensor([0] * 5 + [1])[evened(torch.tensor([0] * 5 + [1]))]).tolist() == [5, 3]


@pytest.mark.parametrize(
    ("counts", "even", "share"), [((40, 5), True, 0.5), ((40, 5), False, 0.11), ((40, 1), True, 0.03)]
)
def test_a_judge_sees_each_class_as_often_but_for_one_that_is_in_no_fold(counts, even, share):
    found = trial(data(counts), even=even)
    batches = found._job(REAL, 0, None).batches()
    labels = torch.cat([next(batches)[1] for _ in range(40)])
    assert abs(labels.double().mean().item() - share) < 0.02


def test_one_large_class_among_small_ones_takes_more_steps_than_it_may_have():
    assert trial(data((1_000, *(20,) * 9), labels=range(10))).short


def test_larger_images_are_reduced():
    assert trial(data(side=64))._images.shape == (20, 1, SIDE, SIDE)
    assert trial(data(side=20))._images.shape == (20, 1, 20, 20)


def test_many_images_or_classes_are_trained_on_for_longer_and_judged_on_fewer_folds(lowered):
    few, many = trial(), trial(data((1_500, 1_500)))
    assert (few.steps, len(few.folds)) == (cross_validation.STEPS, FOLDS)
    assert (many.steps, len(many.folds)) == (500, 2)
    classes = trial(data((2,) * 100, labels=range(100)))  # which take longer to learn
    assert (classes.steps, len(classes.folds)) == (400, 2)
    assert trial(data((2,) * 150, labels=range(150))).steps == 500
    assert (few.short, many.short, classes.short) == (False, True, False)
    lowered(cross_validation, "MOST_IMAGES", 100)
    assert len(trial(data((1_500, 500)))._labels) == 100


# ---- what is found ----


def test_it_finds_what_harms_is_a_function_of_its_seed_and_leaves_the_global_generator_alone(short):
    torch.manual_seed(4)
    before = torch.get_rng_state()
    found, again = trial(), trial()
    for each in (found, again):
        each.judge({"none": REAL}, each.folds)
        each.judge({"moved": MOVED}, each.folds)
    assert torch.equal(torch.get_rng_state(), before)
    assert found.over("moved", "none") == again.over("moved", "none")
    assert found.over("none", "none") == (0.0, 0.0)
    assert found.over_chance(["none", "moved"])[0] > 0.9
    assert found.best(["none", "moved"]) in ("none", "moved")


def test_data_that_is_told_apart_without_any_doubt_is_as_far_from_chance_as_can_be():
    found = trial()
    found._logits["none"] = 1e4 * F.one_hot(found._labels, 2).float()
    assert found.over_chance(["none"]) == (1.0, 0.0)


def test_shuffled_labels_are_no_better_than_chance(short):
    given = data((30, 30))
    shuffled = FitData(given.images, given.labels[torch.randperm(60, generator=gen())], given.names)
    found = trial(shuffled)
    found.judge({"real": REAL}, found.folds)
    found.judge({"moved": MOVED}, found.folds)
    mean, error = found.over_chance(["real", "moved"])
    assert mean < 2 * error
    assert mean + 2 * error < 0.5


# ---- log-loss ----


def test_certainty_that_is_too_high_is_no_loss():
    labels = torch.arange(3).repeat(40)
    outputs = F.one_hot(labels, 3).float() + torch.randn(120, 3, generator=gen())
    flat = torch.ones(120)
    at_best = log_loss(outputs, labels, flat).mean()
    assert log_loss(outputs * 8, labels, flat).mean() == pytest.approx(at_best.item(), rel=1e-3)
    assert at_best < F.cross_entropy(outputs * 8, labels)


def test_logits_of_each_judge_have_a_temperature_of_their_own():
    labels, judge = torch.arange(3).repeat(40), torch.arange(120) % 2
    outputs = F.one_hot(labels, 3).float() + torch.randn(120, 3, generator=gen())
    surer = torch.where(judge[:, None] == 1, outputs * 8, outputs)
    apart, _ = paired(surer, outputs, labels, torch.ones(120), judge)
    together, _ = paired(surer, outputs, labels, torch.ones(120), judge * 0)
    assert apart == pytest.approx(0, abs=1e-3)
    assert together > 0.05


def test_classes_count_alike_and_images_that_one_has_not_predicted_are_left_out():
    labels = torch.tensor([0] * 90 + [1] * 10)
    assert torch.bincount(labels, weights=weights(labels)).tolist() == pytest.approx([50, 50])
    good, bad = (torch.stack([1.0 - labels, labels], dim=1) * sure for sure in (3.0, 0.1))
    bad[:5] = torch.nan
    mean, error = paired(
        good, bad + torch.randn(100, 2, generator=gen()), labels, weights(labels), torch.zeros(100).long()
    )
    assert mean < -2 * error < 0
    values = torch.randn(50, generator=gen())
    assert mean_and_error(values) == pytest.approx((values.mean().item(), values.std().item() / 50**0.5))
