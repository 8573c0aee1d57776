"""Datasets that call their transforms sometimes, oddly, or keep what they returned: nothing of the caller's changes."""

from __future__ import annotations

import functools
import multiprocessing
import pickle
import random
import warnings
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import Compose, ToTensor

from tests.conftest import CONFIG
from vae_augment import VAEAugmentedDataset, evaluate, fit
from vae_augment.data.source import Source
from vae_augment.exceptions import DataWarning

COUNT, RARE = 30, 2  # images of three classes; the class of the last


class Doubled:
    """A transform that counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, image):
        self.calls += 1
        return Image.fromarray(np.asarray(image) * 2)


class Pictures:
    """Images L [12, 12] of value 10 + item, labelled 0, 0, ..., 1, 1, ..., 2."""

    def __init__(self, transform=None, **attributes):
        self.transform = Doubled() if transform is None else transform
        self.targets = [min(i // 14, RARE) for i in range(COUNT)]
        self.__dict__.update(attributes)

    def __len__(self):
        return COUNT

    def image(self, i):
        return Image.fromarray(np.full((12, 12), 10 + i, np.uint8))


def value(image):
    return int(np.asarray(image).max())


class Always(Pictures):
    def __getitem__(self, i):
        return self.transform(self.image(i)), self.targets[i]


class Beforehand(Pictures):
    def __init__(self):
        super().__init__()
        self.made = [self.transform(self.image(i)) for i in range(COUNT)]

    def __getitem__(self, i):
        return self.made[i], self.targets[i]


class InTraining(Pictures):
    train = False

    def __getitem__(self, i):
        image = self.image(i)
        return self.transform(image) if self.train else image, self.targets[i]


class OfRareClasses(Pictures):
    def __getitem__(self, i):
        image = self.image(i)
        return self.transform(image) if self.targets[i] == RARE else image, self.targets[i]


class OfOneItem(Pictures):
    def __getitem__(self, i):
        image = self.image(i)
        return self.transform(image) if i == 17 else image, self.targets[i]


class WithPhase(Pictures):
    def __init__(self):
        super().__init__(lambda image, phase: Image.fromarray(np.asarray(image) * {"train": 2, "val": 3}[phase]))
        self.phase = "train"

    def __getitem__(self, i):
        return self.transform(self.image(i), self.phase), self.targets[i]


class WithPhaseByKeyword(WithPhase):
    def __getitem__(self, i):
        return self.transform(self.image(i), phase="val"), self.targets[i]


class OfDicts(Pictures):
    """As in PyTorch's tutorial: a transform of whole items, which are dicts, and items that are not."""

    def __init__(self):
        super().__init__(lambda sample: {**sample, "image": Image.fromarray(np.asarray(sample["image"]) * 2)})

    def __getitem__(self, i):
        sample = self.transform({"image": self.image(i), "label": self.targets[i]})
        return sample["image"], sample["label"], i


class Asking(Pictures):
    """A dataset that asks for its transform's class and attributes."""

    def __init__(self):
        super().__init__(Compose([lambda image: Image.fromarray(np.asarray(image) * 2)]))

    def __getitem__(self, i):
        if not isinstance(self.transform, Compose) or len(self.transform.transforms) != 1:
            raise TypeError("a Compose is needed")
        return self.transform(self.image(i)), self.targets[i]


CALLING = [Always, Beforehand, InTraining, OfRareClasses, OfOneItem, WithPhase, WithPhaseByKeyword, OfDicts, Asking]


@pytest.mark.parametrize("kind", CALLING)
def test_synthetic_images_go_through_transforms_where_real_ones_do(kind):
    dataset = kind()
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        source = Source(dataset)
    for i in range(COUNT):
        sample = source.raw(i)
        item = source.finish(i, sample, sample.image)
        assert value(item[0]) == value(dataset[i][0])
        assert item[1:] == dataset[i][1:]
        assert source.stable


def test_a_transform_called_half_of_the_time_is_called_as_often_for_synthetic_images():
    class Halves(Pictures):
        def __getitem__(self, i):
            image = self.image(i)
            return self.transform(image) if random.random() < 0.5 else image, self.targets[i]

    source, random_state = Source(Halves()), random.Random(0)
    random.seed(random_state.random())
    made = [value(source.finish(0, sample, sample.image)[0]) for sample in (source.raw(0) for _ in range(200))]
    assert set(made) == {10, 20}
    assert 60 < made.count(20) < 140
    assert {value(source.raw(0).image) for _ in range(50)} == {10}


# ---- datasets that keep items ----


class Keeping(Pictures):
    """A dataset that keeps whole items, in a way that its subclasses have."""

    def __getitem__(self, i):
        kept = self.get(i)
        if kept is None:
            kept = self.transform(self.image(i)), self.targets[i]
            self.put(i, kept)
        return kept

    def get(self, i):
        return self.cache.get(i)

    def put(self, i, item):
        self.cache[i] = item


class InDict(Keeping):
    def __init__(self):
        super().__init__(cache={})


