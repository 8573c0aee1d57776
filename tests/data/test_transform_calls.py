"""Datasets that call their transforms sometimes, oddly, or keep what they returned: nothing of the caller's changes."""

from __future__ import annotations

import functools
import multiprocessing
import pickle
import random
import warnings
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
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
    # It keeps items that were read meanwhile as it would have kept them anyway.
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


# ---- further ways to keep items, and to be copied ----


class Bounded(Keeping):
    """Keeps few items, or some alone, or what is read often, in an object that its copies share."""

    def __init__(self, most=COUNT, only=(), after=1):
        super().__init__(box=Box(), most=most, only=only, after=after, reads=Box())

    def get(self, i):
        return self.box.items.get(i)

    def put(self, i, item):
        reads = self.reads.items
        reads[i] = reads.get(i, 0) + 1
        if reads[i] >= self.after and (not self.only or i in self.only):
            self.box.items[i] = item
            if len(self.box.items) > self.most:
                del self.box.items[next(iter(self.box.items))]


class LastAlone(Keeping):
    def __init__(self):
        super().__init__(last=[-1, None])

    def get(self, i):
        return self.last[1] if self.last[0] == i else None

    def put(self, i, item):
        self.last[:] = i, item


class Few(Pictures):
    @functools.lru_cache(maxsize=4)  # noqa: B019
    def __getitem__(self, i):
        return self.transform(self.image(i)), self.targets[i]


FURTHER = {
    "few": lambda: Bounded(most=5),
    "some alone": lambda: Bounded(only=(3, 14, 23)),
    "from the third read on": lambda: Bounded(after=3),
    "the last alone": LastAlone,
    "a bounded function": Few,
}


@pytest.mark.filterwarnings("ignore::vae_augment.exceptions.VAEAugmentWarning")
@pytest.mark.parametrize("make", FURTHER.values(), ids=FURTHER)
def test_what_is_kept_in_part_is_not_spoilt(make, bank):
    dataset = make()
    wrapped = VAEAugmentedDataset(dataset, bank, p_generate=0.3, p_jitter=0.3, seed=1, return_source=True)
    for _ in range(4):
        items = [wrapped[i] for i in range(COUNT)]
        assert all(value(item[0]) == 2 * (10 + i) for i, item in enumerate(items) if item[2] == 0)
    assert [value(dataset[i][0]) for i in range(COUNT)] == [2 * (10 + i) for i in range(COUNT)]


@pytest.mark.parametrize("read", [[5], range(20)])
def test_a_dataset_that_keeps_some_items_already_is_what_it_returns(read):
    dataset = InDict()
    _ = [dataset[i] for i in read]
    with pytest.warns(DataWarning, match="it keeps what they returned"):
        source = Source(dataset)
    assert [value(source.raw(i).image) for i in range(COUNT)] == [2 * (10 + i) for i in range(COUNT)]
    assert [*dataset.cache] == [*read]


def test_a_new_transform_replaces_what_was_kept(bank):
    wrapped = VAEAugmentedDataset(InDict(), bank, p_generate=0.0, p_jitter=0.0)
    assert value(wrapped[3][0]) == 26
    wrapped.transform = lambda image: Image.fromarray(np.asarray(image) * 3)
    assert [value(wrapped[i][0]) for i in (3, 4, 3)] == [39, 42, 39]


class OneAndOnly(Always):
    one = None

    def __new__(cls):
        cls.one = cls.one or super().__new__(cls)
        return cls.one


class Handing:
    """Hands everything on to another dataset, assignments too."""

    def __init__(self):
        object.__setattr__(self, "inner", Always())

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def __setattr__(self, name, value):
        setattr(self.inner, name, value)

    def __len__(self):
        return COUNT

    def __getitem__(self, i):
        return self.inner[i]


class Unguarded(Handing):
    def __getattr__(self, name):
        return getattr(self.inner, name)


class Dropping(Always):
    """Leaves its pictures out when it is pickled, and opens them again where it is made."""

    def __init__(self):
        super().__init__()
        self.opened = [super(Dropping, self).image(i) for i in range(COUNT)]

    def image(self, i):
        return self.opened[i]

    def __getstate__(self):
        return {**self.__dict__, "opened": None}


class OfRoot(Always):
    def __new__(cls, root):
        return super().__new__(cls)

    def __init__(self, root):
        super().__init__()


class NeverPickled(Always):
    def __reduce_ex__(self, protocol):
        raise TypeError("cannot pickle it")


class Slotted:
    __slots__ = ("targets", "transform")

    def __init__(self):
        self.targets, self.transform = Pictures().targets, Doubled()

    __len__, image, __getitem__ = Pictures.__len__, Pictures.image, Always.__getitem__


@dataclass(frozen=True)
class Frozen:
    transform: object
    targets: list

    __len__, image, __getitem__ = Pictures.__len__, Pictures.image, Always.__getitem__


COPIED = {
    "one and only": OneAndOnly,
    "hands on": Handing,
    "without a guard": Unguarded,
    "drops a handle": Dropping,
    "made with a root": lambda: OfRoot("root"),
    "never pickled": NeverPickled,
    "slots": Slotted,
    "frozen": lambda: Frozen(Doubled(), Pictures().targets),
}


@pytest.mark.filterwarnings("ignore::vae_augment.exceptions.DataWarning")
@pytest.mark.parametrize("make", COPIED.values(), ids=COPIED)
def test_a_dataset_that_is_not_copied_as_others_are_is_left_alone(make, bank):
    dataset = make()
    transform = dataset.transform
    wrapped = VAEAugmentedDataset(dataset, bank, p_generate=0.3, p_jitter=0.3, seed=1, return_source=True)
    items = [wrapped[i] for i in range(COUNT)]
    assert all(value(item[0]) == 2 * (10 + i) for i, item in enumerate(items) if item[2] == 0)
    assert dataset.transform is transform
    assert type(transform) is Doubled
    assert [value(dataset[i][0]) for i in range(COUNT)] == [2 * (10 + i) for i in range(COUNT)]


def test_a_transform_that_counts_as_nothing_still_does():
    class IfAny(Pictures):
        def __getitem__(self, i):
            image = self.transform(self.image(i)) if self.transform else self.image(i)
            return image, self.targets[i]

    with pytest.warns(DataWarning, match="it does not call them"):
        source = Source(IfAny(torch.nn.Sequential()))
    assert value(source.finish(3, source.raw(3), source.raw(3).image)[0]) == 13


def test_generators_of_the_dataset_are_left_where_they_were():
    class Drawing(Pictures):
        def __getitem__(self, i):
            image = self.image(i)
            return (self.transform(image) if self.random.random() < 0.5 else image), self.targets[i]

    dataset = Drawing(random=np.random.default_rng(0))
    before = dataset.random.bit_generator.state
    Source(dataset)
    assert dataset.random.bit_generator.state == before
