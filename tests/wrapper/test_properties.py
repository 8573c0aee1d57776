"""Laws that hold for every kind of base: what images are, what they lie in and where their transforms are."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torch.utils.data import ConcatDataset, DataLoader, StackDataset, Subset, TensorDataset
from torchvision import tv_tensors
from torchvision.datasets import VisionDataset
from torchvision.transforms import v2

from tests.conftest import CONFIG, Shapes
from vae_augment import VAEAugmentedDataset, fit
from vae_augment.exceptions import DataWarning
from vae_augment.wrapper.sampling_strategy import wanted_totals

pytestmark = pytest.mark.slow
ALL_GENERATED, ALL_JITTERED = {"p_generate": 1.0, "p_jitter": 0.0}, {"p_generate": 0.0, "p_jitter": 1.0}
MIXED, ALL_REAL = {"p_generate": 0.4, "p_jitter": 0.3}, {"p_generate": 0.0, "p_jitter": 0.0}
MEAN, STD = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
LABELS = [0, 2, 1, 1, 0, 2, 2, 1]
SIZES = ((12, 12), (15, 10), (9, 16))  # height and width; a bank models 12x12
CROP = 8


def law(examples):
    phases = (Phase.generate, Phase.shrink)
    return settings(deadline=None, derandomize=True, database=None, phases=phases, max_examples=examples)


# ---- what an image is ----


def bytes_of(size):
    """Eight coloured pictures of bars, uint8 [H, W, 3] each, with black, white and what is between."""
    tints = np.random.default_rng(0).uniform(0.3, 1.0, (len(LABELS), 3))
    pictures = []
    for number, (label, tint) in enumerate(zip(LABELS, tints, strict=True)):
        bars = Shapes().data[10 * label + number][..., None] * tint
        picture = Image.fromarray(bars.astype(np.uint8)).resize(size[::-1])
        pictures.append(np.array(picture))
        pictures[-1][0, 0], pictures[-1][-1, -1] = 0, 255
    return pictures


def first(array):
    return np.ascontiguousarray(array[..., 0])


def chw(array):
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


def with_alpha(array):
    image = Image.fromarray(array).convert("RGBA")
    image.putalpha(Image.fromarray(255 - first(array)))
    return image


PIL_KINDS = {
    "PIL L": lambda a: Image.fromarray(first(a)),
    "PIL RGB": Image.fromarray,
    "PIL RGBA": with_alpha,
    "PIL P": lambda a: Image.fromarray(a).quantize(16),
    "PIL 1": lambda a: Image.fromarray(first(a)).convert("1"),
    "PIL I;16": lambda a: Image.fromarray(first(a).astype(np.uint16) * 257),
}
NUMPY_KINDS = {
    "numpy uint8 HW": first,
    "numpy uint8 HW1": lambda a: first(a)[..., None],
    "numpy uint8 HWC": lambda a: a,
    "numpy uint8 CHW": lambda a: chw(a).numpy(),
    "numpy uint16 HW": lambda a: first(a).astype(np.uint16) * 257,
    "numpy uint16 HWC": lambda a: a.astype(np.uint16) * 16,
    "numpy float32 HW": lambda a: first(a).astype(np.float32) / 255,
    "numpy float32 HWC, -1 to 1": lambda a: a.astype(np.float32) / 127.5 - 1,
    "numpy float32 CHW, to 255": lambda a: chw(a).numpy().astype(np.float32),
}
TENSOR_KINDS = {
    "tensor uint8 HW": lambda a: torch.from_numpy(first(a)),
    "tensor uint8 CHW": chw,
    "tensor float CHW": lambda a: chw(a).float() / 255,
    "tensor float 1HW, to 255": lambda a: chw(a)[:1].float(),
    "tensor float CHW, normalised": lambda a: (chw(a).float() / 255 - MEAN) / STD,
    "tensor half CHW": lambda a: (chw(a).float() / 255).half(),
    "tv_tensor uint8": lambda a: tv_tensors.Image(chw(a)),
    "tv_tensor float": lambda a: tv_tensors.Image(chw(a).float() / 255),
}
KINDS = PIL_KINDS | NUMPY_KINDS | TENSOR_KINDS
any_kind = pytest.mark.parametrize("kind", KINDS)


# ---- where its transform is ----


def mirrored(image):
    if isinstance(image, Image.Image):
        return ImageOps.mirror(image)
    return image[::-1].copy() if isinstance(image, np.ndarray) else v2.functional.horizontal_flip(image)


def as_floats(image):
    if isinstance(image, Image.Image):
        return v2.functional.pil_to_tensor(image).float()
    return image.astype(np.float64) if isinstance(image, np.ndarray) else image.double()


class Tagged:
    """What an assigned transform makes of an image, so that how often it was called shows."""

    def __init__(self, image):
        self.image = image


class Plain:
    """Items as they are held, `inside` called on their images in a way that nobody can see from without."""

    def __init__(self, items, inside=None):
        self.items, self.inside = items, inside

    def __len__(self):
        return len(self.items)

    def image(self, image):
        return image if self.inside is None else self.inside(image)

    def __getitem__(self, index):
        item = self.items[index]
        if isinstance(item, dict):
            return {**item, "image": self.image(item["image"])}
        return self.image(item[0]), *item[1:]


class Transformed(Plain):
    def __init__(self, items, transform):
        super().__init__(items)
        self.transform = transform

    def image(self, image):
        return image if self.transform is None else self.transform(image)


class OfEveryOther(Transformed):
    """Transforms every other item alone, as datasets do that augment rare classes."""

    def __getitem__(self, index):
        return super().__getitem__(index) if index % 2 else Plain(self.items)[index]


class Joint(VisionDataset):
    """A torchvision dataset that calls `transforms` on both, as OxfordIIITPet does."""

    def __init__(self, items, **options):
        super().__init__(None, **options)
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        image, label, *rest = self.items[index]
        if self.transforms is not None:
            image, label = self.transforms(image, label)
        return image, label, *rest


PLACEMENTS = {
    "none": lambda items, change: Plain(items),
    "transform": Transformed,
    "transforms": lambda items, change: Joint(items, transforms=lambda image, label: (change(image), label)),
    "torchvision's transform": lambda items, change: Joint(items, transform=change),
    "inside": Plain,
    "transform of every other item": OfEveryOther,
}
OF_TORCHVISION = (PLACEMENTS["transforms"], PLACEMENTS["torchvision's transform"])
NESTS = {
    "itself": lambda base: base,
    "Subset": lambda base: Subset(base, [5, 0, 3, 3, 7, 1]),
    "ConcatDataset": lambda base: ConcatDataset([Subset(base, [6, 2]), base]),
}
LABEL_KINDS = {
    "int": int,
    "numpy integer": np.int64,
    "array of shape (1,)": lambda label: np.array([label], np.uint8),
    "tensor of no dimension": torch.tensor,
    "tensor of shape (1,)": lambda label: torch.tensor([label]),
}
ITEMS = {
    "pair": lambda image, label, number: (image, label),
    "triple": lambda image, label, number: (image, label, number),
    "dict": lambda image, label, number: {"image": image, "label": label},
    "dict, image last": lambda image, label, number: {"number": number, "label": label, "image": image},
}


HOLDERS = [*ITEMS, "StackDataset", "TensorDataset"]


@dataclass(frozen=True)
class Case:
    """A base, in words that a failing example prints."""

    kind: str
    size: tuple[int, int]
    holder: str
    placement: str
    change: Any
    label: str
    nest: str

    def base(self):
        images = [KINDS[self.kind](array) for array in bytes_of(self.size)]
        labels = [LABEL_KINDS[self.label](label) for label in LABELS]
        if self.holder == "TensorDataset":
            return NESTS[self.nest](TensorDataset(torch.stack(images), torch.stack(labels)))
        if self.holder == "StackDataset":
            return NESTS[self.nest](StackDataset(images, labels))
        items = [ITEMS[self.holder](*parts) for parts in zip(images, labels, range(len(images)), strict=True)]
        return NESTS[self.nest](PLACEMENTS[self.placement](items, self.change))


@st.composite
def cases(draw, kind, changes=(mirrored, as_floats), placements=tuple(PLACEMENTS)):
    """Every combination of the rest that makes sense for a kind of image."""
    holder = draw(st.sampled_from(HOLDERS if kind in TENSOR_KINDS else HOLDERS[:-1]))
    if holder.endswith("Dataset"):
        placements = ("none",)
    elif holder.startswith("dict"):
        placements = [p for p in placements if PLACEMENTS[p] not in OF_TORCHVISION]
    labels = [name for name in LABEL_KINDS if holder != "TensorDataset" or name.startswith("tensor")]
    return Case(
        kind=kind,
        size=draw(st.sampled_from(SIZES)),
        holder=holder,
        placement=draw(st.sampled_from(placements)),
        change=draw(st.sampled_from(changes)),
        label=draw(st.sampled_from(labels)),
        nest=draw(st.sampled_from(list(NESTS))),
    )


def parts_of(item):
    """Image, label, and what else there is."""
    if isinstance(item, dict):
        return item["image"], item["label"], {k: v for k, v in item.items() if k not in ("image", "label", "source")}
    return item[0], item[1], item[2:]


def source_of(item):
    """What `return_source` added."""
    return item["source"] if isinstance(item, dict) else item[-1]


def kind_of(image):
    """All that a synthetic image must have in common with the real one, but for its range."""
    if isinstance(image, Image.Image):
        return type(image), image.mode, image.size
    return type(image), image.dtype, tuple(image.shape)


def content(value):
    """An image, a label or an item as something to compare."""
    if isinstance(value, dict):
        return [(name, content(part)) for name, part in value.items()]
    if isinstance(value, tuple):
        return [content(part) for part in value]
    if isinstance(value, Image.Image):
        return kind_of(value), value.tobytes(), value.getpalette() if value.mode == "P" else None
    return (kind_of(value), np.asarray(value).tobytes()) if hasattr(value, "dtype") else (type(value), value)


def all_content(items):
    return [content(item) for item in items]


def listed(dataset):
    return [dataset[i] for i in range(len(dataset))]


def pixels(image):
    """Numbers that look the same for the same picture, whatever order a palette has."""
    if isinstance(image, Image.Image) and image.mode == "P":
        image = image.convert("RGB")
    return np.asarray(image).astype(np.float64)


def allowed_range(images):
    """What a synthetic image may hold: 0 to 1 or 0 to 255 where the base keeps to it, else the base's extremes."""
    low, high = min(pixels(image).min() for image in images), max(pixels(image).max() for image in images)
    usual = [limit for limit in (1, 255) if low >= 0 and high <= limit]
    return (0, usual[0]) if usual else (low, high)


