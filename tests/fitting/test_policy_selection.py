from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import CONFIG, Shapes
from vae_augment import VAEAugmentedDataset, VAEBank, fit
from vae_augment.bank.policy import Policy
from vae_augment.data.loading import FitData
from vae_augment.fitting import policy_selection
from vae_augment.fitting.policy_selection import (
    FEW_HELD_OUT,
    HELD_OUT,
    LEAST_HELD_OUT,
    MANY_HELD_OUT,
    MOST_HELD_OUT,
    Served,
    Split,
    choose,
    split,
)

CPU = torch.device("cpu")
DEFAULT = Policy(0.1, 0.5, scale=0.4, moves="elastic", keep_detail=True, origin="default")
LABELS = {7: "a", -2: "b", 4: "c"}


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def data(counts, names=None):
    """Images that hold their place in the dataset, classes shuffled among each other."""
    names = names or dict(zip(LABELS, LABELS.values(), strict=True))
    labels = torch.cat([torch.full((n,), label) for label, n in zip(names, counts, strict=True)])
    labels = labels[torch.randperm(len(labels), generator=gen())]
    places = torch.arange(len(labels))
    images = torch.stack([places % 256, places // 256], dim=1).to(torch.uint8)[:, :, None, None]
    return FitData(images.expand(-1, 2, 8, 8).contiguous(), labels, names)


def places(part):
    return (part.images[:, 0, 0, 0].long() + 256 * part.images[:, 1, 0, 0].long()).tolist()


# ---- the split ----


@pytest.mark.parametrize("counts", [(40, 40, 40), (100, 7, 3), (60, 1, 20), (60, 2, 20)])
def test_a_quarter_of_each_class_is_held_out_and_nothing_is_in_both_parts(counts):
    whole = data(counts)
    parts = split(whole, 0)
    assert sorted(places(parts.train) + places(parts.held_out)) == list(range(sum(counts)))
    for label, count in zip(whole.names, counts, strict=True):
        held = int((parts.held_out.labels == label).sum())
        assert held == (round(count * HELD_OUT) if count > 1 else 0)
        assert int((parts.train.labels == label).sum()) == count - held >= 1
    for part in (parts.train, parts.held_out):
        assert torch.equal(part.labels, whole.labels[places(part)])
        assert part.names == whole.names


def test_the_split_is_a_function_of_seed_and_class():
    whole = data((40, 40, 40))
    torch.manual_seed(1)
    first = places(split(whole, 0).held_out)
    before = torch.get_rng_state()
    assert places(split(whole, 0).held_out) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert places(split(whole, 1).held_out) != first


def test_of_many_images_no_more_than_needed_are_held_out():
    parts = split(data((MOST_HELD_OUT * 4, MOST_HELD_OUT * 2, 10)), 0)
    assert len(parts.held_out.labels) == pytest.approx(MOST_HELD_OUT, abs=3)


@pytest.mark.parametrize("counts", [(LEAST_HELD_OUT * 4 - 40, 20, 12), (1, 1, 1), (1, 0, 1), (2, 2, 2)])
def test_too_few_images_are_not_split(counts):
    assert split(data(counts), 0) is None


def test_one_class_is_not_split():
    assert split(data((400,), {3: "only"}), 0) is None


# ---- the choice ----

HELD = -(-MANY_HELD_OUT // 100) * 100 + 100
RIGHT = {"off": 0.6, "default": 0.6, "without detail": 0.6}  # shares of the held-out images


@pytest.fixture(scope="module")
def fitted():
    return fit(Shapes(), config=CONFIG, progress=False)


def parts_of(held_out, seed=0):
    """Two parts, of which the held-out one is as large as wanted."""
    train, other = Shapes(10), Shapes(-(-held_out // 3), seed=1)
    both = []
    for dataset, count in ((train, 30), (other, held_out)):
        chosen = torch.randperm(len(dataset), generator=gen(seed))[:count]
        images = torch.from_numpy(dataset.data)[chosen, None]
        both.append(FitData(images, torch.tensor(dataset.targets)[chosen], dict(enumerate(Shapes.classes))))
    return Split(*both)


def pretend(monkeypatch, right, answers):
    """Classifiers are not trained, and recognise these shares of the held-out images, the same ones first."""
    trained = []

    def train(model, batches, *, steps, seed):
        trained.append((model, steps, seed, next(batches)))
        return model

    def predict(model, images):
        share = right[list(right)[len(trained) - 1]]
        wrong = torch.arange(len(answers)) >= round(share * len(answers))
        return torch.where(wrong, (answers + 1) % 3, answers)

    monkeypatch.setattr(policy_selection, "train_classifier", train)
    monkeypatch.setattr(policy_selection, "predict", predict)
    return trained


def chosen(monkeypatch, bank, right, *, default=DEFAULT, held_out=HELD):
    parts = parts_of(held_out)
    trained = pretend(monkeypatch, right, parts.held_out.labels)
    policy, judge = choose(bank, default, parts, steps=5, seed=3, device=CPU)
    return policy, judge, trained


@pytest.mark.parametrize("changes", [{}, {"default": 0.61}, {"default": 0.9}, {"default": 0.59}])
def test_the_default_stands_unless_it_is_contradicted(monkeypatch, fitted, changes):
    policy, _, _ = chosen(monkeypatch, fitted, {**RIGHT, **changes})
    assert policy == replace(DEFAULT, origin=policy.origin)
    assert policy.origin.startswith("default; this data does not speak against it: default ")
    points = round(100 * (changes.get("default", 0.6) - 0.6))
    assert f"default {points:+.1f} (" in policy.origin
    assert policy.origin.endswith(f"points over classical augmentation on {HELD} held-out images")


@pytest.mark.parametrize("real", [0.6, 0.8])
def test_a_default_that_does_harm_is_switched_off_where_real_images_are_no_worse(monkeypatch, fitted, real):
    harmful = {**RIGHT, "default": 0.5, "without detail": 0.5, "real": real}
    policy, _, trained = chosen(monkeypatch, fitted, harmful)
    assert policy.off
    assert len(trained) == 4
    assert policy.origin.startswith("do not augment, the default lowers accuracy on this data: default -10.0 (")
    assert policy.origin.endswith(f"classical augmentation {100 * (0.6 - real):+.1f} over the images as they are")


@pytest.mark.parametrize(("moves", "wanted"), [("elastic", "affine"), ("elastic-colour", "colour"), ("none", "colour")])
@pytest.mark.parametrize(("default", "held_out"), [(0.5, HELD), (0.54, 150)])
def test_a_default_that_does_harm_or_looks_much_worse_gives_way_to_classical_moves(
    monkeypatch, fitted, moves, wanted, default, held_out
):
    usual = replace(DEFAULT, moves=moves)
    harmful = {"off": 0.6, "default": default, "without detail": default, "real": 0.4}
    if held_out < MANY_HELD_OUT:
        del harmful["without detail"]
    policy, _, _ = chosen(monkeypatch, fitted, harmful, default=usual, held_out=held_out)
    alone = {"p_generate": 0.0, "p_jitter": 1.0, "scale": 0.0, "keep_detail": True, "moves": wanted}
    assert policy == replace(usual, **alone, origin=policy.origin)
    assert policy.origin.startswith("moved and not jittered, since the default lowers accuracy on this data: default ")
    assert "classical augmentation +20" in policy.origin


def test_what_is_better_than_the_default_takes_its_place(monkeypatch, fitted):
    policy, _, _ = chosen(monkeypatch, fitted, {**RIGHT, "without detail": 0.7})
    assert policy == replace(DEFAULT, keep_detail=False, origin=policy.origin)
    assert policy.origin.startswith("chosen on this data, without detail: ")
    assert "without detail +10.0 (" in policy.origin


def test_every_class_counts_the_same(monkeypatch, fitted):
    """A candidate that loses a few images of the largest class and gains a rare one is better, and stays on."""
    parts, counts = parts_of(3000), (1000, 400, 20)
    items = torch.cat([(parts.held_out.labels == k).nonzero()[:n, 0] for k, n in enumerate(counts)])
    labels = parts.held_out.labels[items]
    held_out = FitData(parts.held_out.images[items], labels, parts.held_out.names)
    answers = iter([labels.where(labels != 2, 0), labels.where(torch.arange(len(labels)) >= 100, 1), labels])
    monkeypatch.setattr(policy_selection, "train_classifier", lambda model, *_, **__: model)
    monkeypatch.setattr(policy_selection, "predict", lambda *_: next(answers))
    policy, _ = choose(fitted, DEFAULT, Split(parts.train, held_out), steps=1, seed=0, device=CPU)
    gain = 100 / 3 * (1 - 100 / counts[0])
    assert f"default {gain:+.1f} (" in policy.origin
    assert "without detail +33.3 (" in policy.origin


def test_what_is_better_than_a_harmful_default_but_harmful_itself_is_not_chosen(monkeypatch, fitted):
    policy, _, _ = chosen(monkeypatch, fitted, {**RIGHT, "default": 0.3, "without detail": 0.5, "real": 0.6})
    assert policy.off


def test_a_default_that_decodes_anew_is_compared_with_detail_kept(monkeypatch, fitted):
    plain = replace(DEFAULT, keep_detail=False)
    policy, _, _ = chosen(monkeypatch, fitted, {"off": 0.6, "default": 0.6, "with detail": 0.7}, default=plain)
    assert policy == replace(plain, keep_detail=True, origin=policy.origin)


@pytest.mark.parametrize(
    ("held_out", "default", "wanted"),
    [
        (FEW_HELD_OUT - 1, DEFAULT, ["off"]),
        (FEW_HELD_OUT, DEFAULT, ["off", "default"]),
        (MANY_HELD_OUT, DEFAULT, ["off", "default", "without detail"]),
        (MANY_HELD_OUT, replace(DEFAULT, p_jitter=0.0), ["off", "default"]),
    ],
)
def test_fewer_held_out_images_compare_fewer_candidates(monkeypatch, fitted, held_out, default, wanted):
    policy, _, trained = chosen(monkeypatch, fitted, dict.fromkeys(wanted, 0.6), default=default, held_out=held_out)
    assert len(trained) == len(wanted)
    assert policy == replace(default, origin=policy.origin)
    if wanted == ["off"]:
        assert policy.origin == f"default; {held_out} held-out images are too few to check it"


def test_candidates_are_trained_alike_and_the_judge_without_ours(monkeypatch, fitted):
    _, judge, trained = chosen(monkeypatch, fitted, RIGHT)
    models, steps, seeds, batches = zip(*trained, strict=True)
    assert (steps, seeds) == ((5,) * 3, (3,) * 3)
    assert judge is models[0]
    for model in models[1:]:
        assert all(map(torch.equal, model.state_dict().values(), models[0].state_dict().values()))
    for images, labels in batches:
        assert torch.equal(labels, batches[0][1])
        assert images.shape == batches[0][0].shape
    assert not torch.equal(batches[1][0], batches[0][0])


def test_what_is_held_out_is_never_trained_on(monkeypatch, fitted):
    parts = parts_of(HELD)
    marked = parts._replace(held_out=replace(parts.held_out, images=torch.full_like(parts.held_out.images, 77)))
    parts.train.images.zero_()  # moved and averaged black is black
    trained = pretend(monkeypatch, RIGHT, parts.held_out.labels)
    unchanging = Policy(0.0, 1.0, scale=0.0, keep_detail=True)
    choose(fitted, unchanging, marked, steps=5, seed=3, device=CPU)
    assert len(trained) == 3
    assert all(bool((images == 0).all()) for _, _, _, (images, _) in trained[:2])  # the third decodes anew


def test_labels_may_be_any_integers(monkeypatch, fitted):
    parts = parts_of(HELD)
    names = {-3: "across", 5: "down", 90: "slanted"}
    values = torch.tensor(list(names))
    odd = Split(*(FitData(p.images, values[p.labels], names) for p in (parts.train, parts.held_out)))
    infos = tuple(replace(i, label=label) for i, label in zip(fitted.class_infos, names, strict=True))
    bank = VAEBank(replace(fitted.content, class_infos=infos))
    trained = pretend(monkeypatch, RIGHT, parts.held_out.labels)
    policy, _ = choose(bank, DEFAULT, odd, steps=5, seed=3, device=CPU)
    assert set(trained[0][3][1].tolist()) == {0, 1, 2}
    _, _, wanted = chosen(monkeypatch, fitted, RIGHT)
    for (_, _, _, (images, labels)), (_, _, _, (as_ever, answers)) in zip(trained, wanted, strict=True):
        assert torch.equal(images, as_ever)
        assert torch.equal(labels, answers)
    assert "default +0.0 (" in policy.origin


def test_it_runs_and_is_a_function_of_its_seed(fitted):
    parts = parts_of(MANY_HELD_OUT)
    torch.manual_seed(1)
    first = choose(fitted, DEFAULT, parts, steps=3, seed=0, device=CPU)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again = choose(fitted, DEFAULT, parts, steps=3, seed=0, device=CPU)
    assert torch.equal(torch.get_rng_state(), before)
    assert first[0] == again[0]
    assert all(map(torch.equal, first[1].state_dict().values(), again[1].state_dict().values()))


# ---- what candidates are trained on ----

POLICIES = {
    "off": {"p_generate": 0.0, "p_jitter": 0.0},
    "jittered with detail, bent": {"p_jitter": 0.8, "keep_detail": True, "moves": "elastic"},
    "decoded anew, bent": {"p_jitter": 0.8, "keep_detail": False, "moves": "elastic"},
    "generated too": {"p_generate": 0.4, "p_jitter": 0.4, "keep_detail": True, "moves": "affine"},
    "not moved": {"p_generate": 0.2, "p_jitter": 0.5, "keep_detail": True, "moves": "none"},
}


class Bytes:
    """The images of a fit as the uint8 tensors of a dataset."""

    def __init__(self, part):
        self.images, self.targets = part.images, part.labels.tolist()

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.targets[index]


class Pictures(Bytes):
    """The same as PIL images."""

    def __getitem__(self, index):
        return Image.fromarray(self.images[index, 0].numpy().copy()), self.targets[index]


@pytest.mark.filterwarnings("ignore:serving the images as they are")
@pytest.mark.parametrize("kind", [Bytes, Pictures])
@pytest.mark.parametrize("changes", POLICIES.values(), ids=POLICIES)
def test_a_policy_is_tried_on_the_very_images_that_a_wrapper_serves(fitted, kind, changes):
    bank, part = fitted.with_policy(**changes), parts_of(FEW_HELD_OUT).train
    served = Served(bank, part, seed=3)
    ds = VAEAugmentedDataset(kind(part), bank, seed=3, return_source=True)
    sources = set()
    for epoch in range(3):
        ds.set_epoch(epoch)
        for some in torch.randperm(len(part.images), generator=gen(epoch)).split(7):
            tried = served.batch(some, epoch)
            for image, item in zip(tried, some.tolist(), strict=True):
                wanted, label, source = ds[item]
                assert np.array_equal(np.asarray(wanted).reshape(image.shape), image.numpy())
                assert label == part.labels[item]
                sources.add(source)
    shares = {0: 1.0, 1: bank.policy.p_jitter, 2: bank.policy.p_generate}
    assert sources == {source for source, share in shares.items() if share}


def test_batches_go_through_all_images_in_every_epoch(fitted):
    train = parts_of(FEW_HELD_OUT).train
    train = replace(train, images=train.images.repeat(3, 1, 1, 1), labels=train.labels.repeat(3))
    bank = fitted.with_policy(p_generate=0.0, p_jitter=0.0)
    seen = list(islice(policy_selection._batches(bank, train, None, 0), 4))
    assert [len(labels) for _, labels in seen] == [64, 26, 64, 26]
    for pair in (seen[:2], seen[2:]):
        assert torch.cat([labels for _, labels in pair]).bincount().tolist() == [30, 30, 30]