class InOrderedDict(Keeping):
    def __init__(self):
        super().__init__(cache=OrderedDict())

    def put(self, i, item):
        self.cache[i] = item
        if len(self.cache) > 5:
            self.cache.popitem(last=False)


class InList(Keeping):
    def __init__(self):
        super().__init__(cache=[None] * COUNT)

    def get(self, i):
        return self.cache[i]


class InInnerDict(Keeping):
    def __init__(self):
        super().__init__(inner=defaultdict(dict))

    @property
    def cache(self):
        return self.inner["items"]


class Box:
    def __init__(self):
        self.items = {}


class InObject(InInnerDict):
    def __init__(self):
        Keeping.__init__(self, box=Box())

    @property
    def cache(self):
        return self.box.items


class InClass(Keeping):
    cache: ClassVar = {}


IN_MODULE = {}


class InModule(Keeping):
    @property
    def cache(self):
        return IN_MODULE


class InManager(Keeping):
    def __init__(self):
        manager = multiprocessing.get_context("spawn").Manager()
        super().__init__(cache=manager.dict())
        type(self).manager = manager

    def put(self, i, item):
        self.cache[i] = item


class OnDisk(Keeping):
    def __init__(self, folder):
        super().__init__(folder=folder)

    def get(self, i):
        path = self.folder / f"{i}.png"
        return (Image.open(path).copy(), self.targets[i]) if path.exists() else None

    def put(self, i, item):
        item[0].save(self.folder / f"{i}.png")


class InArray(Keeping):
    def __init__(self):
        super().__init__(pixels=np.zeros((COUNT, 12, 12), np.uint8))

    def get(self, i):
        return (Image.fromarray(self.pixels[i]), self.targets[i]) if self.pixels[i].any() else None

    def put(self, i, item):
        self.pixels[i] = np.asarray(item[0])


class OfFunction(Pictures):
    @functools.cache  # noqa: B019
    def kept(self, i):
        return self.transform(self.image(i))

    def __getitem__(self, i):
        return self.kept(i), self.targets[i]


KEEPING = [InDict, InOrderedDict, InList, InInnerDict, InObject, InClass, InModule, InManager, OnDisk, InArray]
KEEPING.append(OfFunction)


def snapshot(value):
    """All that an object holds, deeply, as something to compare."""
    if isinstance(value, Image.Image):
        return value.mode, value.tobytes()
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, Doubled):  # it counts the calls for items that are served
        return "transform"
    if isinstance(value, Path):
        return sorted((file.name, file.read_bytes(), file.stat().st_mtime_ns) for file in value.iterdir())
    if hasattr(value, "items") and callable(value.items):
        return [(key, snapshot(held)) for key, held in value.items()]
    if isinstance(value, (list, tuple)):
        return [snapshot(held) for held in value]
    return snapshot(vars(value)) if hasattr(value, "__dict__") else value


def held_by(dataset):
    return snapshot([vars(dataset), InClass.cache, IN_MODULE])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::vae_augment.exceptions.VAEAugmentWarning")
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("kind", KEEPING)
def test_a_dataset_and_what_it_keeps_are_never_changed(kind, warm, bank, tmp_path):
    for shared in (InClass.cache, IN_MODULE):
        shared.clear()
    dataset = kind(tmp_path) if kind is OnDisk else kind()
    _ = [dataset[i] for i in range(COUNT if warm else 0)]
    before = held_by(dataset)
    fit(dataset, config=CONFIG, progress=False)
    evaluate(dataset, arms=("none", "ours"), seeds=1, steps=2, config=CONFIG, progress=False)
    wrapped = VAEAugmentedDataset(dataset, bank, p_generate=0.3, p_jitter=0.3, seed=1, return_source=True)
    items = [wrapped[i % COUNT] for i in range(100)]
    if warm or kind in (InDict, InOrderedDict, InList):  # these are the dataset's alone, and copied with it
        assert held_by(dataset) == before
    assert all(value(image) == 2 * (10 + i % COUNT) for i, (image, _, made) in enumerate(items) if made == 0)
    assert all(isinstance(item[0], Image.Image) for item in items)
    assert {made for *_, made in items} == {0, 1, 2}
    # What it has read meanwhile it keeps as it would have kept it anyway.
    assert [(value(dataset[i][0]), dataset[i][1]) for i in range(COUNT)] == [
        (2 * (10 + i), dataset.targets[i]) for i in range(COUNT)
    ]


def test_looking_draws_nothing_and_calls_a_copy_of_the_transform():
    class Drawn(Doubled):
        def __call__(self, image):
            random.random(), np.random.rand(), torch.rand(1)
            return super().__call__(image)

    dataset = Always(Drawn())
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    Source(dataset)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states
    assert dataset.transform.calls == 0


def test_a_stand_in_looks_like_the_transform_and_can_be_pickled_with_it():
    source = Source(Asking())
    assert pickle.loads(pickle.dumps(Source(Always(ToTensor())))).raw(3).image.size == (12, 12)
    assert value(source.raw(1).image) == 11
