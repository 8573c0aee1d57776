"""A bank for others: nothing of a single image in it, and attacks on what it gives away."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from tests.conftest import CONFIG, Shapes
from vae_augment import FitConfig, VAEAugmentedDataset, VAEBank, fit
from vae_augment.bank.metadata import Membership
from vae_augment.bank.notebook import bank_card
from vae_augment.data.loading import load_images
from vae_augment.data.source import Source
from vae_augment.exceptions import FitWarning, LeakageWarning
from vae_augment.fitting import membership

SHARED = replace(CONFIG, share=True)
HIDDEN = Membership(300, [0.5, 0.45, 0.55], [0.52, 0.47, 0.57], 0.1, 0.1)


def quick(dataset, config=SHARED, **options):
    return fit(dataset, config=config, progress=False, **options)


@pytest.fixture(scope="module")
def shared():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vae_augment.fitting.attack", lambda *_: HIDDEN)
        return quick(Shapes(20))


def test_a_bank_to_share_holds_no_code_and_has_not_seen_a_tenth(shared, tmp_path):
    assert not shared.stats.counts.any()
    assert shared.config.exemplars == 0
    assert shared.policy.method == "gaussian"
    assert [info.images for info in shared.class_infos] == [18, 18, 18]
    assert shared.data["membership"] == asdict(HIDDEN)
    shared.save(tmp_path / "bank.safetensors")
    assert VAEBank.load(tmp_path / "bank.safetensors").data == shared.data
    assert "area under the ROC curve of 0.50 (0.45 to 0.55)" in bank_card(shared)


def test_the_images_left_out_change_nothing_in_the_bank(monkeypatch):
    monkeypatch.setattr("vae_augment.fitting.attack", lambda *_: HIDDEN)
    data = load_images(Source(Shapes(20)), (1, 12, 12))
    left_out = membership.hold_out(data, seed=0)[1].images
    other = Shapes(20)
    for place, image in enumerate(data.images):
        if (image == left_out).flatten(1).all(1).any():
            other.data[place] = 255 - other.data[place]
    assert torch.equal(quick(other).content.weights.values, quick(Shapes(20)).content.weights.values)


def test_copies_are_not_attacked():
    data = load_images(Source(Shapes(20)), (1, 12, 12))
    twice = data.joined(data)
    kept, out = membership.hold_out(twice, seed=0)
    assert len(kept.images) == 120 - 12
    assert len(out.images) < 12
    assert not {image.numpy().tobytes() for image in out.images} & {image.numpy().tobytes() for image in kept.images}


def test_copied_images_are_told_apart():
    """A bank whose training images are all it makes."""

    class Copies:
        classes, class_infos = ("a",), [type("Info", (), {"label": 0, "name": "a"})]

        def __init__(self, images):
            self.images = images

        def sample(self, labels, generator):
            return self.images[torch.randint(len(self.images), (len(labels),), generator=generator)]

        def reconstruct(self, images, labels):
            known = (images[:, None] == self.images).flatten(2).all(2).any(1)
            return torch.where(known[:, None, None, None], images.float() / 255, torch.zeros(()))

    data = load_images(Source(Shapes(60)), (1, 12, 12))
    data = replace(data, labels=torch.zeros_like(data.labels), names={0: "a"})
    train, held_out = membership.hold_out(data, seed=0)
    found = membership.attack(Copies(train.images), train, held_out, seed=0)
    assert found.images == len(held_out.images) == 18
    assert found.reconstruction[0] == found.generated[0] == 1.0
    assert found.tells
    assert found.made_distance == 0 < found.real_distance
    assert not found.hides


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_area_is_that_of_the_ranks_and_its_interval_covers(shift):
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        inside, outside = np.round(random.normal(shift, 1, 60), 1), np.round(random.normal(0, 1, 60), 1)
        area, low, high = membership._area([(torch.from_numpy(inside), torch.from_numpy(outside))])
        assert area == pytest.approx(roc_auc_score([1] * 60 + [0] * 60, np.concatenate([inside, outside])), abs=1e-4)
        covered += low <= {0.0: 0.5, 1.0: 0.7602}[shift] <= high
    assert covered >= 180


def told_apart(images, classes):
    """The outcome where one side's images of each class all score higher, on a scale of the class's own."""
    scores = [(torch.arange(images) + 2.0**images, torch.arange(images).float()) for _ in range(classes)]
    return membership._area([(own * 10**k, others * 10**k) for k, (own, others) in enumerate(scores)])


@pytest.mark.parametrize(("images", "classes", "tells"), [(1, 1, False), (2, 1, False), (1, 3, False), (5, 10, True)])
def test_few_images_left_out_say_little(images, classes, tells):
    area = told_apart(images, classes)
    assert area[0] == 1.0
    found = replace(HIDDEN, generated=area)
    assert found.tells == tells
    assert not found.hides


@pytest.mark.parametrize("count", [1, 4, 30])
def test_what_is_told_by_chance_is_seldom_said_to_be(count):
    random = torch.Generator().manual_seed(0)
    sides = ((torch.randn(count, generator=random), torch.randn(count, generator=random)) for _ in range(10**6))
    found = [membership._area([next(sides) for _ in range(3)]) for _ in range(300)]
    assert sum(replace(HIDDEN, generated=area).tells for area in found) <= 300 * 0.06


def test_a_bank_that_gives_its_images_away_warns(monkeypatch):
    told = replace(HIDDEN, generated=[0.7, 0.6, 0.8])
    monkeypatch.setattr("vae_augment.fitting.attack", lambda *_: told)
    with pytest.warns(FitWarning, match="others can tell which images this bank was fitted on"):
        bank = quick(Shapes(20))
    with pytest.warns(LeakageWarning):
        VAEAugmentedDataset(Shapes(3, seed=5), bank)


def test_beside_other_data_a_bank_that_hides_its_images_is_no_leak(shared, recwarn):
    VAEAugmentedDataset(Shapes(3, seed=5), shared)
    assert not [each for each in recwarn if each.category is LeakageWarning]


def test_classes_of_one_image_are_not_attacked():
    with pytest.warns(FitWarning, match="no class has an image to leave out"):
        assert "membership" not in quick(Shapes(1)).data


def test_banks_made_of_one_to_share_say_no_more_that_they_are(shared):
    ordinary = quick(Shapes(4), config=CONFIG).subset([0])
    assert not VAEBank.merge(shared.subset([1, 2]), ordinary).config.share
    extended = quick(Shapes(4), config=FitConfig(), start=shared)
    assert not extended.config.share
    assert extended.config.exemplars == 0
    assert "membership" not in extended.data


def test_a_bank_to_share_is_fitted_from_nothing(shared):
    with pytest.raises(ValueError, match="leave start out"):
        quick(Shapes(3), start=shared)
    with pytest.raises(ValueError, match="share=True needs sharing='warm-start'"):
        FitConfig(share=True, sharing="none")
    with pytest.raises(ValueError, match="share must be True or False"):
        FitConfig(share=1)


@pytest.mark.parametrize(
    "change",
    [{"generated": [0.5, 0.4]}, {"reconstruction": [0.5, 0.4, "x"]}, {"images": -1}, {"generated": [0.9, 0.95, 1]}],
)
def test_impossible_figures_are_refused(shared, tmp_path, change):
    path = tmp_path / "bank.safetensors"
    shared.with_data(membership=asdict(HIDDEN) | change).save(path)
    with pytest.raises(ValueError, match=r"data\.membership"):
        VAEBank.load(path)