def tolerance(case, span):
    """How far an image may be from the same image after a way there and back."""
    if case.kind == "PIL P":
        return 8  # Pillow looks up the nearest colour of a palette in steps of four levels
    return max(span, 1) * (2e-3 if "half" in case.kind else 1e-5)


@pytest.fixture(scope="session")
def banks(bank):
    """One that models grey images and one that models coloured ones."""
    tints = np.random.default_rng(0).uniform(0.3, 1.0, (30, 3))
    coloured = (Shapes().data[..., None] * tints[:, None, None]).astype(np.uint8)
    items = [(image, label) for image, label in zip(coloured, Shapes().targets, strict=True)]
    return {"grey": bank, "coloured": fit(Plain(items), config=CONFIG, progress=False)}


any_bank = st.sampled_from(["grey", "coloured"])


# ---- laws of an item ----


@any_kind
@law(12)
@given(data=st.data())
def test_labels_never_change_and_images_keep_type_dtype_range_and_shape(banks, kind, data):
    case = data.draw(cases(kind))
    bank, shares = banks[data.draw(any_bank)], data.draw(st.sampled_from([ALL_GENERATED, ALL_JITTERED, MIXED]))
    base = case.base()
    ds = VAEAugmentedDataset(base, bank, seed=data.draw(st.integers(0, 3)), return_source=True, **shares)
    real = listed(base)
    low, high = allowed_range([parts_of(item)[0] for item in real])
    margin = 1e-3 * (high - low) if "half" in case.kind else 1e-6 * (high - low)
    assert len(ds) == len(real)
    assert list(ds.targets) == [np.asarray(parts_of(item)[1]).item() for item in real]
    for item, real_item in zip(listed(ds), real, strict=True):
        (image, label, rest), (real_image, real_label, real_rest) = parts_of(item), parts_of(real_item)
        if isinstance(item, dict):
            assert list(item) == [*real_item, "source"]
        else:
            rest = rest[:-1]
            assert len(item) == len(real_item) + 1
        assert kind_of(image) == kind_of(real_image)
        assert content(label) == content(real_label)
        assert content(rest) == content(real_rest)
        assert low - margin <= pixels(image).min() <= pixels(image).max() <= high + margin
        if source_of(item) == 0:
            assert content(image) == content(real_image)


