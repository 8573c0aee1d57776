import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import Shapes
from vae_augment import FitConfig, evaluate
from vae_augment.evaluation.arms import SOURCES
from vae_augment.evaluation.intervals import Difference, paired_difference
from vae_augment.exceptions import DataWarning

TINY = FitConfig(steps=2, width=8, latent_dim=2, batch_size=4)
ALL_ARMS = ("none", "classical", *(a for s in SOURCES[1:] if s != "pseudo" for a in (s, f"{s}+classical")))
ENDLESS = replace(TINY, steps=10**7)  # no bank is ever fitted with it
USUAL = ("none", "classical", "ours", "ours+classical")


def quick(dataset=None, **options):
    options = {"config": TINY, "steps": 3, "seeds": 2, "progress": False, **options}
    return evaluate(dataset or Shapes(12), **options)


@pytest.fixture(scope="module")
def result():
    """All arms over three rounds, with their classifiers trained for long enough to differ."""
    return quick(arms=ALL_ARMS, seeds=3, steps=6)


def distinct(per_class, seed=0):
    """Shapes no two of which are alike: two pixels hold their place in the dataset."""
    dataset = Shapes(per_class, seed=seed)
    places = np.arange(len(dataset))
    dataset.data[:, 0, 0], dataset.data[:, 0, 1] = places % 256, places // 256
    return dataset


def row(result, arm):
    return next(row for row in result.rows if row["arm"] == arm)


class Knowing(nn.Module):
    """Knows the labels of a `distinct` dataset, and gives them for the first `right` images (of a class `only`)."""

    def __init__(self, targets, right, only):
        super().__init__()
        self.weight, self.targets, self.left, self.only = nn.Parameter(torch.zeros(3)), targets, right, only

    def forward(self, images):
        if self.training:
            return self.weight.expand(len(images), 3)
        pixels = (images[:, 0, 0, :2] * 255).round().long()
        labels = self.targets[pixels[:, 0] + 256 * pixels[:, 1]]
        mine = torch.ones_like(labels, dtype=torch.bool) if self.only is None else labels == self.only
        wrong = mine & (mine.cumsum(0) > self.left)
        self.left -= int(mine.sum())
        return nn.functional.one_hot((labels + wrong) % 3, 3)


def knowing(dataset, right, only=None):
    """A `classifier` for `evaluate` that has so many right in each round of each arm, and the arms."""
    each = iter([count for counts in zip(*right.values(), strict=True) for count in counts])
    made = lambda shape, classes: Knowing(torch.tensor(dataset.targets), next(each), only)  # noqa: E731
    return {"classifier": made, "arms": tuple(right), "seeds": len(next(iter(right.values()))), "steps": 1}


# ---- the figures ----


def test_there_is_a_row_an_arm_with_its_figures(result):
    assert [r["arm"] for r in result.rows] == list(ALL_ARMS)
    for r in result.rows:
        assert set(r) == {
            "arm", "accuracy", "balanced_accuracy", "recall", "rounds", "over_none", "over_classical"
        }  # fmt: skip
        assert len(r["rounds"]) == 3
        assert r["accuracy"] == pytest.approx(sum(r["rounds"]) / 3, abs=1e-3)
        assert list(r["recall"]) == list(Shapes.classes)
        assert sum(r["recall"].values()) / 3 == pytest.approx(r["balanced_accuracy"], abs=1e-3)
        assert all(0 <= r[name] <= 100 for name in ("accuracy", "balanced_accuracy"))
    assert len({tuple(r["rounds"]) for r in result.rows}) > 3  # they are not all the same classifier


def test_differences_are_paired_and_corrected_for_rounds_that_share_images(result):
    assert (row(result, "none")["over_none"], row(result, "classical")["over_classical"]) == (None, None)
    for arm in ALL_ARMS:
        for over in {"none", "classical"} - {arm}:
            pairs = zip(row(result, arm)["rounds"], row(result, over)["rounds"], strict=True)
            wanted = paired_difference([a - b for a, b in pairs], overlap=1 / 3)
            assert row(result, arm)[f"over_{over}"] == pytest.approx(wanted.to_dict())
            assert result.difference(arm, over).mean == pytest.approx(wanted.mean, abs=1e-3)
    assert result.difference("none", "none") is None
    assert result.difference("elsewhere", "none") is None


def test_the_setup_says_how_it_was_measured_without_a_time_or_a_path(result):
    assert result.setup == {
        "images": 27,
        "images_per_class": [9, 9],
        "held_out": 9,
        "classes": 3,
        "image_shape": [1, 12, 12],
        "rounds": 3,
        "steps": 6,
        "seed": 0,
        "sampling_strategy": None,
        "not_measured": [],
        "test_images_in_dataset": 0,
        "policies": result.setup["policies"],
    }
    assert [sorted(policy) for policy in result.setup["policies"]] == [["does", "why"]] * 3
    first = result.setup["policies"][0]
    assert f"{first['does']} Why, in round 1: {first['why']}." in str(result)
    assert result.metric == "accuracy"


