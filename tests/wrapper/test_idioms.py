"""Idioms that hold over the wrapper as over its base: labels, class weights, batches, label cleaning."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Subset, TensorDataset, random_split
from torchvision.datasets import ImageFolder

from tests.conftest import CONFIG, Shapes
from tests.recording import record
from vae_augment import VAEAugmentedDataset, evaluate, fit

IMAGES, LABELS = torch.from_numpy(Shapes().data)[:, None], torch.tensor(Shapes().targets)
ALL_REAL = {"p_generate": 0.0, "p_jitter": 0.0}
ALL_GENERATED = {"p_generate": 1.0, "p_jitter": 0.0}
MIXED = {"p_generate": 0.4, "p_jitter": 0.4, "seed": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("folder")
    for i, (image, label) in enumerate(Shapes()):
        (root / Shapes.classes[label]).mkdir(exist_ok=True)
        image.convert("RGB").save(root / Shapes.classes[label] / f"{i:02d}.png")
    return root


@pytest.fixture(scope="module")
def folder_bank(folder):
    return fit(ImageFolder(folder), config=CONFIG, progress=False)


# ---- labels ----


def test_labels_are_counted_as_the_bases(folder, folder_bank, record_property):
    record(
        record_property,
        library="torch DataLoader",
        what="Counter of targets, class weights, samples, imgs, root",
    )
    base = ImageFolder(folder)
    ds = VAEAugmentedDataset(base, folder_bank, sampling_strategy={"down": 13}, **MIXED)
    assert type(ds.targets) is list
    assert Counter(ds.targets) == {0: 10, 1: 13, 2: 10}
    assert ds.targets.count(1) == 13
    assert ds.targets == [item[1] for item in ds]
    weights = [1 / Counter(ds.targets)[label] for label in ds.targets]
    assert sum(weights) == pytest.approx(3)
    assert ds.samples[:30] == ds.imgs[:30] == base.samples
    assert [label for _, label in ds.samples] == ds.targets
    assert (ds.root, ds.classes, ds.class_to_idx) == (base.root, base.classes, base.class_to_idx)


@pytest.mark.parametrize(
    ("targets", "kind"),
    [
        (LABELS, torch.Tensor),
        (LABELS.numpy(), np.ndarray),
        (LABELS.tolist(), list),
        (tuple(LABELS.tolist()), torch.Tensor),
    ],
)
def test_labels_are_of_the_bases_type(targets, kind, bank):
    base = Shapes()
    base.targets = targets
    ds = VAEAugmentedDataset(base, bank)
    assert type(ds.targets) is kind
    assert list(map(int, ds.targets)) == LABELS.tolist()
    assert type(VAEAugmentedDataset(Subset(base, range(3, 9)), bank).targets) is kind


def test_what_the_base_lacks_is_lacking(bank, shapes):
    ds = VAEAugmentedDataset(shapes, bank)
    assert not any(hasattr(ds, name) for name in ("samples", "imgs", "root"))


def test_labels_that_are_cleaned_in_place_are_gone_by(bank, record_property):
    record(
        record_property,
        library="torch DataLoader",
        what="label cleaning: corrected samples and targets",
    )
    from vae_augment.mnist_sample import MNISTSample

    base = MNISTSample()
    bank = fit(Subset(base, range(0, 5000, 25)), config=CONFIG, progress=False)
    ds = VAEAugmentedDataset(base, bank, seed=1, **ALL_GENERATED)
    old = int(base.targets[7])
    base.targets[7] = (old + 1) % 10
    with pytest.warns(UserWarning, match="item 7 has label .* when it is read"):
        assert ds[7][1] == (old + 1) % 10
    assert ds._rows[7] == (old + 1) % 10


# ---- one-hot labels, which the wrapper is told of ----


class OneHot(Shapes):
    def __init__(self, **options):
        super().__init__(**options)
        self.rows = torch.eye(3)[torch.tensor(self.targets)]
        del self.targets

    def __getitem__(self, index):
        return Image.fromarray(self.data[index]), self.rows[index]


@pytest.mark.filterwarnings("ignore::vae_augment.exceptions.LeakageWarning")
def test_one_hot_labels_are_served_with_labels_given_beside():
    base = OneHot()
    bank = fit(base, labels=LABELS, config=CONFIG, progress=False)
    ds = VAEAugmentedDataset(base, bank, labels=LABELS, **MIXED)
    assert torch.equal(torch.stack([label for _, label in ds]), torch.eye(3)[LABELS])
    assert ds.targets.tolist() == LABELS.tolist()
    options = {"arms": ("none", "ours"), "seeds": 1, "steps": 2, "config": CONFIG, "progress": False}
    found = evaluate(base, labels=LABELS, test=OneHot(seed=1), test_labels=LABELS, bank=bank, **options)
    assert found.setup["classes"] == 3


def test_labels_given_beside_are_part_of_the_cache(monkeypatch):
    base = TensorDataset(IMAGES, torch.eye(3)[LABELS])
    one = VAEAugmentedDataset(base, fit(base, labels=LABELS, config=CONFIG, progress=False), labels=LABELS)
    assert one.bank.classes == ("0", "1", "2")
    with pytest.raises(ValueError, match="labels must be one per dataset item"):
        VAEAugmentedDataset(base, one.bank)


# ---- batches ----


def test_a_base_that_gives_batches_is_indexed_by_batches(bank, record_property):
    record(
        record_property,
        library="torch DataLoader",
        what="batch_size=None, ds[[0, 1]] and ds[:4] of a TensorDataset",
    )
    base = TensorDataset(IMAGES, LABELS)
    ds = VAEAugmentedDataset(base, bank, **MIXED)
    for index in ([0, 1], slice(4), slice(None, None, 7), torch.tensor([3, 5]), np.array([2, 2]), (1, 2), [-1], []):
        images, labels = ds[index]
        wanted = [ds[i] for i in np.arange(30)[list(index) if isinstance(index, tuple) else index].tolist()]
        assert images.shape == (len(wanted), 1, 12, 12)
        assert all(torch.equal(image, item[0]) for image, item in zip(images, wanted, strict=True))
        assert labels.tolist() == [int(item[1]) for item in wanted]
    mask = LABELS == 1
    assert torch.equal(ds[mask][1], LABELS[mask])
    loader = DataLoader(ds, batch_size=None, sampler=BatchSampler(RandomSampler(ds), 8, drop_last=False))
    assert sum(len(labels) for _, labels in loader) == 30
    real = VAEAugmentedDataset(base, bank, return_source=True, **ALL_REAL)
    images, labels, sources = real[:5]
    assert torch.equal(images, base[:5][0])
    assert sources.tolist() == [0] * 5


def test_a_table_of_hugging_face_is_sliced(bank, record_property):
    datasets = pytest.importorskip("datasets")
    record(record_property, library="datasets", what="ds[:4] and ds[[0, 1]]")
    table = datasets.Dataset.from_dict({"image": [image for image, _ in Shapes()], "label": LABELS.tolist()})
    ds = VAEAugmentedDataset(table, bank, **MIXED)
    batch = ds[:4]
    assert list(batch) == ["image", "label"]
    assert batch["label"] == [0] * 4
    assert all(np.array_equal(image, ds[i]["image"]) for i, image in enumerate(batch["image"]))
    assert ds[[0, 29]]["label"] == [0, 2]


def test_a_base_that_gives_no_batches_says_so(bank, shapes):
    with pytest.raises((TypeError, IndexError)):
        VAEAugmentedDataset(shapes, bank)["first"]
    with pytest.raises(TypeError):
        VAEAugmentedDataset(shapes, bank)[[0, 1]]


# ---- by class ----


def test_shares_and_scale_are_given_by_class(bank, shapes):
    options = {"p_generate": {"across": 1.0, 2: 0.0}, "p_jitter": {"down": 1.0, "slanted": 0.0, "across": 0.0}}
    ds = VAEAugmentedDataset(shapes, bank, seed=0, return_source=True, **options)
    assert {(label, made) for _, label, made in ds} == {(0, 2), (1, 1), (2, 0)}
    assert ds.p_generate == {"across": 1.0, "down": 0.0, "slanted": 0.0}
    unmoved = bank.with_policy(keep_detail=True, moves="none")
    still = VAEAugmentedDataset(shapes, unmoved, seed=0, scale={"across": 0.0}, p_generate=0.0, p_jitter=1.0)
    moved = [not np.array_equal(still[i][0], shapes[i][0]) for i in range(30)]
    assert not any(moved[:10])
    assert all(moved[10:])


# ---- validation without synthetic images ----


def test_a_split_of_the_wrapper_is_made_real(bank, shapes, record_property):
    record(
        record_property,
        library="torch DataLoader",
        what="random_split of it, with a real view for validation",
    )
    ds = VAEAugmentedDataset(shapes, bank, sampling_strategy={"down": 15}, return_source=True, seed=0, **ALL_GENERATED)
    train, val = random_split(ds, [0.8, 0.2], generator=torch.Generator().manual_seed(0))
    measured = Subset(ds.real(), val.indices)
    assert {source for *_, source in train} == {2}
    assert {source for *_, source in measured} == {0}
    assert all(np.array_equal(measured[i][0], shapes[int(ds._origin[k])][0]) for i, k in enumerate(val.indices))
    assert len(ds.real()) == len(ds) == 35


# ---- labels and names that are easily misread ----


def test_an_item_of_a_class_that_the_list_lacks_is_named(bank):
    class Odd(Shapes):
        classes = ("across", "down", "slanted", "crossed")
        odd = 3

        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return image, self.odd if index == 60 else label

    for odd in (3, -1, None):
        base = Odd(per_class=100)
        base.odd = odd
        if odd == 3:
            with pytest.raises(ValueError, match="item 60 has label 3 when it is read, which no item has in the list"):
                fit(base, config=CONFIG, progress=False)
        with pytest.raises(ValueError, match=f"item 60 has label {odd} when it is read"):
            VAEAugmentedDataset(base, bank, seed=0, **ALL_GENERATED)[60]


@pytest.mark.parametrize(
    "declared",
    [
        {"classes": np.array(["a", "b", "c"])},
        {"class_to_idx": {"a": 0.0, "b": 1.0, "c": 2.0}},
        {"class_to_idx": {"a": np.uint8(0), "b": torch.tensor(1), "c": 2}},
    ],
    ids=str,
)
def test_names_may_be_of_other_kinds(declared, bank):
    class Named(Shapes):
        class_to_idx = None
        classes = None

    base = Named()
    vars(base).update(declared)
    assert fit(base, config=CONFIG, progress=False).classes == ("a", "b", "c")


def test_a_subset_may_be_given_names_by_hand():
    base = Subset(TensorDataset(IMAGES, LABELS), range(5, 30))
    base.classes = ["a", "b", "c"]
    assert fit(base, config=CONFIG, progress=False).classes == ("a", "b", "c")


def test_labels_given_beside_may_lack_some(shapes):
    labels = [-1 if i % 3 == 0 else label for i, label in enumerate(shapes.targets)]
    with pytest.warns(UserWarning, match="10 of 30 items of the Shapes have no label"):
        bank = fit(shapes, labels=labels, config=CONFIG, progress=False)
    assert (bank.classes, sum(info.images for info in bank.class_infos)) == (Shapes.classes, 20)


@pytest.mark.parametrize("strategy", [{1: 30}, {"one": 30}, lambda labels: {1: 25 + int((labels == 1).sum())}])
def test_evaluate_balances_the_class_that_is_meant(strategy, monkeypatch):
    from vae_augment.evaluation import arms

    class From1(Shapes):
        classes = ("none", "one", "two", "three")
        class_to_idx = None

        def __init__(self):
            super().__init__()
            keep = [i for i in range(30) if i % 2 == 0 or i >= 10]
            self.data, self.targets = self.data[keep], [self.targets[i] + 1 for i in keep]

    seen = []
    wrap = arms.VAEAugmentedDataset
    monkeypatch.setattr(arms, "VAEAugmentedDataset", lambda *a, **k: seen.append(wrap(*a, **k)) or seen[-1])
    options = {"arms": ("none", "ours"), "seeds": 1, "steps": 2, "config": CONFIG, "progress": False}
    evaluate(From1(), sampling_strategy=strategy, **options)
    assert Counter(seen[0].targets.tolist())[0] > 25
    with pytest.raises(ValueError, match="names class '7'"):
        evaluate(From1(), sampling_strategy={7: 30}, **options)


def test_a_batch_of_synthetic_items_alone_asks_the_base_for_none(bank):
    class Together(Shapes):
        def __getitems__(self, indices):
            stacked = np.stack([self.data[i] for i in indices])
            return [(Image.fromarray(image), self.targets[i]) for image, i in zip(stacked, indices, strict=True)]

    ds = VAEAugmentedDataset(Together(), bank, seed=0, **ALL_GENERATED)
    assert [label for _, label in ds] == LABELS.tolist()


def test_other_images_beside_an_items_own_are_told_of(bank):
    class Masked(Shapes):
        def __getitem__(self, index):
            return *super().__getitem__(index), np.zeros((12, 12), bool)

    with pytest.warns(UserWarning, match="items hold other images beside theirs"):
        VAEAugmentedDataset(Masked(), bank, **ALL_GENERATED)
    VAEAugmentedDataset(Masked(), bank, **ALL_REAL)


def test_nothing_is_fitted_on_a_wrapper(bank, shapes):
    for ds in (VAEAugmentedDataset(shapes, bank), Subset(VAEAugmentedDataset(shapes, bank), [0, 15, 25])):
        with pytest.raises(TypeError, match="a VAEAugmentedDataset holds synthetic images: give the dataset"):
            fit(ds, config=CONFIG, progress=False)


def test_autocast_changes_nothing(bank, shapes):
    ds = VAEAugmentedDataset(shapes, bank, **MIXED)
    plain = [np.array(image) for image, _ in ds]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert all(map(np.array_equal, plain, [np.array(image) for image, _ in ds]))
        fitted = fit(shapes, config=CONFIG, progress=False)
    assert fitted.sha256 == bank.sha256