@any_kind
@law(6)
@given(data=st.data())
def test_p_zero_is_the_base(banks, kind, data):
    base = data.draw(cases(kind)).base()
    ds = VAEAugmentedDataset(base, banks["grey"], seed=data.draw(st.sampled_from([None, 3])), **ALL_REAL)
    before = torch.get_rng_state()
    assert all_content(listed(ds)) == all_content(ds.__getitems__([*range(len(ds))])) == all_content(listed(base))
    assert torch.equal(torch.get_rng_state(), before)


@any_kind
@law(8)
@given(data=st.data())
def test_jitter_of_scale_zero_with_detail_kept_gives_the_item_back(banks, kind, data):
    """So no kind of image is turned, has channels swapped or is read in another range on its way."""
    case = data.draw(cases(kind))
    bank, base = banks[data.draw(any_bank)].with_policy(keep_detail=True, moves="none"), case.base()
    ds = VAEAugmentedDataset(base, bank, scale=0, seed=3, **ALL_JITTERED)
    for item, real_item in zip(listed(ds), listed(base), strict=True):
        image, real_image = pixels(parts_of(item)[0]), pixels(parts_of(real_item)[0])
        np.testing.assert_allclose(image, real_image, rtol=0, atol=tolerance(case, np.ptp(real_image)))


