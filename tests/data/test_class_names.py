"""Labels and names of anybody's dataset: which class an item is of, and what it is called."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Subset
from torchvision.datasets import ImageFolder

from tests.conftest import CONFIG, Shapes
from vae_augment import VAEAugmentedDataset, fit
from vae_augment.data.source import Source
from vae_augment.exceptions import DataWarning

ANIMALS = ("cat", "dog", "horse")


def folders(root, *names, count=4):
    """Class folders of images whose grey value tells their class."""
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(count):
            grey = np.full((12, 12), 50 * len(name) + i, np.uint8)
            Image.fromarray(grey).save(root / name / f"{i}.png")
    return root


def mapped(classes, class_to_idx):
    class Mapped(ImageFolder):
        def find_classes(self, directory):
            return classes, class_to_idx

    return Mapped


class Numbered(Shapes):
    """Shapes whose labels, names and mapping are given."""

    def __init__(self, labels, **declared):
        super().__init__()
        self.targets = [labels[target] for target in self.targets]
        self.classes = declared.get("classes")
        self.mapping = declared.get("class_to_idx")

    @property
    def class_to_idx(self):
        return self.mapping


@pytest.mark.parametrize(
    ("class_to_idx", "names"),
    [
        ({"cat": 2, "dog": 0, "horse": 1}, {0: "dog", 1: "horse", 2: "cat"}),
        ({"cat": 0, "dog": 5, "horse": 9}, {0: "cat", 5: "dog", 9: "horse"}),
        ({"cat": 1, "horse": 0}, {0: "horse", 1: "cat"}),
        ({"cat": 0, "dog": 0, "horse": 1}, {0: "cat", 1: "horse"}),
        ({"cat": np.int64(1), "dog": np.int64(0), "horse": 2}, {0: "dog", 1: "cat", 2: "horse"}),
    ],
    ids=["another order", "gaps", "a part", "two names of a label", "of NumPy"],
)
def test_labels_are_named_by_class_to_idx(class_to_idx, names, tmp_path):
    dataset = mapped(list(ANIMALS), class_to_idx)(folders(tmp_path, *class_to_idx))
    source = Source(dataset)
    assert source.classes == names
    assert source.class_to_idx == class_to_idx
    assert source.all_classes == dataset.classes
    for i, (path, label) in enumerate(dataset.samples):
        assert source.labels[i] == label
        assert class_to_idx[path.split("/")[-2]] == label


@pytest.mark.parametrize(
    ("labels", "declared", "names"),
    [
        ((0, 1, 2), {"classes": ANIMALS, "class_to_idx": {"cat": 0}}, ANIMALS),
        ((0, 1, 2), {"classes": ANIMALS, "class_to_idx": ["cat"]}, ANIMALS),
        ((0, 1, 2), {"classes": ANIMALS, "class_to_idx": {"cat": "0", "dog": "1"}}, ANIMALS),
        ((0, 1, 2), {"class_to_idx": {"b": 0, "a": 1, "c": 2}}, ("b", "a", "c")),
        ((0, 1, 7), {"classes": ANIMALS}, ("0", "1", "7")),
        ((0, 1, 2), {"classes": set(ANIMALS)}, ("0", "1", "2")),
        (ANIMALS, {"class_to_idx": {"cat": 5, "dog": 3, "horse": 4}}, ("dog", "horse", "cat")),
    ],
)
def test_names_are_those_that_cover_all_labels(labels, declared, names):
    assert tuple(Source(Numbered(labels, **declared)).classes.values()) == names


def test_a_class_is_chosen_by_any_of_its_names(bank):
    base = Numbered((0, 1, 2), class_to_idx={"across": 0, "bar": 0, "down": 1, "slanted": 2})
    for name in ("across", "bar"):
        wrapped = VAEAugmentedDataset(base, bank, sampling_strategy={name: 13})
        assert torch.bincount(torch.tensor(wrapped.targets)).tolist() == [13, 10, 10]


# ---- classes without images ----


@pytest.mark.parametrize("nest", [lambda ds: ds, lambda ds: Subset(ds, range(10, 30))], ids=["itself", "a subset"])
def test_classes_without_images_keep_their_place(nest, bank):
    base = Shapes()
    base.classes = ("across", "down", "slanted", "empty")
    wrapped = VAEAugmentedDataset(nest(base), bank)
    assert wrapped.classes == ["across", "down", "slanted", "empty"]
    assert wrapped.class_to_idx == {"across": 0, "down": 1, "slanted": 2, "empty": 3}
    assert all(wrapped.classes[wrapped[i][1]] == base.classes[wrapped[i][1]] for i in range(len(wrapped)))


def test_an_empty_folder_is_a_class(tmp_path):
    folders(tmp_path, "ant", "bee")
    (tmp_path / "aphid").mkdir()
    dataset = ImageFolder(tmp_path, allow_empty=True)
    wrapped = VAEAugmentedDataset(dataset, fit(dataset, config=CONFIG, progress=False))
    assert (wrapped.classes, wrapped.class_to_idx) == (dataset.classes, dataset.class_to_idx)
    assert wrapped.bank.class_to_idx == {"ant": 0, "bee": 2}


# ---- no label ----


def test_items_without_a_label_are_left_out_and_counted():
    base = Numbered((0, -1, 2), classes=list(ANIMALS))
    with pytest.warns(DataWarning, match=r"10 of 30 items of the Numbered have no label \(-1\), and are left out"):
        source = Source(base)
    assert source.classes == {0: "cat", 2: "horse"}
    assert len(source) == 20
    assert [source.raw(i).target for i in range(20)] == [0] * 10 + [2] * 10
    assert [item[1] for item in source.items(list(range(20)))] == source.labels.tolist()


def test_a_label_of_minus_one_is_one_where_nothing_has_a_name_or_it_has_one():
    assert Source(Numbered((-1, 0, 1))).classes == {-1: "-1", 0: "0", 1: "1"}
    named = Numbered((-1, 0, 1), class_to_idx={"none": -1, "a": 0, "b": 1})
    assert Source(named).classes == {-1: "none", 0: "a", 1: "b"}


def test_a_dataset_without_any_label_is_refused():
    with pytest.raises(ValueError, match="got none: all 30 items of the Numbered have label -1"):
        Source(Numbered((-1, -1, -1), classes=["a"]))


@pytest.mark.slow
@pytest.mark.parametrize("none", [-1, None])
def test_names_of_a_class_label_stay_where_items_have_none(none):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(ANIMALS))})
    shapes = Shapes()
    labels = [none if i % 5 == 0 else target for i, target in enumerate(shapes.targets)]
    table = datasets.Dataset.from_dict({"image": [shapes[i][0] for i in range(30)], "label": labels}, features=features)
    with pytest.warns(DataWarning, match="6 of 30 items of the Dataset have no label"):
        bank = fit(table, config=CONFIG, progress=False)
    assert bank.class_to_idx == {"cat": 0, "dog": 1, "horse": 2}
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        wrapped = VAEAugmentedDataset(table, bank, p_generate=0.5, seed=1)
    assert {int(wrapped[i]["label"]) for i in range(len(wrapped))} == {0, 1, 2}


# ---- several datasets together ----


def test_parts_that_name_a_label_differently_are_refused(tmp_path):
    one = ImageFolder(folders(tmp_path / "one", "cat", "dog"))
    two = ImageFolder(folders(tmp_path / "two", "cat", "horse"))
    with pytest.raises(ValueError, match="must number classes alike, got label 1 for 'dog' and 'horse'"):
        Source(ConcatDataset([one, two]))


def test_parts_whose_labels_are_mapped_afterwards_are_matched_by_name(tmp_path):
    wanted = {"cat": 0, "dog": 1, "horse": 2}

    def opened(name, *classes):
        folder = ImageFolder(folders(tmp_path / name, *classes))
        folder.target_transform = lambda label: wanted[folder.classes[label]]
        return folder

    joined = ConcatDataset([opened("one", "cat", "dog"), opened("two", "dog", "horse")])
    bank = fit(joined, config=CONFIG, progress=False)
    assert bank.classes == tuple(ANIMALS)
    wrapped = VAEAugmentedDataset(joined, bank, p_generate=1.0, p_jitter=0.0, seed=0)
    assert [wrapped[i][1] for i in range(len(wrapped))] == [0] * 4 + [1] * 8 + [2] * 4
    assert [wanted[wrapped.bank.classes[row]] for row in wrapped._rows.tolist()] == [0] * 4 + [1] * 8 + [2] * 4


def test_parts_with_more_classes_add_their_names(tmp_path):
    one = ImageFolder(folders(tmp_path / "one", "cat", "dog"))
    two = ImageFolder(folders(tmp_path / "two", "cat", "dog", "horse"))
    assert Source(ConcatDataset([one, two])).classes == {0: "cat", 1: "dog", 2: "horse"}
    assert Source(ConcatDataset([one, one])).all_classes == ["cat", "dog"]


# ---- stale lists ----


@pytest.mark.parametrize("item", [0, 3, 6])
def test_an_image_folder_whose_samples_are_corrected_goes_by_them(item, tmp_path):
    dataset = ImageFolder(folders(tmp_path, "cat", "dog", count=5))
    path, label = dataset.samples[item]
    dataset.samples[item] = path, 1 - label
    wrapped = VAEAugmentedDataset(dataset, fit(dataset, config=CONFIG, progress=False), p_generate=1.0, p_jitter=0.0)
    assert [wrapped[i][1] for i in range(10)] == [label for _, label in dataset.samples]
    assert list(wrapped.targets) == [label for _, label in dataset.samples]
    assert wrapped._rows.tolist() == [label for _, label in dataset.samples]


class Cleaned(Shapes):
    """Labels that were corrected item by item, while the list is as it was."""

    def __init__(self, corrected):
        super().__init__(per_class=100)
        self.corrected = corrected

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return image, self.corrected.get(index, label)


def test_an_item_that_was_corrected_alone_is_named_and_made_of_its_class(bank):
    base = Cleaned({23: 2})
    wrapped = VAEAugmentedDataset(base, bank, p_generate=1.0, p_jitter=0.0, seed=1)
    with pytest.warns(DataWarning, match="item 23 has label 'slanted' when it is read, and 'across' in the .* list"):
        image, label = wrapped[23]
    right = VAEAugmentedDataset(Shapes(per_class=100), bank, p_generate=1.0, p_jitter=0.0, seed=1)
    right._synthesis.rows[23] = 2
    assert label == 2
    assert np.array_equal(image, right[23][0])


def test_a_fit_goes_by_the_labels_of_items():
    with pytest.warns(DataWarning, match="item 23 has label 'slanted' when it is read"):
        bank = fit(Cleaned({23: 2, 60: 1}), config=CONFIG, progress=False)
    assert [info.images for info in bank.class_infos] == [98, 101, 101]