def test_json_holds_all_of_it(result):
    text = result.to_json()
    assert text.endswith("}\n")
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert content == {"verdict": result.verdict, "metric": result.metric, "setup": result.setup, "rows": result.rows}


def test_the_text_is_a_table_and_the_verdict(result):
    lines = str(result).splitlines()
    assert lines[0].split() == ["arm", "accuracy", "%", "balanced", "%", "over", "none", "over", "classical"]
    assert [line.split()[0] for line in lines[2 : 2 + len(ALL_ARMS)]] == list(ALL_ARMS)
    assert lines[-3] == "Differences are of accuracy, in points, with 95 % intervals over 3 rounds."
    assert lines[-2].startswith("Ours in round 1")
    assert lines[-1] == result.verdict
    assert str(result.difference("ours", "none")) in lines[2 + ALL_ARMS.index("ours")]


@pytest.mark.slow
def test_it_is_a_function_of_its_arguments_and_draws_from_no_global_generator():
    texts, before = [], torch.get_rng_state()
    for torch_seed, seed in ((1, 0), (2, 0), (1, 1)):
        torch.manual_seed(torch_seed)
        start = torch.get_rng_state()
        texts.append(quick(steps=5, seed=seed).to_json())
        assert torch.equal(torch.get_rng_state(), start)
    torch.set_rng_state(before)
    assert texts[0] == texts[1] != texts[2]


def test_an_arms_figures_do_not_depend_on_the_other_arms(result):
    alone = quick(arms=["ours", "none"], seeds=3, steps=6)
    for arm in ("ours", "none"):
        assert row(alone, arm)["rounds"] == row(result, arm)["rounds"]
    assert row(alone, "ours")["over_none"] == row(result, "ours")["over_none"]


def test_an_arm_named_twice_is_run_once():
    assert quick(arms=["none", "classical", "none"]).to_json() == quick(arms=["none", "classical"]).to_json()


def test_all_rounds_of_given_test_images_share_what_their_choice_adds():
    right, test, all_ = {"none": [150, 150], "classical": [180, 180]}, distinct(100, seed=1), distinct(200)
    given = quick(Shapes(9), test=test, **knowing(test, right))
    change = torch.zeros(300, dtype=torch.float64)
    change[:30] = 100
    wanted = paired_difference([10.0, 10.0], image_variance=change.var().item() / 300)
    assert given.difference("classical", "none") == Difference(**wanted.to_dict())
    drawn = quick(all_, per_class=100, **knowing(all_, right))  # the same labels in each round, but other images
    assert drawn.difference("classical", "none") == Difference(10.0, 10.0, 10.0)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_it_trains_where_gradients_are_switched_off(context):
    expected = quick(arms=("classical", "ours"), seeds=1).to_json()
    with context():
        assert quick(arms=("classical", "ours"), seeds=1).to_json() == expected


# ---- unequal classes ----


ALL = distinct(100)
UNEVEN = torch.utils.data.Subset(ALL, [*range(100), *range(100, 120), *range(200, 300)])


