import json
import subprocess
import sys
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.conftest import Shapes
from vae_augment import FitConfig, evaluate, evaluation, study
from vae_augment.arms import SOURCES
from vae_augment.report.differences import differences_png
from vae_augment.statistics import Difference, paired_difference

TINY = FitConfig(steps=2, width=8, latent_dim=2, batch_size=4)
ALL_ARMS = ("none", "classical", *(a for s in SOURCES[1:] for a in (s, f"{s}+classical")))
USUAL = ("none", "classical", "ours", "ours+classical")


def quick(dataset=None, **options):
    options = {"config": TINY, "steps": 3, "seeds": 2, "progress": False, **options}
    return evaluate(dataset or Shapes(12), **options)


@pytest.fixture(scope="module")
def result():
    """All arms over three rounds, with their classifiers trained for long enough to differ."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "TEXTBOOK", replace(TINY, sharing="none", policy="none"))
        return quick(arms=ALL_ARMS, seeds=3, steps=8)


def row(result, arm):
    return next(row for row in result.rows if row["arm"] == arm)


def pretend(monkeypatch, accuracy, only=None):
    """Classifiers are not trained; each arm has these accuracies, in percent, in its rounds (of a class `only`)."""
    rounds = {arm: iter(values) for arm, values in accuracy.items()}
    running = []

    def batches(arm, *given, **options):
        running.append(arm)
        yield from ()

    def train(model, batches, **options):
        next(batches, None)
        return model

    def predict(model, images):
        labels = held[-1].targets
        mine = torch.ones_like(labels, dtype=torch.bool) if only is None else labels == only
        wrong = mine & (mine.cumsum(0) > round(next(rounds[running[-1]]) / 100 * int(mine.sum())))
        return torch.where(wrong, (labels + 1) % (int(labels.max()) + 1), labels)

    def split(self, round_):
        held.append(split_(self, round_)[1])
        return split_(self, round_)

    held, split_ = [], study.Study.split
    monkeypatch.setattr(evaluation, "batches", batches)
    monkeypatch.setattr(evaluation, "train_classifier", train)
    monkeypatch.setattr(evaluation, "predict", predict)
    monkeypatch.setattr(study.Study, "split", split)
    monkeypatch.setattr(study.Study, "banks", lambda *given: {})


def pretended(monkeypatch, accuracy, dataset=None, **options):
    pretend(monkeypatch, accuracy)
    rounds = len(next(iter(accuracy.values())))
    return quick(dataset or Shapes(200), per_class=100, arms=tuple(accuracy), seeds=rounds, **options)


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
        "held_out": 9,
        "classes": 3,
        "image_shape": [1, 12, 12],
        "rounds": 3,
        "steps": 8,
        "seed": 0,
    }
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
    assert lines[-2] == "Differences are of accuracy, in points, with 95 % intervals over 3 rounds."
    assert lines[-1] == result.verdict
    assert str(result.difference("ours", "none")) in lines[2 + ALL_ARMS.index("ours")]


def test_it_is_a_function_of_its_arguments_and_draws_from_no_global_generator():
    texts, before = [], torch.get_rng_state()
    for torch_seed, seed in ((1, 0), (2, 0), (1, 1)):
        torch.manual_seed(torch_seed)
        start = torch.get_rng_state()
        texts.append(quick(steps=8, seed=seed).to_json())
        assert torch.equal(torch.get_rng_state(), start)
    torch.set_rng_state(before)
    assert texts[0] == texts[1] != texts[2]


def test_an_arms_figures_do_not_depend_on_the_other_arms(result):
    alone = quick(arms=["ours", "none"], seeds=3, steps=8)
    for arm in ("ours", "none"):
        assert row(alone, arm)["rounds"] == row(result, arm)["rounds"]
    assert row(alone, "ours")["over_none"] == row(result, "ours")["over_none"]


def test_an_arm_named_twice_is_run_once():
    assert quick(arms=["none", "classical", "none"]).to_json() == quick(arms=["none", "classical"]).to_json()


def test_all_rounds_of_given_test_images_share_what_their_choice_adds(monkeypatch):
    accuracy = {"none": [50.0, 50.0], "ours": [60.0, 60.0]}
    pretend(monkeypatch, accuracy)
    given = quick(Shapes(9), test=Shapes(100, seed=1), arms=tuple(accuracy))
    change = torch.zeros(300, dtype=torch.float64)
    change[:30] = 100
    wanted = paired_difference([10.0, 10.0], image_variance=change.var().item() / 300)
    assert given.difference("ours", "none") == Difference(**wanted.to_dict())
    pretend(monkeypatch, accuracy)
    drawn = quick(
        Shapes(200), per_class=100, arms=tuple(accuracy)
    )  # the same labels in each round, not the same images
    assert drawn.difference("ours", "none") == Difference(10.0, 10.0, 10.0)


# ---- unequal classes ----


def test_balanced_accuracy_decides_where_classes_are_unequal(monkeypatch):
    uneven = torch.utils.data.Subset(Shapes(100), [*range(100), *range(100, 120), *range(200, 300)])
    pretend(monkeypatch, {"none": [80.0] * 3, "ours": [0.0, 20.0, 40.0]}, only=1)
    found = quick(uneven, arms=("none", "ours"), seeds=3)
    assert found.metric == "balanced_accuracy"
    assert row(found, "ours")["rounds"] == pytest.approx([100 * (2 + r) / 3 for r in (0.0, 0.2, 0.4)], abs=1e-3)
    assert row(found, "ours")["recall"] == pytest.approx({"across": 100, "down": 20, "slanted": 100})
    assert row(found, "none")["accuracy"] == pytest.approx(100 * 54 / 55, abs=1e-3)
    assert found.difference("ours", "none").mean == pytest.approx(-20, abs=1e-3)
    assert "balanced accuracy" in str(found)


def test_the_choice_of_test_images_of_unequal_classes_is_that_of_each_class(monkeypatch):
    uneven = torch.utils.data.Subset(Shapes(100), [*range(100), *range(100, 120), *range(200, 300)])
    pretend(monkeypatch, {"none": [100.0] * 2, "ours": [50.0] * 2}, only=1)
    found = quick(uneven, test=Shapes(10, seed=1), arms=("none", "ours"))
    change = torch.tensor([0.0] * 5 + [-100.0] * 5, dtype=torch.float64)
    wanted = paired_difference([-50 / 3] * 2, image_variance=change.var().item() / 10 / 9)
    assert found.difference("ours", "none") == Difference(
        **{k: pytest.approx(v, abs=1e-3) for k, v in vars(wanted).items()}
    )


def test_a_class_of_one_image_is_trained_on_and_its_recall_is_not_known():
    dataset = torch.utils.data.Subset(Shapes(12), [*range(12), 12, *range(24, 36)])
    found = quick(dataset, arms=USUAL)
    assert [r["recall"]["down"] for r in found.rows] == [None] * 4
    assert all(isinstance(r["balanced_accuracy"], float) for r in found.rows)
    assert json.loads(found.to_json())["rows"] == found.rows


def test_labels_may_be_any_integers_and_figures_are_the_same():
    class Odd(Shapes):
        classes = None

        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return image, (-5, 3, 70)[label]

    dataset = Odd(12)
    dataset.targets = [(-5, 3, 70)[label] for label in dataset.targets]
    dataset.__class__.__getitem__ = Shapes.__getitem__
    found, wanted = quick(dataset, steps=8), quick(steps=8)
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


# ---- the verdict ----


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
            "hurts here: use the images as they are alone (-9.3 points over none, interval ",
        ),
        ({"none": [50, 51, 50], "ours": [60, 62, 61]}, "helps: +10.7 points over none, interval "),
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
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_where_there_is_nothing_to_learn_nothing_helps(monkeypatch, dataset, seed):
    monkeypatch.setattr("vae_augment.fitter.JUDGE_STEPS", 5)
    found = quick(dataset(), seeds=4, steps=25, seed=seed)
    assert found.verdict.startswith(("does not help here", "hurts here"))
    assert found.difference("ours+classical", "classical").low < 0 < found.difference("ours", "none").high


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
        ({"arms": []}, ValueError, r"arms not empty, got .*\(\)"),
        ({"seeds": 0}, ValueError, "seeds and steps must be at least 1 .* got 0"),
        ({"steps": 0}, ValueError, "seeds and steps must be at least 1 .* got 2, 0"),
        ({"per_class": 0}, ValueError, r"per_class must be at least 1, got 0\."),
        ({"per_class": 12}, ValueError, "no image is left to test on: use a smaller per_class, or give test data"),
        ({"dataset": Shapes(1)}, ValueError, "no image is left to test on"),
        ({"sampling_strategy": "most"}, ValueError, "most"),
        ({"device": "tpu9"}, ValueError, "device must be 'auto' or one that torch can use here, got 'tpu9'"),
        ({"classifier": lambda shape, classes: "cnn"}, TypeError, "classifier must make a torch.nn.Module, got str"),
        ({"dataset": torch.utils.data.Subset(Shapes(), range(9))}, ValueError, r"at least two classes .* \['across'\]"),
        ({"dataset": iter([])}, TypeError, r"dataset must have len\(\) and indices"),
    ],
)
def test_wrong_arguments_are_told_before_a_bank_is_fitted(monkeypatch, options, error, message):
    def fail(*given, **options):
        raise AssertionError("a bank was fitted")

    if "classifier" not in options:
        monkeypatch.setattr(study, "fit", fail)
    with pytest.raises(error, match=message):
        quick(**options)


# ---- the plot ----


def test_the_plot_is_a_picture_and_a_function_of_the_figures(result):
    png = differences_png(result)
    with Image.open(BytesIO(png)) as image:
        image.load()
        assert image.format == "PNG"
        assert image.width > 600
    assert differences_png(result) == png


@pytest.mark.parametrize(
    "accuracy",
    [
        {"none": [50.0], "ours": [60.0]},
        {"none": [50.0, 51.0]},
        {"ours": [50.0, 51.0]},
        {"classical": [50.0, 51.0], "ours+classical": [50.0, 51.0]},
    ],
    ids=["one round", "none alone", "nothing to compare with", "no difference"],
)
def test_a_plot_of_little_opens_too(monkeypatch, accuracy):
    with Image.open(BytesIO(differences_png(pretended(monkeypatch, accuracy)))) as image:
        image.load()


def test_the_plot_asks_for_no_window_system():
    code = (
        "import sys, vae_augment.report.differences as d; from vae_augment.evaluation import Evaluation\n"
        "assert 'matplotlib' not in sys.modules\n"
        "row = {'arm': 'ours', 'over_none': {'mean': 1.0, 'low': None, 'high': None}, 'over_classical': None}\n"
        "d.differences_png(Evaluation([row], 'one', 'accuracy', {}))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
