"""Unlabelled images that the fit took for images of a class, served as items of it."""

import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from tests.conftest import CONFIG, Shapes
from vae_augment import VAEAugmentedDataset, fit
from vae_augment.bank.draws import UNLABELLED
from vae_augment.data import open_data
from vae_augment.data.loading import load_images
from vae_augment.data.source import Source
from vae_augment.exceptions import DataWarning
from vae_augment.fitting import pseudo_labels

FOUND = load_images(Source(Shapes(30, seed=1)), (1, 12, 12))
MORE = TensorDataset(FOUND.images)
PLAIN = {"p_generate": 0.0, "p_jitter": 0.0}


@pytest.fixture(scope="module")
def bank():
    """Fitted with unlabelled images, and moves nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pseudo_labels, "STEPS", 40)
        patch.setattr(pseudo_labels, "ROUNDS", 1)
        return fit(Shapes(10), unlabelled=MORE, config=CONFIG, progress=False).with_policy(moves="none")


def places_of(bank):
    """Places of the images that were taken for each class, by name."""
    counts = bank.data["unlabelled"]["adopted"]
    return dict(zip(counts, bank.content.unlabelled.split(list(counts.values())), strict=True))


def wrapped(bank, base=None, **options):
    return VAEAugmentedDataset(base or Shapes(10), bank, unlabelled=MORE, seed=0, return_source=True, **options)


def test_items_are_images_that_were_taken_for_their_class(bank):
    dataset = wrapped(bank, p_unlabelled=1.0, **PLAIN)
    own = {
        name: {FOUND.images[place].numpy().tobytes() for place in places} for name, places in places_of(bank).items()
    }
    served = set()
    for epoch in range(3):
        dataset.set_epoch(epoch)
        for image, label, source in dataset:
            assert source == UNLABELLED
            content = np.asarray(image).tobytes()
            assert content in own[Shapes.classes[label]]
            served.add(content)
    assert len(served) > 25


def test_the_share_is_the_policys_unless_it_is_told(bank):
    drawings = bank.with_policy(p_unlabelled=0.5, p_generate=0.5, p_jitter=0.4)
    plain = wrapped(drawings)
    assert (plain.p_unlabelled, plain.p_generate, plain.p_jitter) == (0.5, 0.25, 0.2)
    kinds = [item[2] for epoch in range(40) for item in (plain.set_epoch(epoch), list(plain))[1]]
    assert np.bincount(kinds, minlength=4) / len(kinds) == pytest.approx([0.05, 0.2, 0.25, 0.5], abs=0.05)
    told = wrapped(drawings, p_generate=0.7)
    assert (told.p_generate, told.p_unlabelled) == (0.7, pytest.approx(0.3))
    none = wrapped(drawings, p_unlabelled=0.0)
    assert (none.p_unlabelled, none.p_generate, none.p_jitter) == (0.0, 0.5, 0.4)
    first = Shapes.classes[0]
    assert wrapped(drawings, p_unlabelled={first: 0.9}).p_unlabelled == {
        name: 0.9 if name == first else 0.5 for name in Shapes.classes
    }
    thirds = wrapped(drawings, p_generate=0.33, p_jitter=0.56, p_unlabelled=0.11)
    assert (thirds.p_generate, thirds.p_jitter, thirds.p_unlabelled) == (0.33, 0.56, 0.11)
    assert wrapped(drawings, p_generate=0.07, p_unlabelled=0.93).p_jitter == 0.0
    with pytest.raises(ValueError, match=r"p_jitter \+ p_unlabelled must be at most 1, got 0.6 \+ 0.5"):
        wrapped(drawings, p_jitter=0.6, p_unlabelled=0.5)


def test_few_images_are_served_no_more_often_than_labelled_ones(bank):
    few = dict.fromkeys(bank.data["unlabelled"]["adopted"], 0) | {Shapes.classes[1]: 5}
    data = bank.data | {"unlabelled": bank.data["unlabelled"] | {"adopted": few}}
    small = type(bank)(replace(bank.content, data=data, unlabelled=bank.content.unlabelled[:5]))
    dataset = wrapped(small.with_policy(p_unlabelled=0.5), **PLAIN)
    assert dataset.p_unlabelled == {Shapes.classes[0]: 0.0, Shapes.classes[1]: 5 / 15, Shapes.classes[2]: 0.0}
    told = wrapped(small, p_unlabelled={Shapes.classes[1]: 0.9}, **PLAIN)
    assert told.p_unlabelled[Shapes.classes[1]] == 0.9


def test_without_the_images_none_is_served(bank):
    dataset = VAEAugmentedDataset(Shapes(10), bank.with_policy(p_unlabelled=0.5), seed=0, return_source=True)
    assert dataset.p_unlabelled == 0.0
    assert UNLABELLED not in {item[2] for item in dataset}
    with pytest.raises(ValueError, match="p_unlabelled needs unlabelled images"):
        VAEAugmentedDataset(Shapes(10), bank, p_unlabelled=0.5)


def test_other_images_than_those_of_the_fit_are_refused(bank):
    with pytest.raises(ValueError, match="unlabelled must hold the images that the bank was fitted with"):
        VAEAugmentedDataset(Shapes(10), bank, unlabelled=TensorDataset(FOUND.images[1:]))
    with pytest.raises(ValueError, match="fitted without unlabelled images"):
        VAEAugmentedDataset(Shapes(10), bank.subset(Shapes.classes[:3]).subset(Shapes.classes[:2]), unlabelled=MORE)


class Restless(torch.utils.data.Dataset):
    """Images that differ each time they are read."""

    def __len__(self):
        return len(FOUND.images)

    def __getitem__(self, index):
        return FOUND.images[index].roll(int(torch.randint(3, ())), 1)


def test_images_are_known_wherever_they_are_and_however_they_are_held(bank, tmp_path):
    folder = tmp_path / "copied"
    folder.mkdir()
    for place, image in enumerate(FOUND.images):
        Image.fromarray(image[0].numpy()).save(folder / f"{place:03}.png")
    held = [
        open_data(str(folder), labelled=False).dataset,
        [Image.fromarray(image[0].numpy()) for image in FOUND.images],
        torch.utils.data.Subset(MORE, range(len(MORE))),
    ]
    for others in held:
        dataset = VAEAugmentedDataset(Shapes(10), bank, unlabelled=others, p_unlabelled=0.5)
        assert dataset.p_unlabelled == 0.5


@pytest.mark.filterwarnings("ignore:items of Restless differ")
def test_images_that_differ_each_time_are_served_by_a_wrapper_that_fits(monkeypatch, tmp_path):
    monkeypatch.setenv("VAE_AUGMENT_CACHE", str(tmp_path))
    monkeypatch.setattr("vae_augment.wrapper.bank_cache.FitConfig", lambda: CONFIG)
    monkeypatch.setattr(pseudo_labels, "STEPS", 40)
    dataset = VAEAugmentedDataset(Shapes(10), unlabelled=Restless(), p_unlabelled=0.5, return_source=True)
    assert UNLABELLED in {item[2] for item in dataset}


def test_the_share_of_the_policy_stays_beside_far_fewer_images(bank):
    served = bank.with_policy(p_unlabelled=0.5)
    assert served.policy_for([1, 1, 1]).p_unlabelled == 0.5
    one = torch.utils.data.Subset(Shapes(10), range(3))
    assert VAEAugmentedDataset(one, served, unlabelled=MORE).p_unlabelled == 0.5


def test_a_class_of_which_none_was_taken_is_told(bank):
    adopted = bank.data["unlabelled"]["adopted"] | {Shapes.classes[2]: 0}
    data = bank.data | {"unlabelled": bank.data["unlabelled"] | {"adopted": adopted}}
    places = bank.content.unlabelled[: sum(adopted.values())]
    lacking = type(bank)(replace(bank.content, data=data, unlabelled=places))
    with pytest.warns(DataWarning, match="no unlabelled image was taken for 'slanted'"):
        dataset = wrapped(lacking, p_unlabelled=0.5)
    assert dataset.p_unlabelled == {"across": 0.5, "down": 0.5, "slanted": 0.0}


def test_the_card_counts_what_is_served(bank):
    base = torch.utils.data.Subset(Shapes(10), range(8, 30))  # two of the first class, to which eight are added
    shares = {"p_generate": 0.2, "p_jitter": 0.1, "p_unlabelled": 0.5}
    html = VAEAugmentedDataset(base, bank, unlabelled=MORE, sampling_strategy="all", seed=0, **shares)._repr_html_()
    rows = [re.findall(r">(-?\d+)<", row) for row in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)[1:]]
    # items, of them added, jittered, newly generated, unlabelled; added ones in the ratio of the three
    assert rows == [["10", "8", "1", "2", "6"], ["10", "0", "1", "2", "5"], ["10", "0", "1", "2", "5"]]


def test_damaged_places_are_refused(bank, tmp_path):
    damaged = type(bank)(replace(bank.content, unlabelled=-bank.content.unlabelled - 1))
    damaged.save(tmp_path / "bank.safetensors")
    with pytest.raises(ValueError, match=r"unlabelled\.items is out of range"):
        type(bank).load(tmp_path / "bank.safetensors")
    many = type(bank)(replace(bank.content, unlabelled=bank.content.unlabelled + 1000))
    with pytest.raises(ValueError, match="fitted with more unlabelled images"):
        VAEAugmentedDataset(Shapes(10), many, unlabelled=MORE)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16"])
def test_an_image_takes_the_size_and_mode_of_the_item(bank, mode):
    rising = np.linspace(0, 255 if mode != "I;16" else 4000, 40 * 24).reshape(24, 40)
    grey = Image.fromarray(rising.astype(np.uint8 if mode != "I;16" else np.uint16))
    base = [(grey if mode == "I;16" else grey.convert(mode), label) for label in range(3)]
    for (image, _, _), (own, _) in zip(wrapped(bank, base, p_unlabelled=1.0, **PLAIN), base, strict=True):
        assert (image.size, image.mode) == (own.size, own.mode)
        assert np.asarray(image).max() > 100


def test_workers_and_copies_serve_the_same(bank):
    dataset = wrapped(bank, p_unlabelled=0.5)
    alone = [item[0] for item in dataset]
    loaded = [item[0] for item in DataLoader(dataset, batch_size=None, num_workers=2)]
    again = [item[0] for item in pickle.loads(pickle.dumps(dataset))]
    for a, b, c in zip(alone, loaded, again, strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes() == np.asarray(c).tobytes()


def test_added_items_are_unlabelled_too(bank):
    base = torch.utils.data.Subset(Shapes(10), range(3, 30))
    dataset = wrapped(bank, base, p_unlabelled=0.5, sampling_strategy="all", **PLAIN)
    assert {item[2] for item, added in zip(dataset, dataset.is_synthetic, strict=True) if added} == {UNLABELLED}