RANGES = {
    "bytes": lambda a: chw(a),
    "0 to 1": lambda a: chw(a).float() / 255,
    "0 to 255": lambda a: chw(a).float(),
    "normalised": lambda a: (chw(a).float() / 255 - MEAN) / STD,
    "16 bits": lambda a: chw(a).to(torch.int32) * 257,
}


@pytest.mark.parametrize("served", RANGES)
@pytest.mark.parametrize("fitted", RANGES)
def test_a_bank_serves_a_base_of_another_range_in_that_bases_range(ranged, fitted, served):
    base, bank = ranged[served][0], ranged[fitted][1].with_policy(keep_detail=True, moves="none")
    ds = VAEAugmentedDataset(base, bank, scale=0, seed=3, **ALL_JITTERED)
    for (image, _), (real_image, _) in zip(listed(ds), listed(base), strict=True):
        atol = 1e-5 * np.ptp(pixels(real_image))
        np.testing.assert_allclose(pixels(image), pixels(real_image), rtol=0, atol=atol)
    generated = listed(VAEAugmentedDataset(base, bank, seed=3, **ALL_GENERATED))
    real, made = (np.stack([pixels(image) for image, _ in items]) for items in (listed(base), generated))
    assert 0.25 < np.ptp(made) / np.ptp(real) < 4
    assert abs(made.mean() - real.mean()) < np.ptp(real)


