from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, IterableDataset, Subset, TensorDataset
from torchvision.datasets import FakeData, ImageFolder, VisionDataset
from torchvision.transforms import Compose, ToTensor
from torchvision.transforms.v2.functional import pil_to_tensor

from tests.conftest import Shapes
from vae_augment import VAEAugmentedDataset
from vae_augment.data.source import Source
from vae_augment.exceptions import DataWarning

LABELS = [2, 0, 1, 0]


class Items:
    """A list of (image, label) items with attributes, which counts how often it is read."""

    def __init__(self, items, **attributes):
        self.items, self.reads = items, []
        vars(self).update(attributes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        self.reads.append(index)
        return self.items[index]


class Joint(VisionDataset):
    """A torchvision dataset that calls `transforms` on both, as OxfordIIITPet does."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        image, target = Image.new("L", (9, 9), index), index
        return self.transforms(image, target) if self.transforms is not None else (image, target)


def items_of(labels):
    return [(torch.full((1, 8, 8), float(i)), label) for i, label in enumerate(labels)]


def invert(image):
    return image.point(lambda value: 255 - value)


def never(image):
    raise AssertionError("a transform was called")


def same(a, b):
    """Equal items: images by pixels, the rest by value."""
    pixels_a, pixels_b = (np.asarray(item[0]) for item in (a, b))
    return type(a) is type(b) and np.array_equal(pixels_a, pixels_b) and a[1:] == b[1:]


NAMES_OF = {0: "ant", 1: "bee", 2: "cat"}
NAMES = [NAMES_OF[label] for label in LABELS]


@pytest.mark.parametrize("name", ["targets", "labels", "_labels"])
@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor, lambda v: np.array(v, object)[:, None]])
@pytest.mark.parametrize("own", [LABELS, NAMES], ids=["numbers", "names"])
def test_labels_come_from_the_attribute_without_reading_items(name, kind, own):
    many = own * 50
    if kind is torch.tensor:
        many = LABELS * 50
    items = [(image.byte(), label) for image, label in items_of(many)]  # of floats some are read for their range
    dataset = Items(items, **{name: kind(many)})
    labels = Source(dataset).labels
    assert labels.dtype == torch.int64
    assert labels.tolist() == LABELS * 50
    assert len(set(dataset.reads)) <= 32  # to see whether they stay the same


@pytest.mark.parametrize(
    "kind",
    [int, np.int64, torch.tensor, lambda label: np.array([label], np.uint8), NAMES_OF.get, lambda n: [NAMES_OF[n]]],
)
def test_labels_are_scanned_as_a_last_resort(kind):
    dataset = Items(items_of([kind(label) for label in LABELS]))
    source = Source(dataset)
    assert source.labels.tolist() == LABELS
    assert source.raw(1).target is dataset.items[1][1]
    assert source.classes == (NAMES_OF if source.by_name else {0: "0", 1: "1", 2: "2"})


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float32, torch.bfloat16])
def test_labels_of_a_tensor_dataset(dtype):
    dataset = TensorDataset(torch.zeros(4, 1, 8, 8), torch.tensor([1, 0, 1, 0], dtype=dtype))
    assert Source(dataset).labels.tolist() == [1, 0, 1, 0]


def test_given_labels_win():
    assert Source(Items(items_of(LABELS), targets=LABELS), [5, 6, 7, 8]).labels.tolist() == [5, 6, 7, 8]


@pytest.mark.parametrize("own", [LABELS, NAMES], ids=["numbers", "names"])
@pytest.mark.parametrize(
    "held",
    [
        [1],
        torch.zeros(4, 8, dtype=torch.long),  # QMNIST's rows of eight
        ["ant", "cat", "bee", "ant"],
        [2, 0, 1, 1],
        [0.5, 1.5, 0.5, 1.5],
        "abcd",
        [None] * 4,
        [["cat"], ["ant", "bee"], [], []],
        torch.zeros(4, 2, requires_grad=True),
    ],
    ids=repr,
)
def test_attributes_that_hold_other_than_the_items_labels_are_passed_over(own, held):
    source = Source(Items(items_of(own), targets=held, data=held))
    assert source.labels.tolist() == LABELS
    assert source.fingerprint()


def test_names_go_by_the_datasets_own_classes_where_it_has_all():
    source = Source(Items(items_of(NAMES), classes=["cat", "cow", "bee", "ant"]))
    assert source.labels.tolist() == [0, 3, 2, 3]
    assert source.classes == {0: "cat", 2: "bee", 3: "ant"}


def test_names_of_a_concatenation_are_numbered_together():
    parts = [Items(items_of(["cat", "ant"]), classes=["cat", "ant"]), Items(items_of(["bee", "cat"]))]
    source = Source(Subset(ConcatDataset([*parts, Items([])]), [3, 2, 1, 0]))
    assert source.labels.tolist() == [2, 1, 0, 2]
    assert source.classes == {0: "ant", 1: "bee", 2: "cat"}
    with pytest.raises(ValueError, match="all strings or all numbers, got 1 for item 0 and 'cat' for item 0"):
        Source(ConcatDataset([Items(items_of([1, 2])), Items(items_of(["cat"]))]))


@pytest.mark.parametrize("missing", [None, np.float32("nan")])
@pytest.mark.parametrize("given", [{}, {"targets": ["cat", None, "ant"]}])
def test_items_without_a_label_are_named(missing, given):
    dataset = Items(items_of(["cat", missing, "ant"]), **given)
    with pytest.raises(ValueError, match=r"got none for 1 of 3 items: item 1. Leave these out with .*Subset, or pass"):
        Source(dataset)
    assert Source(Subset(dataset, [0, 2])).labels.tolist() == [1, 0]
    assert Source(dataset, ["cat", "cat", "ant"]).labels.tolist() == [1, 1, 0]


def test_files_without_a_label_are_named(tmp_path):
    class Listing(Items):
        samples = property(lambda self: [(tmp_path / f"{i}.png", label) for i, (_, label) in enumerate(self.items)])

    with pytest.raises(ValueError, match=r"got none for 1 of 2 items: .*1.png. Leave"):
        Source(Listing(items_of(["cat", None])))


class Stream(IterableDataset):
    def __iter__(self):
        yield from items_of(LABELS)


@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        (Stream(), TypeError, "IterableDataset Stream. Collect its items into a list-like dataset"),
        (iter([]), TypeError, r"must have len\(\) and indices, got list_iterator"),
        (Items([]), ValueError, "at least one image, got an empty one"),
        (Items([torch.zeros(1, 8, 8)]), TypeError, r"must be \(image, label\) pairs or dicts, got Tensor"),
        (
            Items([{"picture": 0, "label": 1}]),
            TypeError,
            "an image under one of image, img, .* the keys picture, label",
        ),
        (Items([(torch.zeros(1, 8, 8),)]), TypeError, r"must be \(image, label\) pairs"),
        ({"train": Items(items_of(LABELS))}, TypeError, r"must be one split of the dict, for example data\['train'\]"),
        (Items([("cat.png", 0)]), TypeError, "PIL image, numpy array or tensor, got str"),
    ],
    ids=["iterable", "no length", "empty", "no pairs", "dicts", "no label", "splits", "no image"],
)
def test_what_is_no_labelled_image_dataset_is_refused(dataset, error, message):
    with pytest.raises(error, match=message):
        Source(dataset)


NESTED = {
    "itself": lambda ds: ds,
    "Subset of Subset": lambda ds: Subset(Subset(ds, [25, 3, 14, 8, 20]), [4, 1, 1]),
    "ConcatDataset": lambda ds: ConcatDataset([ds, Shapes(seed=1, transform=pil_to_tensor)]),
    "Subset of ConcatDataset": lambda ds: Subset(ConcatDataset([ds, Shapes(seed=1)]), [59, 30, 29, 0]),
    "ConcatDataset of Subsets": lambda ds: ConcatDataset([Subset(ds, [4, 12]), Subset(Shapes(seed=1), [29])]),
}


@pytest.mark.parametrize("nest", NESTED.values(), ids=NESTED)
def test_a_nested_dataset_is_its_items_apart_from_its_transforms(nest):
    dataset = nest(Shapes(transform=invert, target_transform=str))
    plain = nest(Shapes())
    source = Source(dataset)
    assert len(source) == len(dataset)
    assert source.labels.tolist() == [plain[i][1] for i in range(len(plain))]
    assert all(same(a, b) for a, b in zip(source.items(list(range(len(dataset)))), dataset, strict=False))
    for i in range(len(dataset)):
        sample = source.raw(i)
        assert isinstance(sample.image, Image.Image)
        assert type(sample.target) is int
        assert same(source.finish(i, sample, sample.image), dataset[i])


def test_transforms_are_set_aside(shapes):
    dataset = Shapes(transform=never, target_transform=never)
    source = Source(dataset)
    source.fingerprint()
    assert all(same(source.raw(i).whole, shapes[i]) for i in range(len(shapes)))
    with pytest.raises(AssertionError, match="a transform was called"):
        source.items([0])


@pytest.mark.parametrize("nest", NESTED.values(), ids=NESTED)
def test_the_callers_dataset_is_not_changed(nest):
    inner = Shapes(transform=invert, target_transform=str)
    before = dict(vars(inner))
    source = Source(nest(inner))
    source.set_transform("transform", never)
    source.set_transform("target_transform", never)
    assert {name: id(value) for name, value in vars(inner).items()} == {n: id(v) for n, v in before.items()}


def test_joint_transforms_are_set_aside_and_applied():
    dataset = Joint(None, transforms=lambda image, target: (invert(image), target + 100))
    source = Source(dataset)
    sample = source.raw(2)
    assert same(sample.whole, (Image.new("L", (9, 9), 2), 2))
    assert same(source.finish(2, sample, sample.image), dataset[2])


@pytest.mark.parametrize("new", [None, pil_to_tensor])
@pytest.mark.parametrize(
    "dataset",
    [
        FakeData(size=3, image_size=(3, 10, 10), transform=invert),
        Joint(None, transform=invert),
        Shapes(transform=invert),
        ConcatDataset([Shapes(transform=invert), Shapes()]),
    ],
    ids=["torchvision", "torchvision, joint", "plain", "concatenated"],
)
def test_a_new_transform_replaces_the_old_for_items_and_synthetic_images_alike(dataset, new):
    source = Source(dataset)
    source.set_transform("transform", new)
    sample = source.raw(1)
    wanted = (new(sample.image) if new else sample.image, sample.target)
    assert same(source.finish(1, sample, sample.image), wanted)
    assert same(source.items([1])[0], wanted)


def test_a_transform_that_cannot_be_set_aside_is_said_and_kept():
    class ReadOnly(Shapes):
        def __init__(self):
            self.data, self.targets, self.target_transform = Shapes().data, Shapes().targets, None

        transform = property(lambda self: invert)

    with pytest.warns(DataWarning, match="the transforms of ReadOnly cannot be set aside; working on what it returns"):
        source = Source(ReadOnly())
    assert same(source.raw(3).whole, ReadOnly()[3])


def test_further_fields_of_an_item_are_kept():
    dataset = Items([(torch.zeros(1, 8, 8), 1, "cat.png")])
    source = Source(dataset)
    image = torch.ones(1, 8, 8)
    assert source.finish(0, source.raw(0), image) == (image, 1, "cat.png")


@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 255.0), (-2.5, 3.0)])
def test_the_value_range_is_that_of_the_whole_dataset(kind, low, high):
    images = [kind(np.full((8, 8), value, np.float32)) for value in (low, (low + high) / 2, high)]
    assert Source(Items(list(zip(images, LABELS, strict=False)))).value_range == (low, high)


KINDS_OF_16_BITS = {
    "PIL": lambda: Image.fromarray(np.full((9, 9), 50_000, np.uint16)),
    "array": lambda: np.full((9, 9), 50_000, np.uint16),
    "tensor": lambda: torch.full((1, 9, 9), 50_000, dtype=torch.int32),
}


@pytest.mark.parametrize("kind", KINDS_OF_16_BITS.values(), ids=KINDS_OF_16_BITS)
@pytest.mark.parametrize(("count", "deep"), [(2, [1]), (40, [39]), (40, range(20, 40)), (2000, range(1900, 2000))])
@pytest.mark.parametrize("nest", [lambda ds: ds, lambda ds: Subset(ds, range(len(ds)))])
def test_values_have_a_range_though_the_first_image_holds_bytes(kind, count, deep, nest):
    items = [(kind() if i in deep else Image.new("L", (9, 9), 99), i % 2) for i in range(count)]
    source = Source(nest(Items(items)))
    assert source.value_range == (0, 50_000)
    assert float(source.pixels(0, source.raw(0).image).max()) == 99
    assert float(source.pixels(deep[0], source.raw(deep[0]).image).max()) == 1


def test_every_part_of_a_concatenation_is_looked_at():
    bytes_, deep = (
        Items([(image, 0)] * n) for image, n in ((Image.new("L", (9, 9)), 500), (KINDS_OF_16_BITS["PIL"](), 2))
    )
    assert Source(ConcatDataset([bytes_, deep, bytes_])).value_range == (0, 50_000)
    assert Source(ConcatDataset([FakeData(9, (3, 9, 9)), Items([]), deep])).value_range == (0, 50_000)
    assert Source(ConcatDataset([bytes_, bytes_])).value_range is None


def test_of_torchvisions_own_datasets_one_item_is_looked_at(tmp_path, monkeypatch):
    (tmp_path / "cat").mkdir()
    for i in range(40):
        Image.new("L", (9, 9)).save(tmp_path / "cat" / f"{i}.png")
    folder = ImageFolder(tmp_path)
    opened, plain_open = [], Image.open
    monkeypatch.setattr(Image, "open", lambda file, *args: opened.append(file) or plain_open(file, *args))
    for dataset in (folder, Subset(folder, range(3, 40)), ConcatDataset([folder, folder])):
        opened.clear()
        Source(dataset)
        assert len({getattr(file, "name", file) for file in opened}) <= 2


def test_an_item_that_cannot_be_read_is_for_whoever_reads_it():
    class Broken(Items):
        def __getitem__(self, index):
            if index == 3:
                raise OSError("broken")
            return super().__getitem__(index)

    items = [(Image.new("L", (9, 9)), 0)] * 5
    source = Source(Broken(items, targets=[0] * 5), [0] * 5)
    assert source.value_range is None
    with pytest.raises(ValueError, match="cannot read item 3 of class '0': broken"):
        source.raw(3)


def changed(dataset, **values):
    vars(dataset).update(values)
    return dataset


def with_pixel(array, value=77):
    array = array.copy() if isinstance(array, np.ndarray) else array.clone()
    array[(0,) * array.ndim] = value
    return array


IMAGES = torch.zeros(4, 1, 8, 8)
FINGERPRINTS = {
    "array": [
        lambda: Shapes(),
        lambda: changed(Shapes(), data=with_pixel(Shapes().data)),
        lambda: changed(Shapes(), targets=[1, *Shapes().targets[1:]]),
        lambda: Subset(Shapes(), range(29)),
    ],
    "tensors": [
        lambda: TensorDataset(IMAGES, torch.tensor(LABELS)),
        lambda: TensorDataset(with_pixel(IMAGES), torch.tensor(LABELS)),
        lambda: TensorDataset(IMAGES, torch.tensor(LABELS[::-1])),
    ],
    "probe": [
        lambda: Items(items_of(LABELS)),
        lambda: Items([*items_of(LABELS)[:3], (with_pixel(IMAGES[0]), LABELS[3])]),
        lambda: Items(items_of(LABELS[::-1])),
    ],
    "subset": [
        lambda: Subset(Shapes(), [0, 1, 12]),
        lambda: Subset(Shapes(), [0, 2, 12]),
        lambda: Subset(Shapes(), [1, 0, 12]),
    ],
    "concatenated": [
        lambda: ConcatDataset([Shapes(), Items(items_of(LABELS))]),
        lambda: ConcatDataset([changed(Shapes(), data=with_pixel(Shapes().data)), Items(items_of(LABELS))]),
        lambda: ConcatDataset([Shapes(), Items([*items_of(LABELS)[:3], (with_pixel(IMAGES[0]), LABELS[3])])]),
    ],
}


@pytest.mark.parametrize("variants", FINGERPRINTS.values(), ids=FINGERPRINTS)
def test_fingerprints_are_equal_for_equal_data_alone(variants):
    prints = [Source(make()).fingerprint() for make in variants]
    assert prints == [Source(make()).fingerprint() for make in variants]
    assert len(set(prints)) == len(prints)


def test_a_fingerprint_does_not_depend_on_transforms(shapes):
    assert Source(Shapes(transform=never)).fingerprint() == Source(shapes).fingerprint()


def test_the_fingerprint_of_a_folder_changes_with_a_file(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("L", (9, 9)).save(tmp_path / name / "0.png")
    first = Source(ImageFolder(tmp_path)).fingerprint()
    assert Source(ImageFolder(tmp_path)).fingerprint() == first
    Image.new("L", (19, 9)).save(tmp_path / "dog" / "0.png")
    assert Source(ImageFolder(tmp_path)).fingerprint() != first


@pytest.mark.parametrize(
    ("classes", "wanted"),
    [
        (["0 - zero", " a/b ", "é"], {0: "0 - zero", 1: " a/b ", 2: "é"}),
        (("x", "y", "z", "unused"), {0: "x", 1: "y", 2: "z"}),
        (["too", "few"], {0: "0", 1: "1", 2: "2"}),
        ([10, 20, 30], {0: "0", 1: "1", 2: "2"}),
        (None, {0: "0", 1: "1", 2: "2"}),
    ],
)
def test_class_names_are_the_datasets_verbatim_or_else_its_labels(classes, wanted):
    assert Source(Items(items_of(LABELS), classes=classes)).classes == wanted


def test_class_names_of_a_subset_are_those_that_occur(shapes):
    assert Source(Subset(shapes, [25, 1])).classes == {0: "across", 2: "slanted"}


# ---- datasets as people write them ----


class Own:
    """Not torchvision's: `read` is its __getitem__, of pictures `x` whose brightest is their place among them."""

    def __init__(self, read=lambda self, i: (self.x[i], i % 3), **attributes):
        self.read, self.cache, self.x = read, {}, np.arange(9, dtype=np.uint8).repeat(9 * 9 * 3).reshape(9, 9, 9, 3)
        self.x[:, 0, 0] = 0
        vars(self).update(attributes)

    def __len__(self):
        return 9

    def __getitem__(self, index):
        return self.read(self, index)


def inverted(image):
    return 255 - image


class Inverted:
    """As albumentations' transforms are called."""

    def __call__(self, *, image):
        return {"image": 255 - image}


@pytest.mark.parametrize(
    ("read", "attributes"),
    [
        (lambda self, i: (self.transform(self.x[i]), i % 3), {"transform": inverted}),
        (lambda self, i: ((self.transforms or np.copy)(self.x[i]), i % 3), {"transforms": inverted}),
        (
            lambda self, i: (self.x[i] if self.transform is None else self.transform(image=self.x[i])["image"], i % 3),
            {"transform": Inverted()},
        ),
        (
            lambda self, i: (self.x[i], i % 3) if self.transforms is None else self.transforms(self.x[i], i % 3),
            {"transforms": lambda image, label: (255 - image, label + 10)},
        ),
    ],
    ids=["called whatever it is", "of the image alone", "by keyword", "of image and label"],
)
def test_a_transform_is_set_aside_and_called_in_the_datasets_way(read, attributes):
    dataset = Own(read, **attributes)
    source = Source(dataset)
    sample = source.raw(4)
    assert np.array_equal(sample.image, dataset.x[4])
    assert (sample.target, source.stable) == (1, True)
    assert same(source.finish(4, sample, sample.image), dataset[4])


@pytest.mark.slow
def test_albumentations_are_called_in_their_way():
    albumentations = pytest.importorskip("albumentations")

    def read(self, i):
        return self.x[i] if self.transform is None else self.transform(image=self.x[i])["image"], i % 3

    source = Source(Own(read, transform=albumentations.InvertImg(p=1)))
    assert source.raw(1).image.max() == 1
    assert source.finish(1, source.raw(1), source.raw(1).image)[0].min() == 254


def test_a_transform_of_whole_items_is_called_with_one():
    def read(self, i):
        item = {"image": self.x[i], "label": i % 3, "path": f"{i}.png"}
        return item if self.transform is None else self.transform(item)

    source = Source(Own(read, transform=lambda item: {**item, "image": item["image"] + 5, "seen": True}))
    sample = source.raw(1)
    assert (sample.image.max(), sample.target, sample.whole["path"]) == (1, 1, "1.png")
    made = source.finish(1, sample, sample.image + 1)
    assert (made["image"].max(), made["label"], made["path"], made["seen"]) == (7, 1, "1.png", True)


def insisting(error):
    """Reads items that cannot be without their transform."""

    def read(self, i):
        if self.transform is None or not isinstance(self.transform(self.x[i]), tuple):
            raise error("a transform is needed")
        return self.transform(self.x[i])[0], i % 3

    return read


def flipped(self, i):
    return np.flipud(self.x[i]) if self.transform else self.x[i], i % 3


@pytest.mark.parametrize(
    ("read", "transform"),
    [
        (lambda self, i: (self.transform(self.x[i]).clone(), i % 3), torch.from_numpy),
        (lambda self, i: ((self.x[i] if self.transform is None else self.transform(self.x[i])) / 255, i % 3), inverted),
        *((flipped, transform) for transform in ([np.flipud], {"train": np.flipud}, True)),
        *(
            (insisting(error), lambda image: (255 - image,))
            for error in (AssertionError, RuntimeError, ValueError, KeyError)
        ),
    ],
)
def test_a_transform_that_is_no_function_or_whose_result_is_worked_on_stays_on(read, transform):
    dataset = Own(read, transform=transform)
    with pytest.warns(DataWarning, match="the transforms of Own cannot be set aside; working on what it returns"):
        source = Source(dataset)
    sample = source.raw(4)
    assert np.array_equal(sample.image, dataset[4][0])
    assert same(source.finish(4, sample, sample.image), dataset[4])


def test_items_that_differ_each_time_are_told_of():
    with pytest.warns(DataWarning, match="items of Own differ each time they are read: .* a `transform` attribute"):
        source = Source(Own(lambda self, i: (torch.rand(1, 8, 8), i % 3)))
    assert not source.stable


@pytest.mark.parametrize("samples", [["a"] * 9, [{}] * 9, [1] * 9, [("a", 0)] * 9])
def test_samples_that_are_no_files_do_not_stop_a_fingerprint(samples):
    assert Source(Own(samples=samples)).fingerprint() == Source(Own()).fingerprint()


def test_two_classes_of_one_name_are_refused():
    with pytest.raises(ValueError, match="each class needs a name of its own, got 'crane' more than once"):
        Source(Own(classes=["crane", "crane", "heron"]))


def test_a_dataset_that_keeps_what_it_has_transformed_is_not_given_raw_items_to_keep():
    def read(self, i):
        if i not in self.cache:
            self.cache[i] = self.x[i] if self.transform is None else self.transform(self.x[i])
        return self.cache[i], i % 3

    dataset = Own(read, transform=inverted)
    source = Source(dataset)
    assert np.array_equal(source.items([0])[0][0], 255 - dataset.x[0])
    assert np.array_equal(dataset[0][0], 255 - dataset.x[0])
    assert np.array_equal(source.raw(0).image, dataset.x[0])


def test_a_property_that_reaches_into_another_dataset_is_not_set():
    class Outer(Shapes):
        def __init__(self, inner):
            self.__dict__.update(Shapes().__dict__, inner=inner)
            del self.__dict__["transform"]

        transform = property(lambda self: self.inner.transform, lambda self, f: setattr(self.inner, "transform", f))

        def __getitem__(self, index):
            return self.inner[index]

    inner = Shapes()
    source = Source(Outer(inner))
    source.set_transform("transform", np.asarray)
    assert inner.transform is None
    assert isinstance(source.items([0])[0][0], np.ndarray)


def test_a_compose_of_ones_own_is_called_as_it_is(bank):
    class Twice(Compose):
        def __call__(self, image):
            return torch.stack([super().__call__(image)] * 2)

    ds = VAEAugmentedDataset(Shapes(transform=Twice([ToTensor()])), bank, p_generate=1.0)
    assert ds[0][0].shape == (2, 1, 12, 12)
