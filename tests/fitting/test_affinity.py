"""Jitter is left out where it takes images for those of another class."""

from dataclasses import replace

import pytest
import torch

from tests.conftest import Shapes
from vae_augment.data.loading import FitData
from vae_augment.fitting import affinity, cross_validation
from vae_augment.fitting.affinity import DRAWS, recognised
from vae_augment.fitting.cross_validation import CrossValidation
from vae_augment.fitting.move_selection import LEAST_TRYING

SOME = {"steps": LEAST_TRYING, "seed": 0, "device": torch.device("cpu")}


@pytest.fixture
def data(monkeypatch):
    for name, value in {"STEPS": 100, "EPOCHS": 0, "CLASS_STEPS": 0}.items():
        monkeypatch.setattr(cross_validation, name, value)
    shapes = Shapes(10)
    return FitData(
        torch.from_numpy(shapes.data)[:, None], torch.tensor(shapes.targets), dict(enumerate(shapes.classes))
    )


def policy_of(bank, **values):
    return replace(bank.policy, **{"p_generate": 0.0, "p_jitter": 1.0, "keep_detail": True, "vae": True, **values})


def judged(monkeypatch, lost, over_chance=(1.0, 0.1)):
    """A loss in place of that of classifiers; returns a list of the images that they are shown."""
    seen = []
    monkeypatch.setattr(CrossValidation, "judge", lambda *_: None)
    monkeypatch.setattr(CrossValidation, "over_chance", lambda *_: over_chance)
    monkeypatch.setattr(
        CrossValidation, "predicted", lambda _, name, images: seen.append(images) or torch.zeros(len(images), 3)
    )
    monkeypatch.setattr(CrossValidation, "difference", lambda *_: (lost, 0.0))
    return seen


ADDS = "by what jitter adds to the log-loss of images on folds:"


@pytest.mark.parametrize(
    ("lost", "kept", "told"),
    [
        (-0.01, True, f"jittered, {ADDS} -0.010"),
        (0.1, True, "jittered, "),
        (0.3, False, f"not jittered after all, {ADDS} +0.300"),
    ],
)
def test_jitter_is_left_out_where_images_are_no_longer_known(monkeypatch, bank, data, lost, kept, told):
    seen = judged(monkeypatch, lost)
    policy = policy_of(bank, scale=0.8, smooth=True)
    found = recognised(policy, bank.content, data, **SOME)
    assert found.origin.startswith(f"{policy.origin}; {told}")
    assert replace(found, origin="") == replace(policy if kept else policy.without_vae(), origin="")
    before, *jittered = seen
    assert torch.equal(before, data.images)
    assert len({images.numpy().tobytes() for images in seen}) == 1 + len(jittered) == 1 + DRAWS
    assert {(images.dtype, images.shape) for images in jittered} == {(torch.uint8, data.images.shape)}


def test_images_of_classes_that_the_bank_lacks_are_not_jittered(monkeypatch, bank, data):
    seen = judged(monkeypatch, 0.0)
    recognised(policy_of(bank), bank.subset(["down"]).content, data, **SOME)
    own = data.labels == bank.class_to_idx["down"]
    for images in seen[1:]:
        assert torch.equal(images[~own], data.images[~own])
        assert not torch.equal(images[own], data.images[own])


def test_classifiers_that_tell_nothing_apart_lose_nothing_and_the_policy_stands(monkeypatch, bank, data):
    judged(monkeypatch, 0.9, over_chance=(0.2, 0.1))
    policy = policy_of(bank)
    assert recognised(policy, bank.content, data, **SOME) is policy


def test_images_of_classes_that_are_in_no_fold(bank, data):
    alike = FitData(data.images[[0] * 10 + [10] * 10 + [20] * 10], data.labels, data.names)
    policy = policy_of(bank)
    assert recognised(policy, bank.content, alike, **SOME) is policy


def test_the_same_policy_every_time_and_on_any_number_of_threads(bank, data, threads):
    policy = policy_of(bank, scale=2.0)
    found = set()
    for count in (1, 2):
        threads(count)
        found.add(recognised(policy, bank.content, data, **SOME).origin)
    assert len(found) == 1


@pytest.mark.parametrize("change", [{"vae": False}, {"p_jitter": 0.0}])
def test_what_is_not_jittered_is_not_tried(bank, data, change):
    policy = policy_of(bank, **change)
    assert recognised(policy, bank.content, data, **SOME) is policy


def test_too_few_steps_or_images_are_not_tried(bank, data):
    policy = policy_of(bank)
    assert recognised(policy, bank.content, data, **SOME | {"steps": LEAST_TRYING - 1}) is policy
    few = FitData(data.images[::5], data.labels[::5], data.names)
    assert recognised(policy, bank.content, few, **SOME) is policy


def test_too_many_images_are_not_tried(monkeypatch, bank, data):
    monkeypatch.setattr(affinity, "MOST_IMAGES", len(data.images) - 1)
    policy = policy_of(bank)
    assert recognised(policy, bank.content, data, **SOME) is policy