@pytest.fixture(scope="session")
def ranged():
    """The same images in each range, as a base and as a bank fitted on it."""
    of = {}
    for name, make in RANGES.items():
        base = Plain(list(zip(map(make, bytes_of((12, 12))), LABELS, strict=True)))
        of[name] = base, fit(base, config=CONFIG, progress=False)
    return of


# ---- transforms ----


@any_kind
@law(6)
@given(data=st.data())
def test_an_assigned_transform_replaces_the_bases_for_every_kind_of_item(banks, kind, data):
    case = data.draw(cases(kind, placements=("transform", "torchvision's transform")))
    assume(case.placement != "none")
    base, raw = case.base(), Case(**{**vars(case), "placement": "none"}).base()
    ds = VAEAugmentedDataset(base, banks["grey"], seed=3, return_source=True, **MIXED)
    ds.transform = Tagged
    for item, raw_item in zip(listed(ds), listed(raw), strict=True):
        image, raw_image = parts_of(item)[0], parts_of(raw_item)[0]
        assert type(image) is Tagged
        assert kind_of(image.image) == kind_of(raw_image)
        assert source_of(item) != 0 or content(image.image) == content(raw_image)


WITHOUT_A_TRANSFORM = {
    "pair": ("pair", "none"),
    "dict": ("dict", "none"),
    "StackDataset": ("StackDataset", "none"),
    "TensorDataset": ("TensorDataset", "none"),
    "one inside": ("pair", "inside"),
    "a joint one": ("pair", "transforms"),
    "torchvision's, none": ("pair", "torchvision's transform"),
}


@pytest.mark.parametrize("base", WITHOUT_A_TRANSFORM)
def test_an_assigned_transform_is_called_for_every_kind_of_item_of_a_base_that_had_none(banks, base):
    holder, placement = WITHOUT_A_TRANSFORM[base]
    change = None if base == "torchvision's, none" else mirrored
    case = Case("tensor float CHW", (12, 12), holder, placement, change, "tensor of no dimension", "itself")
    ds = VAEAugmentedDataset(case.base(), banks["grey"], seed=3, return_source=True, **MIXED)
    ds.transform, ds.target_transform = Tagged, Tagged
    kinds = Counter()
    for item in listed(ds):
        image, label, _ = parts_of(item)
        kinds[source_of(item), type(image), type(label), type(getattr(image, "image", None))] += 1
    assert set(kinds) == {(source, Tagged, Tagged, torch.Tensor) for source in range(3)}


class Cropped:
    """A random crop, as training transforms have; it counts how often it is called."""

    def __init__(self):
        self.crop, self.calls = v2.RandomCrop(CROP), 0

    def __call__(self, image):
        self.calls += 1
        return self.crop(image)


SEPARABLE = ("transform", "transforms", "torchvision's transform")


@pytest.mark.parametrize("placement", SEPARABLE)
def test_a_bank_is_fitted_on_images_and_not_on_what_a_random_transform_makes_of_them(placement, tmp_path):
    crop = Cropped()
    items = [(Image.fromarray(array), label) for array, label in zip(bytes_of((12, 12)), LABELS, strict=True)]
    unchanged = PLACEMENTS[placement](items, None) if placement != "transforms" else Joint(items, transforms=None)
    for name, base in (("cropped", PLACEMENTS[placement](items, crop)), ("whole", unchanged)):
        fit(base, config=CONFIG, progress=False).save(tmp_path / name)
    assert crop.calls <= 3 * len(items)  # a look at how the dataset calls it, where it cannot be copied
    assert (tmp_path / "cropped").read_bytes() == (tmp_path / "whole").read_bytes()


