"""Images without labels: read from any dataset or folder, sampled, and without those that are known."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, TensorDataset

from tests.conftest import Shapes
from vae_augment.data import open_data, open_unlabelled, unlabelled
from vae_augment.data.loading import load_images
from vae_augment.data.source import Source
from vae_augment.data.unlabelled import Unlabelled, others_than

SHAPE = (1, 12, 12)
IMAGES = torch.arange(9 * 144).remainder(251).to(torch.uint8).view(9, *SHAPE)


class Alone(Dataset):
    """Images alone, through a transform of their own."""

    def __init__(self, transform=None):
        self.transform = transform

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, index):
        image = Image.fromarray(IMAGES[index, 0].numpy())
        return image if self.transform is None else self.transform(image)


ITEMS = {
    "tensors": list(IMAGES),
    "arrays": [image[0].numpy() for image in IMAGES],
    "one tensor": TensorDataset(IMAGES),
    "tuples of one": [(image,) for image in IMAGES],
    "dicts": [{"image": image} for image in IMAGES],
    "dicts with a path": [{"image": image, "path": "a.png"} for image in IMAGES],
    "labels of none": [(image, None) for image in IMAGES],
    "labels of -1": [(image, -1) for image in IMAGES],
    "labels of any kind": [(image, "unknown" if i else 7) for i, image in enumerate(IMAGES)],
    "a transform": Alone(lambda image: torch.from_numpy(np.array(image))[None].float() / 255 * torch.rand(1)),
    "parts": ConcatDataset([Alone(), Alone()]),
}


@pytest.mark.parametrize("name", ITEMS)
def test_items_may_be_images_alone_or_hold_labels_that_are_ignored(name):
    beside = Source(Shapes(2))
    images = Unlabelled(ITEMS[name], beside, seed=0).sample(SHAPE)[0]
    expected = IMAGES.repeat(2, 1, 1, 1) if name == "parts" else IMAGES
    assert torch.equal(images, expected)


@pytest.mark.parametrize("name", ["tensors", "one tensor", "tuples of one", "dicts", "a transform"])
def test_labels_may_be_given_beside_images_alone(name):
    labels = ["cat", "dog", "cat"] * 3
    loaded = load_images(Source(ITEMS[name], labels), SHAPE)
    assert torch.equal(loaded.images, IMAGES)
    assert loaded.names == {0: "cat", 1: "dog"}
    with pytest.raises(TypeError, match="must"):  # there are none elsewhere
        Source(ITEMS[name])


def test_of_many_images_some_are_drawn_by_seed(monkeypatch):
    monkeypatch.setattr(unlabelled, "MOST_IMAGES", 4)
    beside = Source(Shapes(2))
    first, again, other = (Unlabelled(list(IMAGES), beside, seed).sample(SHAPE)[0] for seed in (0, 0, 1))
    assert first.shape == (4, *SHAPE)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    monkeypatch.setattr(unlabelled, "MOST_VALUES", 3 * 144)
    assert len(Unlabelled(list(IMAGES), beside, 0).sample(SHAPE)[0]) == 3


def test_only_images_that_are_drawn_are_read(monkeypatch):
    read = []

    class Counted(Alone):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index % len(IMAGES))

        def __len__(self):
            return 100_000

    monkeypatch.setattr(unlabelled, "MOST_IMAGES", 50)
    Unlabelled(Counted(), Source(Shapes(2)), 0).sample(SHAPE)[0]
    assert len(set(read)) < 500


def test_a_path_is_opened(tmp_path):
    for place in range(3):
        Image.fromarray(np.full((12, 12), place, np.uint8)).save(tmp_path / f"{place}.png")
    for path in (tmp_path, str(tmp_path)):
        found = open_unlabelled(path, Source(Shapes(2)), 0)
        assert found.sample(SHAPE)[0].flatten(1).amax(1).tolist() == [0, 1, 2]
    assert open_unlabelled(None, Source(Shapes(2)), 0) is None


def test_an_image_that_cannot_be_read_is_named_without_a_class(tmp_path):
    for place in range(3):
        Image.fromarray(np.zeros((12, 12), np.uint8)).save(tmp_path / f"{place}.png")
    (tmp_path / "1.png").write_bytes(b"")
    found = Unlabelled(open_data(str(tmp_path), labelled=False).dataset, Source(Shapes(2)), 0)
    with pytest.raises(ValueError, match=r"cannot read .*1\.png: ") as error:
        found.sample(SHAPE)
    assert "class" not in str(error.value)


def test_copies_of_known_images_are_left_out():
    assert others_than(IMAGES[2:5], IMAGES).tolist() == [0, 1, 5, 6, 7, 8]
    assert len(others_than(IMAGES, IMAGES)) == 0


def test_images_are_read_in_the_datasets_range():
    shapes = Shapes(2)
    floats = [
        (image.float() / 255, label)
        for image, label in zip(torch.from_numpy(shapes.data)[:, None], shapes.targets, strict=True)
    ]
    images = Unlabelled([image.float() / 510 for image in IMAGES], Source(floats), 0).sample(SHAPE)[0]
    assert (images.int() - (IMAGES.int() + 1) // 2).abs().max() <= 1
    with pytest.raises(ValueError, match="unlabelled must hold values on the scale of dataset's"):
        Unlabelled([image.float() for image in IMAGES], Source(floats), 0)


@pytest.mark.parametrize("places", [[""], ["day/"], ["", "day/", "day/hour/"]])
def test_a_folder_may_hold_images_at_any_depth(tmp_path, places):
    for number, image in enumerate(IMAGES):
        file = tmp_path / places[number % len(places)] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(file)
    (tmp_path / "notes.txt").write_text("")
    opened = open_data(tmp_path, labelled=False)
    assert opened.notes == ("Ignored files of other endings (1): .txt (1).",)
    images = Unlabelled(opened.dataset, Source(Shapes(2)), 0).sample(SHAPE)[0]
    assert len(others_than(images, IMAGES)) == 0


def test_of_a_folder_with_parts_the_training_part_is_read(tmp_path):
    for number, part in enumerate(("train", "test")):
        (tmp_path / part / "cat").mkdir(parents=True)
        Image.fromarray(IMAGES[number, 0].numpy()).save(tmp_path / part / "cat" / "a.png")
    images = Unlabelled(open_data(tmp_path, labelled=False).dataset, Source(Shapes(2)), 0).sample(SHAPE)[0]
    assert torch.equal(images, IMAGES[:1])


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold at least one image"):
        open_data(tmp_path, labelled=False)


@pytest.mark.parametrize("given", [iter(list(IMAGES)), 3])
def test_other_objects_are_refused(given):
    with pytest.raises(TypeError, match=r"unlabelled must be a dataset with len\(\) and indices"):
        Unlabelled(given, Source(Shapes(2)), 0)


def test_a_flat_test_part_is_not_read_beside_a_flat_training_part(tmp_path):
    for number, part in enumerate(("train", "test")):
        (tmp_path / part).mkdir()
        Image.fromarray(IMAGES[number, 0].numpy()).save(tmp_path / part / "a.png")
    images = Unlabelled(open_data(tmp_path, labelled=False).dataset, Source(Shapes(2)), 0).sample(SHAPE)[0]
    assert torch.equal(images, IMAGES[:1])


@pytest.mark.parametrize(("given", "error"), [([], ValueError), ("photos", TypeError)])
def test_messages_name_the_argument(given, error):
    with pytest.raises(error, match="unlabelled must"):
        Unlabelled(given, Source(Shapes(2)), 0)
