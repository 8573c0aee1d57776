"""Which images an evaluation trains on and which it measures on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import Subset

from tests.conftest import CONFIG, Shapes
from vae_augment import FitConfig, evaluate, evaluation, fit, study
from vae_augment.study import HELD_OUT, Study

TINY = FitConfig(steps=2, width=8, latent_dim=2, batch_size=4)


class Numbered:
    """Images of noise that hold their place in the dataset in two pixels, so no two are alike."""

    def __init__(self, counts, classes=None, seed=0, first=0):
        """`counts`: of each label."""
        generator = torch.Generator().manual_seed(seed)
        labels = [label for label, count in counts.items() for _ in range(count)]
        self.targets = [labels[i] for i in torch.randperm(len(labels), generator=generator)]
        self.data = torch.randint(256, (len(labels), 12, 12), dtype=torch.uint8, generator=generator)
        places = torch.arange(first, first + len(labels))
        self.data[:, 0, 0], self.data[:, 0, 1] = places % 256, places // 256
        if classes is not None:
            self.classes = classes

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return self.data[index], self.targets[index]


def studied(dataset, *, bank=None, test=None, per_class=None, seed=0):
    return Study(dataset, bank, test, per_class, TINY, seed)


def places(images):
    return (images[:, 0, 0, 0].long() + 256 * images[:, 0, 0, 1].long()).tolist()


def quick(dataset, **options):
    return evaluate(dataset, **{"config": TINY, "steps": 2, "seeds": 2, "progress": False, **options})


# ---- the split ----


@pytest.mark.parametrize("counts", [{0: 20, 1: 20}, {0: 40, 1: 9, 2: 5}, {-7: 30, 4: 8, 900: 5}, {0: 8, 1: 1, 2: 2}])
def test_a_round_holds_out_a_quarter_of_each_class_and_trains_on_the_rest(counts):
    dataset = Numbered(counts)
    train, held_out = studied(dataset).split(0)
    assert sorted(places(train.images) + places(held_out.images)) == list(range(len(dataset)))
    for place, (label, count) in enumerate(sorted(counts.items())):
        held = int((held_out.targets == place).sum())
        assert held == round(count * HELD_OUT)
        assert int((train.targets == place).sum()) == count - held >= 1
        for part in (train, held_out):
            assert {dataset.targets[i] for i in np.array(places(part.images))[part.targets == place]} <= {label}


def test_rounds_divide_the_images_anew_by_the_seed_alone():
    dataset = Numbered({0: 20, 1: 20})
    held = []
    for torch_seed, seed, round_ in ((1, 0, 0), (2, 0, 0), (1, 0, 1), (1, 1, 0)):
        torch.manual_seed(torch_seed)
        held.append(places(studied(dataset, seed=seed).split(round_)[1].images))
    assert held[0] == held[1]
    assert len({tuple(h) for h in held}) == 3


def test_per_class_trains_on_so_many_of_each_and_measures_on_the_rest():
    dataset = Numbered({0: 20, 1: 9, 2: 3})
    train, held_out = studied(dataset, per_class=5).split(0)
    assert train.targets.bincount().tolist() == [5, 5, 3]
    assert sorted(places(train.images) + places(held_out.images)) == list(range(32))
    assert places(studied(dataset, per_class=5).split(1)[0].images) != places(train.images)


def test_no_more_are_held_out_than_needed(monkeypatch):
    monkeypatch.setattr(study, "MOST_TESTED", 10)
    train, held_out = studied(Numbered({0: 20, 1: 40}), per_class=5).split(0)
    assert len(held_out) == 10
    assert not set(places(train.images)) & set(places(held_out.images))


def test_with_test_data_all_images_are_trained_on():
    test = Numbered({0: 4, 1: 7}, seed=1)
    some = studied(Numbered({0: 20, 1: 30}), test=test)
    train, held_out = some.split(0)
    assert (len(train), some.overlap) == (50, 0.0)
    assert torch.equal(held_out.images[:, 0], test.data)
    assert held_out.targets.tolist() == test.targets
    assert studied(Numbered({0: 20, 1: 30}), test=test, per_class=6).split(0)[0].targets.bincount().tolist() == [6, 6]


@pytest.mark.parametrize(("per_class", "wanted"), [(None, 1 / 3), (10, 10 / 30), (30, 10 / 30), (1, 1 / 39)])
def test_the_overlap_is_of_rounds_that_divide_the_same_images(per_class, wanted):
    some = studied(Numbered({0: 40, 1: 40}), per_class=per_class)
    assert some.overlap == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("counts", "per_class", "unequal"),
    [({0: 20, 1: 20}, None, False), ({0: 40, 1: 12}, None, True), ({0: 40, 1: 20}, 10, False)],
)
def test_classes_are_unequal_if_one_is_trained_on_twice_as_much(counts, per_class, unequal):
    assert studied(Numbered(counts), per_class=per_class).unequal == unequal


# ---- nothing held out is ever trained on ----


@pytest.fixture
def spied(monkeypatch):
    """What is fitted on, trained on, and measured on, in order."""
    seen = {"fit": [], "train": [], "test": []}
    fit_, train, predict = study.fit, evaluation.train_classifier, evaluation.predict

    def spy_fit(dataset, **options):
        seen["fit"].append(dataset.images.clone())
        return fit_(dataset, **options)

    def spy_train(model, batches, **options):
        def watched():
            for images, labels in batches:
                into.append(images)
                yield images, labels

        into = []
        seen["train"].append(into)
        return train(model, watched(), **options)

    def spy_predict(model, images):
        seen["test"].append(images.clone())
        seen.setdefault("weights", []).append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        return predict(model, images)

    monkeypatch.setattr(study, "TEXTBOOK", replace(TINY, sharing="none", policy="none"))
    monkeypatch.setattr(study, "fit", spy_fit)
    monkeypatch.setattr(evaluation, "train_classifier", spy_train)
    monkeypatch.setattr(evaluation, "predict", spy_predict)
    return seen


ARMS = ("none", "ours", "oversampling", "ours+classical", "textbook", "mixup")


@pytest.mark.parametrize("options", [{}, {"per_class": 6}, {"test": Numbered({0: 9, 1: 9}, seed=1, first=1000)}])
def test_what_is_held_out_is_never_seen_by_a_bank_or_a_classifier(spied, options):
    quick(Numbered({0: 24, 1: 24}), arms=ARMS, classical=lambda images, random: images, **options)
    assert (len(spied["fit"]), len(spied["train"]), len(spied["test"])) == (2 * 2, 2 * len(ARMS), 2 * len(ARMS))
    for i, (batches, tested) in enumerate(zip(spied["train"], spied["test"], strict=True)):
        fitted = spied["fit"][2 * (i // len(ARMS)) : 2 * (i // len(ARMS)) + 2]
        held = {image.numpy().tobytes() for image in tested}
        assert len(held) == len(tested) > 0
        known = {image.numpy().tobytes() for image in fitted[0]}
        assert not held & known
        assert torch.equal(*fitted)
        trained = {image.numpy().tobytes() for image in (torch.cat(batches) * 255).round().to(torch.uint8)}
        assert not held & trained
        if ARMS[i % len(ARMS)] in ("none", "oversampling"):
            assert trained <= known


def test_test_images_change_nothing_that_is_trained(spied):
    dataset = Numbered({0: 24, 1: 24})
    for seed in (1, 2):
        quick(dataset, arms=ARMS, test=Numbered({0: 9, 1: 9}, seed=seed, first=1000))
    half = len(spied["weights"]) // 2
    assert not torch.equal(spied["test"][0], spied["test"][half])
    assert all(map(torch.equal, spied["weights"][:half], spied["weights"][half:]))


def test_a_round_does_not_go_on_where_the_last_one_ended(spied):
    quick(Numbered({0: 24, 1: 24}), arms=["none"], seeds=2)
    quick(Numbered({0: 24, 1: 24}), arms=["classical", "none"], seeds=2)
    first, second = spied["weights"][:2], spied["weights"][2:]
    assert torch.equal(first[0], second[1])
    assert torch.equal(first[1], second[3])


def test_arms_of_a_round_differ_in_nothing_but_their_images(spied):
    quick(Numbered({0: 24, 1: 24}), arms=["none", "classical"], seeds=2, classical=lambda images, random: images)
    weights = spied["weights"]
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[2], weights[3])
    assert not torch.equal(weights[0], weights[2])


# ---- test data ----

NAMES = ("a", "b", "c")


def answers(dataset, test):
    return studied(dataset, test=test).split(0)[1].targets.tolist()


def test_a_test_set_may_lack_a_class_and_is_matched_by_name():
    dataset = Numbered({0: 9, 1: 9, 2: 9}, NAMES)
    test = Numbered({0: 3, 1: 4}, ("b", "c"), seed=1)
    assert answers(dataset, test) == [label + 1 for label in test.targets]
    result = quick(dataset, test=test, arms=["none"])
    assert result.rows[0]["recall"]["a"] is None
    assert None not in (result.rows[0]["recall"]["b"], result.rows[0]["recall"]["c"])


def test_a_test_set_may_have_its_classes_in_another_order():
    dataset, test = Numbered({0: 9, 1: 9, 2: 9}, NAMES), Numbered({0: 3, 1: 4, 2: 5}, ("c", "a", "b"), seed=1)
    assert answers(dataset, test) == [{0: 2, 1: 0, 2: 1}[label] for label in test.targets]


@pytest.mark.parametrize("names", [None, ("zero", "one", "two")])
def test_a_test_set_without_a_name_in_common_goes_by_the_label(names, caplog):
    dataset, test = Numbered({0: 9, 1: 9, 2: 9}, NAMES), Numbered({0: 3, 2: 5}, names, seed=1)
    assert answers(dataset, test) == test.targets
    assert ("no class of test has a name of dataset's; going by the label" in caplog.text) == (names is not None)


@pytest.mark.parametrize(
    ("counts", "names", "unknown"),
    [({0: 3, 1: 3}, ("a", "d"), "d"), ({0: 3, 3: 3}, None, "3"), ({-1: 3}, None, "-1")],
)
def test_a_test_set_with_another_class_is_refused(counts, names, unknown):
    with pytest.raises(ValueError, match=rf"test has a class that dataset lacks: '{unknown}'\."):
        quick(Numbered({0: 9, 1: 9, 2: 9}, NAMES), test=Numbered(counts, names))


def test_test_images_that_are_trained_on_are_warned_of(caplog):
    dataset = Numbered({0: 9, 1: 9})
    studied(dataset, test=Numbered({0: 9, 1: 9}, seed=1))
    assert caplog.text == ""
    studied(dataset, test=Subset(dataset, range(5)))
    assert "5 of the 5 test images are in dataset too: figures look better than they are" in caplog.text


def test_test_images_are_read_in_the_datasets_range():
    def floats(seed):
        data = Shapes(9, seed=seed)
        return [
            (torch.from_numpy(x).float()[None] / 127.5 - 1, y) for x, y in zip(data.data, data.targets, strict=True)
        ]

    dataset, test = floats(0), floats(1)
    dataset[0][0][0, 0, :2] = torch.tensor([-1.0, 1.0])
    read = studied(dataset, test=test).split(0)[1].images[:, 0].int()
    assert (read - torch.from_numpy(Shapes(9, seed=1).data).int()).abs().max() <= 1


# ---- a bank given ----


@pytest.fixture(scope="module")
def fitted():
    return fit(Shapes(9), config=CONFIG, progress=False)


@pytest.fixture
def fits(monkeypatch):
    """The options of each fit."""
    given, fit_ = [], study.fit

    def spy(dataset, *, config, **options):
        given.append(config)
        return fit_(dataset, config=replace(config, steps=2), **options)

    monkeypatch.setattr(study, "fit", spy)
    return given


def test_a_bank_given_with_test_data_is_used(fitted, fits, caplog):
    result = quick(Shapes(9), bank=fitted, test=Numbered({0: 4, 1: 4, 2: 4}), arms=["none", "ours"])
    assert (fits, caplog.text) == ([], "")
    assert result.setup["images"] == 27


@pytest.mark.parametrize("options", [{}, {"per_class": 4}, {"per_class": 4, "test": Shapes(9, seed=1)}])
def test_a_bank_that_has_seen_more_than_is_trained_on_gives_its_options_alone(fitted, fits, caplog, options):
    quick(Shapes(9), bank=fitted, arms=["none", "ours"], **options)
    assert "the bank given has seen images not trained on" in caplog.text
    assert [(c.steps, c.width, c.latent_dim) for c in fits] == [(12, 8, 4)] * 2


def test_a_bank_fitted_on_other_data_is_warned_of(fitted, caplog):
    studied(Shapes(9, seed=5), bank=fitted, test=Shapes(9, seed=1))
    assert "the bank given was fitted on other data" in caplog.text


def test_a_bank_given_is_matched_by_label(fitted):
    three = [(image, (4, 9, 11)[label]) for image, label in (Shapes(9)[i] for i in range(27))]
    infos = tuple(replace(i, label=n) for i, n in zip(fitted.class_infos, (4, 9, 11), strict=True))
    bank = type(fitted)(replace(fitted.content, class_infos=infos, data={}))
    two = [item for item in three if item[1] != 9]
    some = studied(two, bank=bank, test=two)
    used = some.banks(["ours"], some.split(0)[0], 0, "cpu")["ours"]
    assert {info.name: info.label for info in used.class_infos} == {"across": 0, "slanted": 1}
    assert torch.equal(used.content.stats.mean, fitted.content.stats.mean[[0, 2]])
    assert bank.class_to_idx == {"across": 4, "down": 9, "slanted": 11}


def test_a_bank_that_lacks_a_class_is_refused_at_once(fitted):
    message = r"bank has no class for label 1 \('down'\) of dataset; it has labels \[0, 2\]\."
    with pytest.raises(ValueError, match=message):
        quick(Shapes(9), bank=fitted.subset([0, 2]), test=Shapes(9, seed=1))
