from __future__ import annotations

import copy
import pickle
import random
from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, Normalize, ToTensor
from torchvision.transforms.v2.functional import pil_to_tensor, to_image

from tests.conftest import CONFIG, Shapes
from vae_augment import VAEAugmentedDataset, VAEBank, fit
from vae_augment.exceptions import CacheWarning, DataWarning, LeakageWarning
from vae_augment.mnist_sample import MNISTSample

MIXED = {"p_generate": 0.4, "p_jitter": 0.3}
ALL_GENERATED, ALL_JITTERED = {"p_generate": 1.0, "p_jitter": 0.0}, {"p_generate": 0.0, "p_jitter": 1.0}
ALL_REAL = {"p_generate": 0.0, "p_jitter": 0.0}
TARGETS = Shapes().targets
FLOATS = torch.from_numpy(Shapes().data).float()[:, None] / 255  # [30, 1, 12, 12]


class Stored:
    """Items as they were put in."""

    classes = Shapes.classes

    def __init__(self, images, labels=TARGETS, rest=()):
        self.items = [(image, label, *rest) for image, label in zip(images, labels, strict=True)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Pair(NamedTuple):
    image: object
    label: int


class Named(Shapes):
    def __getitem__(self, index):
        return Pair(*super().__getitem__(index))


class Tensors(TensorDataset):
    classes = Shapes.classes

    def __init__(self, images):
        super().__init__(images, torch.tensor(TARGETS))


def to_float_tensor(image):
    return pil_to_tensor(image).float() / 255


def resized(mode, sizes):
    return [Image.fromarray(a).convert(mode).resize(sizes[i % len(sizes)]) for i, a in enumerate(Shapes().data)]


BASES = {
    "PIL": lambda: Shapes(),
    "ToTensor": lambda: Shapes(transform=to_float_tensor),
    "labels of shape (1,)": lambda: Stored(resized("L", [(12, 12)]), [np.array([t], np.uint8) for t in TARGETS]),
    "PIL RGB of mixed sizes": lambda: Stored(resized("RGB", [(12, 12), (30, 17), (9, 40)])),
    "PIL palette": lambda: Stored(resized("P", [(12, 12)])),
    "PIL alpha": lambda: Stored(resized("RGBA", [(12, 12)])),
    "PIL 16 bits": lambda: Stored([Image.fromarray(a.astype(np.uint16) * 257) for a in Shapes().data]),
    "numpy bytes": lambda: Stored([np.repeat(a[..., None], 3, axis=2) for a in Shapes().data]),
    "numpy -1 to 1": lambda: Stored([(a / 127.5 - 1).astype(np.float32) for a in Shapes().data]),
    "tensors 0 to 255": lambda: Tensors(FLOATS * 255),
    "tv_tensors": lambda: Stored([to_image(a[..., None]) for a in Shapes().data]),
    "half": lambda: Tensors(FLOATS.half()),
    "Subset": lambda: Subset(Shapes(), [29, 3, 3, 14]),
    "ConcatDataset": lambda: ConcatDataset([Shapes(), Subset(Shapes(), [5, 25])]),
    "three fields": lambda: Stored(resized("L", [(12, 12)]), rest=("cat.png",)),
}
any_base = pytest.mark.parametrize("base", [make() for make in BASES.values()], ids=BASES)


def kind_of(image):
    """All that a synthetic image must have in common with the real one."""
    if isinstance(image, Image.Image):
        return type(image), image.mode, image.size
    return type(image), image.dtype, tuple(image.shape)


def values(item):
    """An item as something to compare."""
    return np.asarray(item[0]).tobytes(), *(np.asarray(part).tolist() for part in item[1:])


def all_values(items):
    return [values(item) for item in items]


def loaded(dataset, batch_size, **options):
    """What a DataLoader gives, item by item."""
    batches = DataLoader(dataset, batch_size=batch_size, **options)
    return [item for batch in batches for item in all_values(zip(*batch, strict=True))]


@pytest.fixture
def tensors():
    """A base whose every float is compared."""
    return Tensors(FLOATS)


# ---- what an item is ----


@any_base
@pytest.mark.parametrize("shares", [ALL_GENERATED, ALL_JITTERED, MIXED], ids=["generated", "jittered", "mixed"])
def test_labels_never_change_and_images_keep_their_kind(bank, base, shares):
    ds = VAEAugmentedDataset(base, bank, seed=0, return_source=True, **shares)
    real = [np.asarray(base[i][0]) for i in range(len(base))]
    darkest, lightest = min(float(a.min()) for a in real), max(float(a.max()) for a in real)
    usual = [(0, white) for white in (1, 255, 65_535) if darkest >= 0 and lightest <= white]
    black, white = usual[0] if usual else (darkest, lightest)
    assert len(ds) == len(base)
    for i in range(len(base)):
        (image, label, *rest, source), (real_image, real_label, *real_rest) = ds[i], base[i]
        assert type(ds[i]) is type(base[i])
        assert kind_of(image) == kind_of(real_image)
        assert type(label) is type(real_label)
        assert (np.array_equal(label, real_label), rest) == (True, real_rest)
        if source == 0:
            assert values((image,)) == values((real_image,))
        elif not isinstance(image, Image.Image):
            assert black <= image.min() <= image.max() <= white


@pytest.mark.parametrize("kind", [lambda x: x, lambda x: x.numpy()], ids=["tensors", "numpy"])
@pytest.mark.parametrize(("factor", "offset"), [(255, 0), (5, -2), (4095, 0)])
def test_values_of_another_range_are_the_same_images(bank, kind, factor, offset):
    images = FLOATS / FLOATS.max()
    plain, other = (
        VAEAugmentedDataset(Stored([kind(image[0]) for image in base]), bank, seed=0, **MIXED)
        for base in (images, images * factor + offset)
    )
    for (a, _), (b, _) in zip(plain, other, strict=True):
        np.testing.assert_allclose(b, a * factor + offset, atol=1e-4 * factor)


@any_base
def test_p_zero_is_the_base_and_draws_nothing(bank, base):
    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    ds = VAEAugmentedDataset(base, bank, **ALL_REAL)
    assert all_values(ds) == all_values(base[i] for i in range(len(base)))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]


