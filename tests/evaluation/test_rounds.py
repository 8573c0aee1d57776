"""Which images an evaluation trains on and which it measures on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vae_augment import FitConfig, evaluate
from vae_augment.data.source import Source
from vae_augment.evaluation import prediction, rounds, running
from vae_augment.evaluation.rounds import HELD_OUT, Study
from vae_augment.exceptions import DataWarning

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
    return Study(Source(dataset), bank, None if test is None else Source(test), per_class, TINY, seed)


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
    monkeypatch.setattr(rounds, "MOST_TESTED", 10)
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
    [({0: 20, 1: 20}, None, False), ({0: 40, 1: 12}, None, True), ({0: 40, 1: 38}, 10, False)],
)
def test_classes_are_unequal_if_one_is_trained_on_twice_as_much(counts, per_class, unequal):
    assert studied(Numbered(counts), per_class=per_class).unequal == unequal


@pytest.mark.parametrize(
    ("counts", "unequal"),
    [({0: 26, 1: 20}, True), ({0: 25, 1: 20}, False), ({0: 20, 1: 20, 2: 10}, False), ({0: 20, 1: 12, 2: 9}, True)],
)
def test_classes_are_unequal_if_per_class_leaves_more_of_one_to_test_on(counts, unequal):
    dataset = Numbered(counts)
    assert studied(dataset, per_class=10).unequal == unequal
    test = Numbered(dict.fromkeys(counts, 5), seed=1, first=1000)
    assert not studied(dataset, per_class=10 if len(counts) == 2 else 9, test=test).unequal


def test_classes_of_which_nothing_is_left_to_test_on_are_warned_of_once_and_listed():
    dataset = Numbered({0: 12, 1: 6, 2: 12, 3: 3}, ("a", "b", "c", "d"))
    with pytest.warns(DataWarning, match=r"^no image is left to test on of 'b', 'd': not measured$") as given:
        result = quick(dataset, per_class=6, arms=["none"], seeds=3)
    assert len(given) == 1
    assert result.setup["not_measured"] == ["b", "d"]
    assert str(result).splitlines()[-2] == "not measured: b, d"
    assert [result.rows[0]["recall"][name] for name in "bd"] == [None, None]


@pytest.mark.parametrize("options", [{"per_class": 6}, {}])
def test_fewer_than_two_classes_with_images_to_test_on_are_refused(options):
    message = r"at least two classes must have an image left to test on, in each round, got 1 of 3: use a smaller"
    with pytest.raises(ValueError, match=message):
        quick(Numbered({0: 12, 1: 2, 2: 1}), **options)


# ---- identical images ----


def copied(dataset, pairs):
    for i, j in pairs:
        dataset.data[j] = dataset.data[i]
    return dataset


@pytest.mark.parametrize("options", [{}, {"per_class": 7}])
def test_identical_images_are_on_the_same_side_of_every_split(options):
    dataset = copied(Numbered({0: 24, 1: 24}), [(i, i + 24) for i in range(0, 24, 2)])
    some = studied(dataset, **options)
    for round_ in range(6):
        train, held_out = some.split(round_)
        assert len(train) == some.train_count
        assert not set(places(train.images)) & set(places(held_out.images))
        assert len(train) + len(held_out) >= 48 - 14  # of a copy that the share of a class cuts through, or of another


def test_copies_of_an_image_in_one_class_are_held_out_together():
    dataset = Numbered({0: 24, 1: 24})
    mine = [i for i, label in enumerate(dataset.targets) if label == 0]
    some = studied(copied(dataset, zip(mine[::2], mine[1::2], strict=True)))
    for round_ in range(6):
        train, held_out = some.split(round_)
        assert (len(train), len(held_out)) == (36, 12)
        assert set(torch.tensor(places(held_out.images))[held_out.targets == 0].bincount().tolist()) == {0, 2}


def test_a_class_of_one_image_many_times_is_not_measured():
    dataset = Numbered({0: 12, 1: 12, 2: 12})
    mine = [i for i, label in enumerate(dataset.targets) if label == 1]
    with pytest.warns(DataWarning, match="no image is left to test on of '1'"):
        result = quick(copied(dataset, [(mine[0], i) for i in mine]), arms=["none"])
    assert result.setup["not_measured"] == ["1"]


def test_copies_do_not_matter_where_test_data_are_given():
    plain, test = Numbered({0: 24, 1: 24}), Numbered({0: 4, 1: 7}, seed=1, first=1000)
    chosen = [studied(plain, test=test, per_class=6).split(i)[0].images for i in range(3)]
    dataset = copied(Numbered({0: 24, 1: 24}), [(i, i + 24) for i in range(0, 24, 2)])
    of_copies = [studied(dataset, test=test, per_class=6).split(i)[0].images for i in range(3)]
    origin = {place: place - 24 if place >= 24 and place % 2 == 0 else place for place in range(48)}
    assert [places(images) for images in of_copies] == [[origin[i] for i in places(images)] for images in chosen]


# ---- nothing held out is ever trained on ----


@pytest.fixture
def spied(monkeypatch):
    """What is fitted on, trained on, and measured on, in order."""
    seen = {"fit": [], "train": [], "test": []}
    fit_, train, predict = rounds.fit, running.train_classifier, prediction.logits

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

    monkeypatch.setattr(rounds, "TEXTBOOK", replace(TINY, sharing="none", policy="none"))
    monkeypatch.setattr(rounds, "fit", spy_fit)
    monkeypatch.setattr(running, "train_classifier", spy_train)
    monkeypatch.setattr(prediction, "logits", spy_predict)
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