@law(20)
@given(data=st.data())
def test_a_random_transform_is_applied_once_to_each_item(banks, data):
    kind = data.draw(st.sampled_from([*PIL_KINDS, "tensor uint8 CHW", "tensor float CHW", "tv_tensor uint8"]))
    case = data.draw(cases(kind, changes=(Cropped(),), placements=SEPARABLE))
    assume(case.placement != "none")
    base = case.base()
    ds = VAEAugmentedDataset(
        base, banks["grey"].with_policy(keep_detail=True, moves="none"), scale=0, seed=3, **ALL_JITTERED
    )
    for i in range(len(ds)):
        torch.manual_seed(i)
        wanted = parts_of(base[i])[0]
        torch.manual_seed(i)
        calls = case.change.calls
        image = parts_of(ds[i])[0]
        assert case.change.calls == calls + 1
        assert kind_of(image) == kind_of(wanted)
        np.testing.assert_allclose(pixels(image), pixels(wanted), rtol=0, atol=tolerance(case, np.ptp(pixels(wanted))))


@law(10)
@given(data=st.data())
def test_with_a_random_transform_that_cannot_be_set_aside_items_are_what_it_returns(banks, data):
    kind = data.draw(st.sampled_from([*PIL_KINDS, "tensor uint8 CHW", "tensor float CHW", "tv_tensor uint8"]))
    case = data.draw(cases(kind, changes=(v2.RandomCrop(CROP),), placements=("inside",)))
    base = case.base()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*cannot be set aside", DataWarning)  # two crops may be alike by chance
        ds = VAEAugmentedDataset(base, banks["grey"], seed=3, return_source=True, **MIXED)
    for item, real_item in zip(listed(ds), listed(base), strict=True):
        (image, label, _), (real_image, real_label, _) = parts_of(item), parts_of(real_item)
        assert kind_of(image) == kind_of(real_image)
        assert content(label) == content(real_label)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "change", [lambda image: torch.randint_like(image, 256), v2.RandomHorizontalFlip()], ids=["noise", "flips"]
)
def test_a_random_transform_that_cannot_be_set_aside_is_said(banks, change, seed):
    items = list(zip(torch.from_numpy(Shapes().data)[:, None], Shapes().targets, strict=True))
    torch.manual_seed(seed)
    with pytest.warns(DataWarning, match="cannot be set aside"):
        VAEAugmentedDataset(Plain(items, inside=change), banks["grey"], **MIXED)


# ---- how often ----


class Many:
    """A few thousand tiny items."""

    def __init__(self, count):
        self.targets = (np.arange(count) % 3).tolist()
        self.images = Shapes().data

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return self.images[10 * self.targets[index] + index % 10], self.targets[index]


def binomial_error(count, p):
    """Five standard deviations of how often something of probability p happens, and a half for whole numbers."""
    return 5 * math.sqrt(count * p * (1 - p)) + 0.5


@law(6)
@given(
    thirds=st.tuples(*[st.integers(0, 20)] * 3).filter(sum),
    seed=st.sampled_from([None, 0, 7]),
    epoch=st.integers(0, 3),
)
def test_the_shares_served_are_those_asked_for(banks, thirds, seed, epoch):
    p_generate, p_jitter = thirds[0] / sum(thirds), thirds[1] / sum(thirds)
    p_jitter = min(p_jitter, 1 - p_generate)
    torch.manual_seed(epoch)
    base = Many(2400)
    ds = VAEAugmentedDataset(
        base, banks["grey"], p_generate=p_generate, p_jitter=p_jitter, seed=seed, return_source=True
    )
    ds.set_epoch(epoch)
    sources = torch.tensor([source for batch in DataLoader(ds, 200, collate_fn=list) for *_, source in batch])
    wanted = (1 - p_generate - p_jitter, p_jitter, p_generate)
    for members in (torch.ones(2400, dtype=torch.bool), *(torch.as_tensor(ds.targets) == label for label in range(3))):
        counts = sources[members].bincount(minlength=3)
        for count, p in zip(counts.tolist(), wanted, strict=True):
            p = min(max(p, 0.0), 1.0)
            assert abs(count - members.sum() * p) <= binomial_error(int(members.sum()), p)