def test_p_zero_gives_the_bases_own_objects(bank):
    base = Stored(resized("L", [(12, 12)]))
    ds = VAEAugmentedDataset(base, bank, **ALL_REAL)
    assert all(ds[i] is base[i] for i in range(len(base)))


@pytest.mark.parametrize("shares", [ALL_REAL, MIXED])
def test_a_batch_of_a_base_that_has_batches_is_not_passed_by(bank, shares):
    class Batched(Shapes):
        batches = 0

        def __getitems__(self, indices):
            type(self).batches += 1
            return [self[i] for i in indices]

    ds = VAEAugmentedDataset(Batched(), bank, seed=0, return_source=True, **shares)
    batch = ds.__getitems__(list(range(30)))
    assert Batched.batches == 1
    assert {item[2] for item in batch} == ({0} if shares is ALL_REAL else {0, 1, 2})


def test_a_seeded_dataset_leaves_global_generators_alone(bank, shapes):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    list(VAEAugmentedDataset(shapes, bank, seed=0, **MIXED))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]


def test_return_source_says_what_each_item_is(bank, shapes):
    ds = VAEAugmentedDataset(shapes, bank, seed=0, return_source=True, **MIXED)
    plain = VAEAugmentedDataset(shapes, bank, seed=0, **MIXED)
    assert all_values(item[:2] for item in ds) == all_values(plain)
    assert {item[2] for item in ds} == {0, 1, 2}
    for item, real in zip(ds, map(shapes.__getitem__, range(30)), strict=True):
        assert type(item[2]) is int
        assert (values(item[:2]) == values(real)) == (item[2] == 0)


@pytest.mark.parametrize("shares", [ALL_REAL, ALL_JITTERED])
def test_named_tuples_stay_and_take_a_source_as_plain_ones(bank, shares):
    assert type(VAEAugmentedDataset(Named(), bank, **shares)[4]) is Pair
    item = VAEAugmentedDataset(Named(), bank, return_source=True, **shares)[4]
    assert tuple(item)[1:] == (0, int(shares is ALL_JITTERED))


def test_jitter_of_scale_zero_with_detail_kept_is_the_image(bank, shapes):
    ds = VAEAugmentedDataset(shapes, bank.with_policy(keep_detail=True, moves="none"), scale=0, **ALL_JITTERED)
    assert all_values(ds) == all_values(shapes[i] for i in range(30))


def test_a_folder_of_mixed_sizes_keeps_each_items_size(bank, tmp_path):
    sizes = [(12, 12), (31, 20), (8, 50)]
    for name, image in zip(("across", "down", "slanted"), (Shapes().data[i] for i in (0, 10, 20)), strict=True):
        (tmp_path / name).mkdir()
        for n, size in enumerate(sizes):
            Image.fromarray(image).resize(size).save(tmp_path / name / f"{n}.png")
    base = ImageFolder(tmp_path)
    for shares in (ALL_GENERATED, ALL_JITTERED):
        ds = VAEAugmentedDataset(base, bank, seed=0, **shares)
        assert [(image.mode, image.size, label) for image, label in ds] == [
            ("RGB", size, label) for label in range(3) for size in sizes
        ]


# ---- the user's transforms ----


class Tagged(NamedTuple):
    image: object


def test_transforms_are_applied_to_every_kind(bank):
    base = Shapes(transform=Tagged, target_transform=lambda label: f"class {label}")
    ds = VAEAugmentedDataset(base, bank, seed=0, return_source=True, **MIXED)
    assert {(type(image), label, source) for image, label, source in ds} == {
        (Tagged, f"class {label}", source) for label in range(3) for source in range(3)
    }
    assert list(ds.targets) == TARGETS


