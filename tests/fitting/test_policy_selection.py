from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from tests.conftest import CONFIG, Shapes
from vae_augment import VAEAugmentedDataset, VAEBank, fit
from vae_augment.bank.policy import Policy
from vae_augment.data.loading import FitData
from vae_augment.fitting import policy_selection
from vae_augment.fitting.classifier import SmallCNN
from vae_augment.fitting.cross_validation import JUDGES
from vae_augment.fitting.policy_selection import (
    FEW_HELD_OUT,
    HELD_OUT,
    LEAST_HELD_OUT,
    LEAST_TRIED,
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

HELD = MANY_HELD_OUT
FEWER = MANY_HELD_OUT - 1
SURE = {"moves": 1.0, "jitter": 1.0, "jitter without detail": 1.0}  # logit of the right class, by candidate


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


def pretend(monkeypatch, sure, answers):
    """Classifiers are not trained, and are so sure of the right class, among noise that is the same for all."""
    trained = []
    noise = torch.randn(len(answers), 3, generator=gen(5))

    def train(jobs, *, steps):
        trained.extend((job.model, steps, job.seed, next(job.batches())) for job in jobs)
        return [job.model for job in jobs]

    def logits(model, images):
        place = next(i for i, (each, *_) in enumerate(trained) if each is model)
        name = list(sure)[place // len(JUDGES)]
        return noise + sure[name] * F.one_hot(answers, 3)

    monkeypatch.setattr(policy_selection, "train_classifiers", train)
    monkeypatch.setattr(policy_selection, "logits", logits)
    return trained


def chosen(monkeypatch, bank, sure, *, default=DEFAULT, held_out=HELD, steps=100):
    parts = parts_of(held_out)
    trained = pretend(monkeypatch, sure, parts.held_out.labels)
    policy, judge = choose(bank, default, parts, steps=steps, seed=3, device=CPU)
    return policy, judge, trained


@pytest.mark.parametrize(
    ("changes", "vae", "told"),
    [
        ({}, True, "with the VAE, jitter, "),
        ({"jitter": 1.5}, True, "with the VAE, jitter, "),
        ({"jitter": 0.95, "jitter without detail": 0.95}, False, "without the VAE, "),
    ],
)
def test_the_vae_stays_unless_moves_alone_are_better(monkeypatch, fitted, changes, vae, told):
    policy, _, _ = chosen(monkeypatch, fitted, {**SURE, **changes})
    wanted = DEFAULT if vae else DEFAULT.without_vae()
    assert policy == replace(wanted, origin=policy.origin)
    assert policy.origin.startswith(f"default; {told}log-loss of {HELD} held-out images over moves alone: jitter ")


@pytest.mark.parametrize(("steps", "apart"), [(5, 3.0), (100, 0.0)])
def test_where_images_are_seen_few_times_moves_alone_must_be_clearly_better(monkeypatch, fitted, steps, apart):
    asked = []
    monkeypatch.setattr(policy_selection, "_decide", lambda *given: asked.append(given[-1]) or given[0])
    chosen(monkeypatch, fitted, SURE, steps=steps)
    assert asked == [apart]


@pytest.mark.parametrize(
    ("worse", "apart", "vae"), [(1, 3.0, True), (1, 0.0, False), (2.9, 3.0, True), (3.1, 3.0, False)]
)
def test_jitter_stays_unless_moves_alone_are_so_many_standard_errors_better(worse, apart, vae):
    alone, noise = torch.zeros(200, dtype=torch.float64), torch.randn(200, generator=gen(), dtype=torch.float64)
    noise = (noise - noise.mean()) / noise.std() * 200**0.5  # a standard error of 1
    found = policy_selection._decide(DEFAULT, {"jitter": DEFAULT}, {"jitter": noise + worse}, alone, alone + 1, apart)
    assert found.vae == vae


@pytest.mark.parametrize(("jitter", "vae"), [(1.0, False), (0.5, False), (1.5, True)])
def test_where_the_default_leaves_the_vae_out_it_must_be_better_to_come_in(monkeypatch, fitted, jitter, vae):
    default = DEFAULT.without_vae()
    policy, _, trained = chosen(monkeypatch, fitted, {"moves": 1.0, "jitter": jitter}, default=default, held_out=FEWER)
    assert policy == replace(default, vae=vae, origin=policy.origin)
    assert len(trained) == 2 * len(JUDGES)


def test_another_form_of_jitter_takes_its_place_where_it_is_better(monkeypatch, fitted):
    policy, _, _ = chosen(monkeypatch, fitted, {**SURE, "jitter without detail": 2.0})
    assert policy == replace(DEFAULT, keep_detail=False, origin=policy.origin)
    assert "; with the VAE, jitter without detail, log-loss of " in policy.origin


def test_nothing_is_tried_where_nothing_is_augmented(monkeypatch, fitted):
    off = replace(DEFAULT, p_generate=0.0, p_jitter=0.0, moves="none")
    policy, judge, trained = chosen(monkeypatch, fitted, {"moves": 1.0}, default=off)
    assert policy == off
    assert isinstance(judge, SmallCNN)
    assert len(trained) == 1


@pytest.mark.parametrize(("vae", "told"), [(True, "with"), (False, "without")])
def test_few_held_out_images_try_nothing_and_the_default_stands(monkeypatch, fitted, vae, told):
    default, few = replace(DEFAULT, vae=vae), LEAST_TRIED - 1
    policy, judge, trained = chosen(monkeypatch, fitted, {"moves": 1.0}, default=default, held_out=few)
    wanted = f"default; {told} the VAE, untried on as few as {few} held-out images"
    assert policy == replace(default, origin=wanted)
    assert isinstance(judge, SmallCNN)
    assert len(trained) == 1
    assert len(chosen(monkeypatch, fitted, SURE, held_out=LEAST_TRIED)[2]) == 2 * len(JUDGES)


def test_fewer_held_out_images_compare_fewer_candidates(monkeypatch, fitted):
    assert len(chosen(monkeypatch, fitted, SURE, held_out=FEWER)[2]) == 2 * len(JUDGES)
    assert len(chosen(monkeypatch, fitted, SURE, held_out=HELD)[2]) == 3 * len(JUDGES)


def test_candidates_are_trained_alike_and_the_judge_without_the_vae(monkeypatch, fitted):
    _, judge, trained = chosen(monkeypatch, fitted, SURE)
    models, steps, seeds, batches = zip(*trained, strict=True)
    assert (set(steps), set(seeds)) == ({100}, {3})
    assert judge is models[0]
    for place, model in enumerate(models):
        first = models[place % len(JUDGES)]
        assert isinstance(model, JUDGES[place % len(JUDGES)])
        assert all(map(torch.equal, model.state_dict().values(), first.state_dict().values()))
    for images, labels in batches:
        assert torch.equal(labels, batches[0][1])
        assert images.shape == batches[0][0].shape
    assert not torch.equal(batches[2][0], batches[0][0])


def test_what_is_held_out_is_never_trained_on(monkeypatch, fitted):
    parts = parts_of(HELD)
    marked = parts._replace(held_out=replace(parts.held_out, images=torch.full_like(parts.held_out.images, 77)))
    parts.train.images.zero_()  # moved black is black
    trained = pretend(monkeypatch, SURE, parts.held_out.labels)
    choose(fitted, replace(DEFAULT, scale=1e-9), marked, steps=5, seed=3, device=CPU)
    assert all(bool((images == 0).all()) for _, _, _, (images, _) in trained[:2])


def test_labels_may_be_any_integers(monkeypatch, fitted):
    parts = parts_of(HELD)
    names = {-3: "across", 5: "down", 90: "slanted"}
    values = torch.tensor(list(names))
    odd = Split(*(FitData(p.images, values[p.labels], names) for p in (parts.train, parts.held_out)))
    infos = tuple(replace(i, label=label) for i, label in zip(fitted.class_infos, names, strict=True))
    bank = VAEBank(replace(fitted.content, class_infos=infos))
    trained = pretend(monkeypatch, SURE, parts.held_out.labels)
    policy, _ = choose(bank, DEFAULT, odd, steps=5, seed=3, device=CPU)
    assert set(trained[0][3][1].tolist()) == {0, 1, 2}
    as_ever, _, wanted = chosen(monkeypatch, fitted, SURE)
    assert policy == as_ever
    for (_, _, _, (images, labels)), (_, _, _, (usual, answers)) in zip(trained, wanted, strict=True):
        assert torch.equal(images, usual)
        assert torch.equal(labels, answers)


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
@pytest.mark.parametrize("rare", [None, 3])
@pytest.mark.parametrize("kind", [Bytes, Pictures])
@pytest.mark.parametrize("changes", POLICIES.values(), ids=POLICIES)
def test_a_policy_is_tried_on_the_very_images_that_a_wrapper_serves(fitted, kind, changes, rare):
    bank, part = fitted.with_policy(**changes), parts_of(FEW_HELD_OUT).train
    if rare is not None:  # the first class has so few images, which the wrapper is to fill up
        kept = (part.labels != 0) | ((part.labels == 0).cumsum(0) <= rare)
        part = FitData(part.images[kept], part.labels[kept], part.names)
    served = Served(bank, part, seed=3)
    ds = VAEAugmentedDataset(kind(part), bank, sampling_strategy="not majority", seed=3, return_source=True)
    assert len(ds) == len(served.origin)
    assert (len(ds) > len(part.images)) == (rare is not None)
    sources = set()
    for epoch in range(3):
        ds.set_epoch(epoch)
        for some in torch.randperm(len(ds), generator=gen(epoch)).split(7):
            tried = served.batch(some, epoch)
            for image, item in zip(tried, some.tolist(), strict=True):
                wanted, label, source = ds[item]
                assert np.array_equal(np.asarray(wanted).reshape(image.shape), image.numpy())
                assert label == part.labels[served.origin[item]]
                if item < len(part.images):
                    sources.add(source)
    shares = {0: 1.0, 1: bank.policy.p_jitter, 2: bank.policy.p_generate}
    assert sources == {source for source, share in shares.items() if share}


def test_batches_go_through_the_images_in_every_epoch_but_for_a_short_last_one(fitted):
    labels = torch.arange(90) % 3
    images = torch.arange(90, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 12, 12).contiguous()
    train = FitData(images, labels, {label: str(label) for label in range(3)})
    seen = list(islice(policy_selection._batches(fitted, DEFAULT.without_vae(), train, 0), 4))
    assert [len(labels) for _, labels in seen] == [32] * 4
    epochs = [torch.cat([images[:, 0, 0, 0] for images, _ in pair]).tolist() for pair in (seen[:2], seen[2:])]
    assert [len(set(epoch)) for epoch in epochs] == [64, 64]
    assert set(epochs[0]) != set(epochs[1])


@pytest.mark.parametrize(
    ("best", "chosen", "said"),
    [
        ("generated images", 0.5, "; more; with the VAE, generated images, log-loss of"),
        ("jitter", 0.0, "default; with the VAE, jitter, log-loss of"),
        ("moves alone", 0.0, "default; without the VAE, log-loss of"),
    ],
)
def test_generated_images_are_tried_against_jitter_and_moves_alone(best, chosen, said):
    default = Policy(0.0, 0.85, moves="elastic", origin="default")
    instead = replace(default, p_generate=0.5, p_jitter=0.425, origin="default; more")
    candidates = {"generated images": instead, "jitter": default}
    noise = torch.rand(200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    losses = {name: noise + (0.2 if name != best else 0.0) for name in (*candidates, "moves alone")}
    alone, weight = losses.pop("moves alone"), torch.ones(200, dtype=torch.float64)
    found = policy_selection._decide(default, candidates, losses, alone, weight, apart=0.0)
    assert found.p_generate == chosen
    assert said in found.origin
    assert found.p_jitter == (0.425 if best == "generated images" else 0.85)