@law(10)
@given(data=st.data())
def test_a_seeded_item_is_a_function_of_seed_epoch_and_index(banks, data):
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    base, seed = data.draw(cases(kind)).base(), data.draw(st.integers(0, 2**31 - 1))
    epochs = data.draw(st.lists(st.integers(0, 50), min_size=2, max_size=2, unique=True))
    options = {"seed": seed, "return_source": True, "sampling_strategy": "all", **MIXED}
    ds = VAEAugmentedDataset(base, banks["coloured"], **options)
    ds.set_epoch(epochs[0])
    alone = all_content(listed(ds))
    batch = data.draw(st.lists(st.integers(-len(ds), len(ds) - 1), min_size=1, max_size=40))
    torch.manual_seed(data.draw(st.integers(0, 9)))
    assert all_content(ds.__getitems__(batch)) == [alone[i] for i in batch]
    ds.set_epoch(epochs[1])
    listed(ds)
    ds.set_epoch(epochs[0])
    size = data.draw(st.integers(1, 20))
    again = VAEAugmentedDataset(base, banks["coloured"], **options)
    again.set_epoch(epochs[0])
    for same in (ds, again):
        assert [content(item) for items in DataLoader(same, size, collate_fn=list) for item in items] == alone


@law(6)
@given(data=st.data())
def test_two_forked_workers_give_the_main_processs_items(banks, data):
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    base, size = data.draw(cases(kind)).base(), data.draw(st.integers(1, 9))
    ds = VAEAugmentedDataset(base, banks["coloured"], seed=3, return_source=True, **MIXED)
    loader = DataLoader(ds, size, collate_fn=list, num_workers=2, multiprocessing_context="fork", timeout=60)
    assert [content(item) for items in loader for item in items] == all_content(listed(ds))


# ---- how many ----


def unbalanced(counts):
    """A base with so many items of each label, in no order."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts)).tolist()
    chosen = [10 * label + i % 10 for i, label in enumerate(labels)]
    return Subset(Shapes(), chosen), labels


def twice(labels):
    return {int(label): 2 * int(count) for label, count in zip(*np.unique(labels, return_counts=True), strict=True)}


@law(60)
@given(
    counts=st.lists(st.integers(0, 7), min_size=3, max_size=3).filter(any),
    strategy=st.sampled_from([None, "minority", "not minority", "not majority", "all", "auto", twice, "dict"]),
    more=st.integers(0, 6),
    shares=st.sampled_from([ALL_REAL, ALL_GENERATED, ALL_JITTERED, MIXED]),
    seed=st.sampled_from([None, 3]),
)
def test_what_it_says_of_itself_is_what_it_serves(banks, counts, strategy, more, shares, seed):
    base, labels = unbalanced(counts)
    if strategy == "dict":
        strategy = {labels[0]: counts[labels[0]] + more}
    ds = VAEAugmentedDataset(base, banks["grey"], sampling_strategy=strategy, seed=seed, return_source=True, **shares)
    items = listed(ds)
    served = [label for _, label, _ in items]
    names = Shapes.classes
    assert len(items) == len(ds) == len(ds.targets) == len(ds.is_synthetic)
    have, wanted = Counter(labels), wanted_totals(strategy, torch.tensor(labels)) if strategy is not None else {}
    assert Counter(served) == {**have, **wanted}
    assert list(ds.targets) == served
    assert served[: len(base)] == labels
    assert ds.is_synthetic.tolist() == [i >= len(base) for i in range(len(ds))]
    assert ds.classes == list(names)
    assert ds.class_to_idx == {name: label for label, name in enumerate(names)}
    assert all(source in (1, 2) for _, _, source in items[len(base) :])
    certain = {(0.0, 0.0): 0, (1.0, 0.0): 2, (0.0, 1.0): 1}.get((ds.p_generate, ds.p_jitter))
    assert certain is None or {source for _, _, source in items[: len(base)]} == {certain}