@pytest.mark.parametrize("base", [Shapes(), Shapes(transform=to_float_tensor), Subset(Shapes(), range(30))])
def test_assigned_transforms_replace_the_bases_for_every_kind(bank, base):
    ds = VAEAugmentedDataset(base, bank, seed=0, return_source=True, **MIXED)
    inner = getattr(base, "dataset", base)
    before = inner.transform
    assert ds.transform is before
    ds.transform, ds.target_transform = Tagged, float
    assert (ds.transform, ds.target_transform) == (Tagged, float)
    assert {(type(image), type(label), source) for image, label, source in ds} == {(Tagged, float, s) for s in range(3)}
    assert (inner.transform, inner.target_transform) == (before, None)
    ds.transform = None
    assert {(type(image), source) for image, _, source in ds} == {(Image.Image, s) for s in range(3)}


# ---- randomness ----


def test_seeded_items_are_equal_bit_for_bit_whatever_the_batch_or_workers(bank, tensors):
    ds = VAEAugmentedDataset(tensors, bank, seed=3, return_source=True, **MIXED)
    alone = all_values(ds)
    assert {item[2] for item in alone} == {0, 1, 2}
    assert all(loaded(ds, batch_size) == alone for batch_size in (1, 7, 64))
    assert loaded(ds, 7, num_workers=2, multiprocessing_context="fork") == alone
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0)).tolist()
    assert loaded(ds, 8, sampler=order) == [alone[i] for i in order]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda ds: pickle.loads(pickle.dumps(ds))])
def test_workers_that_are_already_running_see_the_epoch(bank, tensors, copied):
    ds = copied(VAEAugmentedDataset(tensors, bank, seed=3, **MIXED))
    batches = DataLoader(ds, 8, num_workers=1, persistent_workers=True, multiprocessing_context="fork")
    epochs = []
    for epoch in (0, 1, 0):
        ds.set_epoch(epoch)
        epochs.append([item for batch in batches for item in all_values(zip(*batch, strict=True))])
        assert epochs[-1] == all_values(ds)
    assert epochs[0] == epochs[2] != epochs[1]


@pytest.mark.parametrize("other", [{"seed": 4}, {"seed": 3, "epoch": 1}])
def test_seed_and_epoch_change_what_is_drawn(bank, tensors, other):
    first, second = (VAEAugmentedDataset(tensors, bank, seed=seed, **ALL_GENERATED) for seed in (3, other["seed"]))
    second.set_epoch(other.get("epoch", 0))
    assert not set(all_values(first)) & set(all_values(second))


def test_a_seeded_epoch_stays_until_it_is_set(bank, tensors):
    ds = VAEAugmentedDataset(tensors, bank, seed=3, **MIXED)
    assert all_values(ds) == all_values(ds)


def test_it_may_be_made_and_read_in_inference_mode(bank_path, tensors):
    ds = VAEAugmentedDataset(tensors, bank_path, seed=3, **MIXED)
    with torch.inference_mode():
        other = VAEAugmentedDataset(tensors, bank_path, seed=3, **MIXED)
        assert all_values(other) == all_values(ds)
    for one in (ds, other):
        one.set_epoch(1)
    assert all_values(other) == all_values(ds)


@pytest.mark.parametrize("workers", [0, 2])
def test_unseeded_items_follow_the_global_generator_and_are_fresh_each_epoch(bank, tensors, workers):
    ds = VAEAugmentedDataset(tensors, bank, **ALL_GENERATED)
    options = {"num_workers": workers, "multiprocessing_context": "fork"} if workers else {}
    torch.manual_seed(5)
    first = loaded(ds, 10, **options)
    second = loaded(ds, 10, **options)
    torch.manual_seed(5)
    assert loaded(ds, 10, **options) == first
    assert len(set(first + second)) == 60  # no worker and no epoch repeats another's draws


# ---- what a torchvision dataset has ----


@pytest.mark.parametrize("index", [4, -26, np.int64(4), np.int32(-26), np.uint8(4), torch.tensor(4), torch.tensor(-26)])
def test_any_kind_of_index(bank, shapes, index):
    ds = VAEAugmentedDataset(shapes, bank, seed=0, **ALL_GENERATED)
    assert values(ds[index]) == values(ds[4])
    assert all_values(ds.__getitems__([index, 7])) == all_values([ds[4], ds[7]])


@pytest.mark.parametrize("index", [30, -31, np.int64(30), 10**12])
def test_an_index_past_the_end(bank, shapes, index):
    with pytest.raises(IndexError, match=rf"index must be in \[-30, 30\), got {index}"):
        VAEAugmentedDataset(shapes, bank, **MIXED)[index]


@pytest.mark.parametrize("index", ["0", 1.0, None])
def test_what_is_no_index(bank, shapes, index):
    with pytest.raises(TypeError, match="integer"):
        VAEAugmentedDataset(shapes, bank, **MIXED)[index]


def test_iteration_stops_and_an_empty_batch_is_empty(bank, shapes):
    ds = VAEAugmentedDataset(shapes, bank, **MIXED)
    assert len(list(ds)) == 30
    assert ds.__getitems__([]) == []


def test_it_has_what_the_base_has(bank, shapes):
    ds = VAEAugmentedDataset(shapes, bank, **MIXED)
    assert isinstance(ds, Dataset)
    assert (ds.classes, ds.class_to_idx) == (list(shapes.classes), shapes.class_to_idx)
    assert list(ds.targets) == shapes.targets
    assert "30 items, p_generate=0.4, p_jitter=0.3, seed=None" in repr(ds)