@pytest.mark.parametrize(("options", "held"), [({}, [25, 5, 25]), ({"per_class": 10}, [90, 10, 90])])
def test_balanced_accuracy_decides_where_classes_are_unequal_or_those_that_are_left_to_test_on(options, held):
    right = {"none": [4 * held[1] // 5] * 3, "classical": [0, held[1] // 5, 2 * held[1] // 5]}
    found = quick(UNEVEN, **options, **knowing(ALL, right, only=1))
    assert found.metric == "balanced_accuracy"
    wanted = [100 * (2 + share) / 3 for share in (0.0, 0.2, 0.4)]
    assert row(found, "classical")["rounds"] == pytest.approx(wanted, abs=1e-3)
    assert row(found, "classical")["recall"] == pytest.approx({"across": 100, "down": 20, "slanted": 100})
    assert row(found, "none")["accuracy"] == pytest.approx(100 * (1 - held[1] / 5 / sum(held)), abs=1e-3)
    assert found.difference("classical", "none").mean == pytest.approx(-20, abs=1e-3)
    assert "balanced accuracy" in str(found)


def test_the_choice_of_test_images_of_unequal_classes_is_that_of_each_class():
    test = distinct(10, seed=2)
    found = quick(UNEVEN, test=test, **knowing(test, {"none": [10, 10], "classical": [5, 5]}, only=1))
    change = torch.tensor([0.0] * 5 + [-100.0] * 5, dtype=torch.float64)
    wanted = paired_difference([-50 / 3] * 2, image_variance=change.var().item() / 10 / 9)
    assert vars(found.difference("classical", "none")) == pytest.approx(vars(wanted), abs=1e-3)


@pytest.mark.parametrize(
    ("counts", "options", "said"),
    [
        ((40, 9, 40), {}, True),
        ((40, 9, 40), {"arms": ("none", "ours+classical")}, True),
        ((40, 9, 40), {"arms": ("none", "mixup")}, False),
        ((40, 9, 40), {"sampling_strategy": "not majority"}, False),
        ((40, 40, 40), {}, False),
    ],
)
def test_a_strategy_is_recommended_where_classes_are_unequal_and_none_is_given(counts, options, said):
    images = [40 * label + i for label, count in enumerate(counts) for i in range(count)]
    found = quick(torch.utils.data.Subset(distinct(40), images), **{"arms": ("none", "ours"), "seeds": 1, **options})
    note = "Classes are unequal (7 to 30 images): try sampling_strategy='not majority' too."
    assert (note in str(found).splitlines()) == said


def test_a_class_of_one_image_is_trained_on_and_its_recall_is_not_known():
    dataset = torch.utils.data.Subset(Shapes(12), [*range(12), 12, *range(24, 36)])
    with pytest.warns(DataWarning, match="no image is left to test on of 'down': not measured"):
        found = quick(dataset, arms=USUAL)
    assert [r["recall"]["down"] for r in found.rows] == [None] * 4
    assert all(isinstance(r["balanced_accuracy"], float) for r in found.rows)
    assert json.loads(found.to_json())["rows"] == found.rows


def test_labels_may_be_any_integers_and_figures_are_the_same():
    class Nameless(Shapes):
        classes = class_to_idx = None

    dataset = Nameless(12)
    dataset.targets = [(-5, 3, 70)[label] for label in dataset.targets]
    found, wanted = quick(dataset), quick()
    assert list(found.rows[0]["recall"]) == ["-5", "3", "70"]
    assert [r["rounds"] for r in found.rows] == [r["rounds"] for r in wanted.rows]


def test_the_dataset_is_not_changed_and_its_transforms_are_not_seen():
    def fail(image):
        raise AssertionError("a transform was applied")

    dataset = Shapes(12, transform=fail, target_transform=fail)
    before, pixels = dict(vars(dataset)), dataset.data.copy()
    assert quick(dataset, arms=["none"]).to_json() == quick(Shapes(12), arms=["none"]).to_json()
    assert vars(dataset) == before
    assert (dataset.data == pixels).all()


# ---- the classifier ----


def linear(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))


def test_the_callers_classifier_is_made_for_each_arm_and_round():
    made = []

    def factory(shape, classes):
        made.append((shape, classes))
        return linear(shape, classes)

    found = quick(arms=["none", "classical"], classifier=factory)
    assert made == [((1, 12, 12), 3)] * 4
    assert found.to_json() != quick(arms=["none", "classical"]).to_json()


def test_a_classifier_that_is_made_once_is_refused():
    model = linear((1, 12, 12), 3)
    with pytest.raises(ValueError, match="classifier must make a new module each time it is called"):
        quick(arms=["none", "classical"], classifier=lambda shape, classes: model)


# ---- wrong arguments ----


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"arms": ["none", "mine"]}, ValueError, "an arm must be one of 'none', .*, got 'mine'"),
        ({"arms": []}, ValueError, "arms must name at least one arm, got none"),
        ({"seeds": 0}, ValueError, "seeds must be a whole number of at least 1, got 0"),
        ({"steps": 0}, ValueError, "steps must be a whole number of at least 1, got 0"),
        ({"per_class": 0}, ValueError, "per_class must be a whole number of at least 1, got 0"),
        ({"per_class": 12}, ValueError, "no image is left to test on: use a smaller per_class, or give test data"),
        ({"dataset": Shapes(1)}, ValueError, "no image is left to test on"),
        ({"sampling_strategy": "most"}, ValueError, "most"),
        ({"device": "tpu9"}, ValueError, "device must be 'auto' or one that torch can use here, got 'tpu9'"),
        (
            {"classifier": lambda shape, classes: "cnn", "config": TINY},
            TypeError,
            "classifier must make a torch.nn.Module, got str",
        ),
        ({"dataset": torch.utils.data.Subset(Shapes(), range(9))}, ValueError, r"at least two classes .* \['across'\]"),
        ({"dataset": iter([])}, TypeError, r"dataset must have len\(\) and indices"),
    ],
)
def test_wrong_arguments_are_told_before_a_bank_is_fitted(options, error, message):
    with pytest.raises(error, match=message):
        quick(**{"config": ENDLESS, **options})