def test_the_callers_dataset_is_not_changed(bank):
    base = Shapes(transform=to_float_tensor)
    before = {name: id(value) for name, value in vars(base).items()}
    ds = VAEAugmentedDataset(base, bank, **MIXED)
    list(ds)
    ds.transform = None
    assert {name: id(value) for name, value in vars(base).items()} == before


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda ds: pickle.loads(pickle.dumps(ds))])
def test_a_copy_is_equal(bank, copied):
    ds = VAEAugmentedDataset(Shapes(transform=to_float_tensor), bank, seed=1, sampling_strategy={0: 13}, **MIXED)
    ds.set_epoch(4)
    again = copied(ds)
    assert len(again) == len(ds) == 33
    assert all_values(again) == all_values(ds)


def test_a_subset_of_it_takes_whole_batches(bank, shapes, monkeypatch):
    ds = VAEAugmentedDataset(shapes, bank, seed=0, **MIXED)
    part = Subset(ds, [20, 3, 3, 7])
    wanted, batches = [values(ds[i]) for i in (20, 3, 3, 7)], []
    whole = VAEAugmentedDataset.__getitems__
    monkeypatch.setattr(VAEAugmentedDataset, "__getitems__", lambda s, i: batches.append(i) or whole(s, i))
    assert all_values(part.__getitems__([0, 1, 2, 3])) == wanted
    assert batches == [[20, 3, 3, 7]]
    assert values(ConcatDataset([part, ds])[1]) == wanted[1]


# ---- its arguments ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p_generate": 1.5}, r"^p_generate must be in \[0, 1\], got 1.5.$"),
        ({"p_jitter": -0.1}, r"^p_jitter must be in \[0, 1\], got -0.1.$"),
        ({"p_jitter": float("nan")}, r"^p_jitter must be in \[0, 1\], got nan.$"),
        ({"p_generate": 0.7, "p_jitter": 0.4}, r"^p_generate \+ p_jitter must be at most 1, got 0.7 \+ 0.4.$"),
        ({"scale": -1}, "^scale must be a finite number of at least 0, got -1.$"),
        ({"scale": float("inf")}, "^scale must be a finite number of at least 0, got inf.$"),
        ({"sampling_strategy": "most"}, "^sampling_strategy must be one of .*, got 'most'.$"),
    ],
)
def test_options_out_of_range_are_refused(bank, shapes, options, message):
    with pytest.raises(ValueError, match=message):
        VAEAugmentedDataset(shapes, bank, **options)


def test_an_iterable_dataset_is_refused(bank):
    class Stream(IterableDataset):
        def __iter__(self):
            yield from Shapes()

    with pytest.raises(TypeError, match="Collect its items into a list-like dataset first"):
        VAEAugmentedDataset(Stream(), bank)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, (0.3, 0.6)),
        ({"p_generate": 0.0}, (0.0, 0.6)),
        ({"p_generate": 0.7}, (0.7, 0.3)),
        ({"p_generate": 1.0}, (1.0, 0.0)),
        ({"p_jitter": 0.1}, (0.3, 0.1)),
        ({"p_jitter": 0.9}, (0.1, 0.9)),
        ({"p_jitter": 1.0, "p_generate": 0.0}, (0.0, 1.0)),
    ],
)
def test_an_unset_p_is_the_policys_and_shrinks_to_what_is_left(bank, shapes, given, wanted):
    ds = VAEAugmentedDataset(shapes, bank.with_policy(p_generate=0.3, p_jitter=0.6), **given)
    assert (ds.p_generate, ds.p_jitter) == pytest.approx(wanted)
    assert ds.p_generate + ds.p_jitter <= 1


def test_scale_is_the_policys_unless_given(bank, shapes):
    own, given = (
        all_values(VAEAugmentedDataset(shapes, b, seed=0, **ALL_JITTERED, **options))
        for b, options in ((bank.with_policy(scale=1.9), {}), (bank, {"scale": 1.9}))
    )
    assert own == given


# ---- sampling_strategy ----


@pytest.mark.parametrize(
    ("shares", "sources"),
    [(ALL_REAL, {1}), (ALL_GENERATED, {2}), (MIXED, {1, 2}), ({"p_generate": 0.2, "p_jitter": 0.0}, {2})],
)
def test_added_items_bring_classes_to_their_totals_and_are_never_real(bank, shapes, shares, sources):
    base = Subset(shapes, [*range(10), *range(10, 14), *range(20, 22)])
    ds = VAEAugmentedDataset(base, bank, sampling_strategy="not majority", seed=0, return_source=True, **shares)
    assert len(ds) == 30
    assert Counter(ds.targets) == {0: 10, 1: 10, 2: 10}
    assert ds.is_synthetic.tolist() == [False] * 16 + [True] * 14
    assert [item[1] for item in ds] == list(ds.targets)
    assert {ds[i][2] for i in range(16, 30)} == sources
    if shares is ALL_REAL:
        assert all_values(ds[i][:2] for i in range(16)) == all_values(base[i] for i in range(16))
    assert len({values(ds[i]) for i in range(16, 30)}) == 14


def test_without_a_strategy_nothing_is_added(bank, shapes):
    ds = VAEAugmentedDataset(shapes, bank, **MIXED)
    assert (len(ds), ds.is_synthetic.any().item()) == (30, False)


# ---- its bank ----


@pytest.mark.parametrize("as_type", [str, lambda path: path, VAEBank.load], ids=["text", "path", "object"])
def test_a_bank_is_an_object_or_a_path(bank, bank_path, shapes, as_type):
    ds = VAEAugmentedDataset(shapes, as_type(bank_path), seed=0, **MIXED)
    assert all_values(ds) == all_values(VAEAugmentedDataset(shapes, bank, seed=0, **MIXED))


def test_no_bank_at_the_path(shapes, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no bank at .*nothing.safetensors. `vae-augment fit` makes one"):
        VAEAugmentedDataset(shapes, tmp_path / "nothing.safetensors")


def test_a_class_that_the_bank_lacks(bank, shapes):
    with pytest.raises(ValueError, match=r"no class for label 1 \('down'\) of base_ds; it has labels \[0, 2\]"):
        VAEAugmentedDataset(shapes, bank.subset(["across", "slanted"]))


def test_a_class_that_the_base_lacks_is_no_matter(bank, shapes):
    ds = VAEAugmentedDataset(Subset(shapes, [25, 3]), bank, seed=0, **ALL_GENERATED)
    assert [label for _, label in ds] == [2, 0]
    assert ds.class_to_idx == shapes.class_to_idx


def test_classes_of_other_names_go_by_the_label_with_a_warning(bank, shapes):
    renamed = Shapes()
    renamed.classes = ("across", "up", "slanted")
    with pytest.warns(DataWarning, match="label 1 is 'down' in the bank and 'up' in base_ds; going by the label"):
        ds = VAEAugmentedDataset(renamed, bank, seed=0, **ALL_GENERATED)
    assert all_values(ds) == all_values(VAEAugmentedDataset(shapes, bank, seed=0, **ALL_GENERATED))


def test_a_base_without_class_names_has_none_that_differ(bank):
    ds = VAEAugmentedDataset(TensorDataset(FLOATS, torch.tensor(TARGETS)), bank, **MIXED)
    assert ds.classes == ["0", "1", "2"]


FITTED = "fitting a bank on 30 images, once; it is kept in "


def test_without_a_bank_one_is_fitted_once_and_kept(quick_presets, tmp_path, capsys):
    first = VAEAugmentedDataset(Shapes(), seed=0, **MIXED)
    assert FITTED in capsys.readouterr().err
    again = VAEAugmentedDataset(Shapes(transform=np.asarray), seed=0, **MIXED)
    assert capsys.readouterr().err == ""
    assert all_values(again) == all_values(first)
    kept = [path.suffix for path in (tmp_path / "cache").rglob("*") if path.suffix != ".lock"]
    assert sorted(kept) == ["", ".safetensors"]  # the folder, and one bank
    VAEAugmentedDataset(Shapes(seed=1))
    assert FITTED in capsys.readouterr().err


def test_a_damaged_bank_in_the_cache_is_fitted_again(quick_presets, tmp_path, capsys):
    VAEAugmentedDataset(Shapes())
    (path,) = (tmp_path / "cache").rglob("*.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    with pytest.warns(CacheWarning, match="fitting again: .* is not a bank, or is cut off"):
        VAEAugmentedDataset(Shapes())
    assert capsys.readouterr().err.count(FITTED) == 2
    assert path.read_bytes() == whole


# ---- what people do with it ----


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("base", [Shapes(), Shapes(transform=to_float_tensor)])
def test_the_data_that_the_bank_was_fitted_on_is_no_surprise(bank, base):
    assert len(VAEAugmentedDataset(base, bank)) == 30


@pytest.mark.parametrize("base", [Shapes(seed=1), Subset(Shapes(), range(20)), Shapes(per_class=3)])
def test_other_data_than_the_banks_is_warned_of(bank, base):
    with pytest.warns(
        LeakageWarning, match=r"fitted on other data \(Shapes, 30 images\) than base_ds .* look better than they are"
    ):
        VAEAugmentedDataset(base, bank)


def test_wrapping_twice_says_what_to_wrap(bank, shapes):
    ds = VAEAugmentedDataset(shapes, bank)
    with pytest.raises(TypeError, match="base_ds is a VAEAugmentedDataset already; wrap the dataset that it was made"):
        VAEAugmentedDataset(ds, bank)


def test_a_copy_has_an_epoch_and_a_transform_of_its_own(bank, shapes):
    ds = VAEAugmentedDataset(shapes, bank, seed=0)
    other = copy.copy(ds)
    other.set_epoch(3)
    other.transform = lambda image: "transformed"
    assert (int(ds._epoch), ds.transform) == (0, None)
    assert other[0][0] == "transformed"


def test_a_bank_that_cannot_be_kept_is_used_all_the_same(quick_presets, shapes, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("VAE_AUGMENT_CACHE", str(tmp_path / "file"))
    with (
        pytest.warns(CacheWarning, match=r"the bank could not be kept in .* Set \$VAE_AUGMENT_CACHE"),
        pytest.warns(CacheWarning, match="what is finished cannot be kept in "),
    ):
        assert VAEAugmentedDataset(shapes).bank.classes == Shapes.classes


def test_a_class_whose_fit_failed_stays_real(bank, shapes):
    infos = (replace(bank.class_infos[0], status="failed"), *bank.class_infos[1:])
    ds = VAEAugmentedDataset(
        shapes, VAEBank(replace(bank.content, class_infos=infos)), p_jitter=1.0, seed=0, return_source=True
    )
    assert [item[2] for item in ds] == [0] * 10 + [1] * 20


def test_of_a_class_whose_fit_failed_real_images_are_added(bank, shapes):
    infos = (replace(bank.class_infos[0], status="failed"), *bank.class_infos[1:])
    failed = VAEBank(replace(bank.content, class_infos=infos))
    ds = VAEAugmentedDataset(shapes, failed, sampling_strategy={0: 15, 1: 15}, seed=0, return_source=True)
    added = [(image, label, source) for image, label, source in (ds[i] for i in range(30, 40))]
    assert [(label, source > 0) for _, label, source in added] == [(0, False)] * 5 + [(1, True)] * 5
    assert all(np.array_equal(image, shapes[i][0]) for i, (image, _, _) in enumerate(added[:5]))


def test_a_part_of_the_data_is_read_as_the_whole_was():
    torch.manual_seed(0)
    images, labels = torch.randn(12, 1, 8, 8).clamp(-2.5, 2.5), torch.arange(12) % 2
    images[0, 0, 0, 0], images[1, 0, 0, 0] = -3.0, 3.0
    whole = TensorDataset(images, labels)
    fitted = fit(whole, config=CONFIG, progress=False)
    assert fitted.value_range == (-3.0, 3.0)
    part = VAEAugmentedDataset(
        Subset(whole, range(2, 12)), fitted.with_policy(keep_detail=True, moves="none"), p_jitter=1.0, scale=0.0
    )
    torch.testing.assert_close(torch.stack([part[i][0] for i in range(10)]), images[2:], atol=1e-5, rtol=0)
    assert all(torch.equal(part[i][1], labels[i + 2]) for i in range(10))


def test_alpha_is_kept_with_the_detail(bank):
    image = Image.new("RGBA", (12, 12), (200, 10, 10, 7))
    base = Stored([image] * 3, [0, 1, 2])
    ds = VAEAugmentedDataset(base, bank.with_policy(keep_detail=True), p_jitter=1.0, scale=0.0, p_generate=0.0)
    assert (ds[0][0].mode, ds[0][0].tobytes()) == ("RGBA", image.tobytes())


# ---- what makes it quick changes nothing ----


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("after", [[], [Normalize(0.5, 0.25)]])
@pytest.mark.parametrize("keep_detail", [False, True])
def test_a_transform_that_begins_with_to_tensor_gives_what_it_always_would(bank, mode, after, keep_detail):
    sizes = [(12, 12), (30, 17)]
    plain = Transformed(resized(mode, sizes), Compose([ToTensor(), *after]))
    hidden = Transformed(resized(mode, sizes), lambda image: Compose([ToTensor(), *after])(image))
    bank = bank.with_policy(keep_detail=keep_detail)
    quick, usual = (VAEAugmentedDataset(base, bank, seed=0, **MIXED) for base in (plain, hidden))
    for (a, label_a), (b, label_b) in zip(quick, usual, strict=True):
        assert torch.equal(a, b)
        assert (a.is_contiguous(), label_a) == (b.is_contiguous(), label_b)


class Transformed(Stored):
    def __init__(self, images, transform):
        super().__init__(images)
        self.transform = transform

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return (image if self.transform is None else self.transform(image)), label


def test_a_generated_image_in_place_of_a_file_does_not_decode_it(bank, tmp_path, monkeypatch):
    for name in Shapes.classes:
        (tmp_path / name).mkdir()
        Image.new("L", (20, 9)).save(tmp_path / name / "0.png")
    base = ImageFolder(tmp_path)
    ds = VAEAugmentedDataset(base, bank, seed=0, **ALL_GENERATED)
    loaded = []
    whole = Image.Image.convert
    monkeypatch.setattr(Image.Image, "convert", lambda image, mode: loaded.append(mode) or whole(image, mode))
    assert [(image.mode, image.size, label) for image, label in ds] == [("RGB", (20, 9), k) for k in range(3)]
    assert loaded == []


def test_the_bundled_sample_is_read_as_one_array(bank):
    few = Subset(MNISTSample(), range(300))
    ds = VAEAugmentedDataset(few, fit(few, config=CONFIG, progress=False), seed=0, **ALL_GENERATED)
    assert [(image.mode, image.size, label) for image, label in ds] == [("L", (28, 28), few[i][1]) for i in range(300)]


def test_an_assigned_transform_reaches_items_whose_base_has_none(bank):
    ds = VAEAugmentedDataset(Tensors(FLOATS), bank, seed=0, return_source=True, **MIXED)
    ds.transform, ds.target_transform = Tagged, float
    assert (ds.transform, ds.target_transform) == (Tagged, float)
    assert {(type(image), type(label), source) for image, label, source in ds} == {(Tagged, float, s) for s in range(3)}
    assert type(VAEAugmentedDataset(Tensors(FLOATS), bank)[0][0]) is torch.Tensor


@pytest.mark.parametrize("shares", [ALL_GENERATED, ALL_JITTERED])
def test_another_default_dtype_changes_nothing_but_what_to_tensor_gives(bank, shares):
    base = Shapes(transform=ToTensor())
    usual = [image for image, _ in VAEAugmentedDataset(base, bank, seed=0, **shares)]
    torch.set_default_dtype(torch.float64)
    try:
        ds = VAEAugmentedDataset(base, bank, seed=0, **shares)
        assert all(image.dtype == base[0][0].dtype for image, _ in ds)
        assert all(torch.equal((a * 255).round(), (b * 255).round()) for (a, _), b in zip(ds, usual, strict=True))
    finally:
        torch.set_default_dtype(torch.float32)


def test_an_item_does_not_hold_its_batch(bank):
    ds = VAEAugmentedDataset(Shapes(transform=ToTensor()), bank, **ALL_GENERATED)
    assert {image.untyped_storage().nbytes() for image, _ in ds.__getitems__(range(8))} == {4 * 12 * 12}


# ---- labels that are names ----

ANIMALS = ("ant", "bee", "cat")


class Animals(Shapes):
    """Shapes labelled with names, in no attribute of the usual name."""

    classes = None

    def __getitem__(self, index):
        image, name = Image.fromarray(self.data[index]), ANIMALS[self.targets[index]]
        image = image if self.transform is None else self.transform(image)
        return image, name if self.target_transform is None else self.target_transform(name)


class NumberedAnimals(Shapes):
    """The same, labelled with numbers."""

    classes = ANIMALS


@pytest.fixture(scope="module")
def animals():
    """A bank."""
    return fit(Animals(), config=CONFIG, progress=False)


def pictures(items):
    return [np.asarray(image).tobytes() for image, _ in items]


def test_a_bank_of_names_is_that_of_their_places(animals):
    numbered = fit(NumberedAnimals(), config=CONFIG, progress=False).with_data(name="Animals")
    assert animals.class_to_idx == {"ant": 0, "bee": 1, "cat": 2}
    assert animals.sha256 == numbered.sha256


@pytest.mark.parametrize("shares", [MIXED, ALL_GENERATED, ALL_JITTERED, ALL_REAL])
def test_names_stay_what_the_base_gives(animals, shares):
    ds = VAEAugmentedDataset(Animals(), animals, seed=0, **shares)
    assert [(type(label), label) for _, label in ds] == [(str, ANIMALS[target]) for target in TARGETS]
    assert list(ds.targets) == TARGETS
    assert (ds.classes, ds.class_to_idx) == (list(ANIMALS), {"ant": 0, "bee": 1, "cat": 2})
    assert pictures(ds) == pictures(VAEAugmentedDataset(NumberedAnimals(), animals, seed=0, **shares))


@pytest.mark.filterwarnings("ignore:the bank was fitted on other data")
@pytest.mark.parametrize("shares", [ALL_GENERATED, ALL_JITTERED])
@pytest.mark.parametrize("path", [False, True])
def test_names_meet_their_own_class_of_a_bank_though_one_is_lacking(animals, shares, path, tmp_path):
    items = [*range(20, 30), *range(10)]  # no bee: sorted, cat would come second
    animals.save(tmp_path / "animals.safetensors")
    given = tmp_path / "animals.safetensors" if path else animals
    ds = VAEAugmentedDataset(Subset(Animals(), items), given, seed=0, **shares)
    assert [label for _, label in ds] == ["cat"] * 10 + ["ant"] * 10
    assert list(ds.targets) == [2] * 10 + [0] * 10
    assert (ds.classes, ds.class_to_idx) == (["ant", "cat"], {"ant": 0, "cat": 2})
    numbered = Subset(NumberedAnimals(), items)
    assert pictures(ds) == pictures(VAEAugmentedDataset(numbered, animals, seed=0, **shares))


@pytest.mark.filterwarnings("ignore:the bank was fitted on other data")
def test_names_that_the_dataset_numbers_otherwise_meet_their_own_class(animals):
    backwards = Animals()
    backwards.classes = ["cat", "bee", "ant", "cow"]
    ds = VAEAugmentedDataset(backwards, animals, seed=0, **ALL_GENERATED)
    assert list(ds.targets) == TARGETS
    assert pictures(ds) == pictures(VAEAugmentedDataset(Animals(), animals, seed=0, **ALL_GENERATED))


def test_names_meet_classes_of_a_bank_that_was_fitted_on_numbers_with_names(bank):
    named = Stored([image for image, _ in Shapes()], [Shapes.classes[target] for target in TARGETS])
    named.classes = None
    ds = VAEAugmentedDataset(named, bank, seed=0, **ALL_GENERATED)
    assert pictures(ds) == pictures(VAEAugmentedDataset(Shapes(), bank, seed=0, **ALL_GENERATED))


def test_a_name_that_the_bank_lacks(animals):
    message = "the bank has no class 'bee' of base_ds; it has 'ant', 'cat'. Fit a bank on this dataset."
    with pytest.raises(ValueError, match=message):
        VAEAugmentedDataset(Animals(), animals.subset(["ant", "cat"]))


@pytest.mark.parametrize(
    "strategy",
    [{"cat": 12}, {2: 12}, {np.str_("cat"): 12}, lambda y: {"cat": 2 + Counter(y)["cat"]}, lambda y: {2: 12}],
)
def test_a_strategy_may_name_classes(animals, strategy):
    ds = VAEAugmentedDataset(Animals(), animals, seed=0, sampling_strategy=strategy, **MIXED)
    assert [label for _, label in ds][30:] == ["cat"] * 2
    assert ds.targets[30:] == [2, 2]


@pytest.mark.filterwarnings("ignore:the bank was fitted on other data")
def test_a_strategy_adds_to_the_named_class_where_one_is_lacking(animals):
    part = Subset(Animals(), [*range(10), *range(20, 23)])
    ds = VAEAugmentedDataset(part, animals, seed=0, sampling_strategy="not majority", **MIXED)
    assert Counter(label for _, label in ds) == {"ant": 10, "cat": 10}
    with pytest.raises(ValueError, match=r"names class 'bee', which has no images; there are \['ant', 'cat'\]"):
        VAEAugmentedDataset(part, animals, sampling_strategy={"bee": 9})
    with pytest.raises(ValueError, match="must give class 'cat' a total of at least the 3 images it has, got 1"):
        VAEAugmentedDataset(part, animals, sampling_strategy={"cat": 1})


def test_a_strategy_may_name_classes_of_numbers(bank, shapes):
    ds = VAEAugmentedDataset(shapes, bank, seed=0, sampling_strategy={"down": 12}, **MIXED)
    assert ds.targets[30:] == [1, 1]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_batches_of_names(animals, workers):
    base = Animals(transform=to_float_tensor)
    ds = VAEAugmentedDataset(base, animals, seed=0, **MIXED)
    batches = list(DataLoader(ds, 10, num_workers=workers))
    assert [name for _, names in batches for name in names] == [ANIMALS[target] for target in TARGETS]
    assert {type(names) for _, names in batches} == {type(next(iter(DataLoader(base, 10)))[1])}
    assert torch.equal(torch.cat([images for images, _ in batches]), torch.stack([image for image, _ in ds]))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda ds: pickle.loads(pickle.dumps(ds))])
def test_a_copy_of_one_with_names_is_equal(animals, copied):
    ds = VAEAugmentedDataset(Animals(), animals, seed=0, **MIXED)
    again = copied(ds)
    assert all_values(again) == all_values(ds)
    assert again.class_to_idx == ds.class_to_idx


def test_a_transform_of_names_is_applied_to_every_kind(animals):
    ds = VAEAugmentedDataset(Animals(target_transform=None), animals, seed=0, return_source=True, **MIXED)
    ds.target_transform = str.upper
    assert {source for _, _, source in ds} == {0, 1, 2}
    assert [label for _, label, _ in ds] == [ANIMALS[target].upper() for target in TARGETS]


def test_without_a_bank_one_is_fitted_on_names(quick_presets, capsys):
    for _ in range(2):
        ds = VAEAugmentedDataset(Animals(), seed=0, **ALL_GENERATED)
        assert ds.bank.classes == ANIMALS
        assert [label for _, label in ds] == [ANIMALS[target] for target in TARGETS]
    assert capsys.readouterr().err.count("fitting a bank") == 1


def test_truths_and_floats_stay_what_the_base_gives():
    images = [image for image, _ in Shapes()][:20]
    for labels, names in (([True, False] * 10, ["False", "True"]), ([1.0, 0.0] * 10, ["0", "1"])):
        base = Stored(images, labels)
        base.classes = None
        ds = VAEAugmentedDataset(base, fit(base, config=CONFIG, progress=False), seed=0, **MIXED)
        assert [(type(label), label) for _, label in ds] == [(type(label), label) for label in labels]
        assert ds.classes == names


def test_16_bits_behind_8_are_not_white():
    """Values of a folder's later images need a range even if the first image's do not."""
    deep = [Image.fromarray(a.astype(np.uint16) * 200) for a in Shapes().data]
    images = [Image.fromarray(a) for a in Shapes().data[:3]] + deep[3:]
    base = Stored(images)
    fitted = fit(base, config=CONFIG, progress=False)
    assert fitted.value_range == (0.0, max(float(np.asarray(image).max()) for image in deep[3:]))
    ds = VAEAugmentedDataset(base, fitted, seed=0, **ALL_JITTERED)
    for (made, _), (real, _) in zip(ds, base.items, strict=True):
        assert kind_of(made) == kind_of(real)
    scaled = np.stack([np.asarray(image) for image, _ in list(ds)[3:]]) / fitted.value_range[1]
    assert 0.02 < scaled.mean() < 0.7
