from dataclasses import replace

import pytest
import torch
from torch.utils.data import Subset
from torchvision.transforms.functional import resize

from tests.conftest import Shapes
from vae_augment import VAEBank
from vae_augment.bank.matching import source_for
from vae_augment.data.loading import load_images
from vae_augment.exceptions import DataWarning
from vae_augment.files.folder_names import folder_names


class Sized:
    """Images of another size or mode than the base's."""

    def __init__(self, base, change):
        self.base, self.change = base, change
        self.classes = base.classes

    def __len__(self):
        return len(self.base)

    def __getitem__(self, index):
        image, label = self.base[index]
        return self.change(image), label


def test_the_data_of_a_bank_is_taken_as_it_is(bank, shapes):
    source = source_for(bank, shapes)
    assert torch.equal(source.labels, torch.tensor(shapes.targets))
    assert load_images(source, bank.image_shape).images.shape == (30, 1, 12, 12)


def test_a_class_that_the_bank_lacks(bank, shapes):
    with pytest.raises(ValueError, match=r"the bank has no class for label 2 \('slanted'\); it has labels \[0, 1\]"):
        source_for(bank.subset([0, 1]), shapes)
    source_for(bank.subset([0, 1]), Subset(shapes, range(20)))


class Renamed(Shapes):
    """Shapes whose labels mean classes of other names."""

    def __init__(self, classes):
        super().__init__()
        self.classes = classes


def test_classes_are_matched_by_name(bank):
    renamed = Renamed(["slanted", "across", "down"])
    assert source_for(bank, renamed).labels.tolist() == [2] * 10 + [0] * 10 + [1] * 10
    assert source_for(bank, Subset(renamed, [0, 29])).classes == {1: "down", 2: "slanted"}
    assert source_for(bank.subset(["slanted"]), Subset(renamed, range(10))).labels.unique().tolist() == [2]


def test_folders_that_generate_wrote_are_matched_too(bank):
    infos = [replace(info, name=name) for info, name in zip(bank.class_infos, ("zebra", "a/b", "cat"), strict=True)]
    named = VAEBank(replace(bank.content, class_infos=tuple(infos)))
    assert folder_names(named.classes) == ["0_zebra", "1_a%2Fb", "2_cat"]
    assert source_for(named, Subset(Renamed(["1_a%2Fb", "2_cat"]), range(20))).labels.unique().tolist() == [1, 2]


@pytest.mark.parametrize(
    ("classes", "items", "lacking"),
    [
        (["zebra", "down", "slanted"], range(10), "zebra"),  # its number is a class's
        (["across", "zebra", "yak"], range(30), "yak"),
        (["zebra", "yak", "gnu"], range(20), "yak"),
    ],
)
def test_a_name_that_the_bank_lacks_is_no_other_class(bank, classes, items, lacking):
    with pytest.raises(ValueError, match=f"the bank has no class '{lacking}'; it has 'across', 'down', 'slanted'"):
        source_for(bank, Subset(Renamed(classes), items))


def test_where_all_names_are_others_numbers_count(bank):
    with pytest.warns(DataWarning, match=r"label 0 is 'across' in the bank and 'zebra' in the data; going by the lab"):
        source = source_for(bank, Renamed(["zebra", "yak", "gnu"]))
    assert source.labels.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert source_for(bank, Subset(Renamed([]), range(10, 20))).labels.unique().tolist() == [1]  # without names


def test_images_of_another_size_only_where_they_are_asked_for(bank, shapes):
    larger = Sized(shapes, lambda image: resize(image, [24, 18]))
    with pytest.raises(ValueError, match=r"the bank's size, 12x12, .* got some that are modelled at 24x18.*--resize"):
        source_for(bank, larger)
    assert load_images(source_for(bank, larger, resize=True), bank.image_shape).images.shape == (30, 1, 12, 12)


def test_images_of_other_channels(bank, shapes):
    with pytest.raises(ValueError, match="must have as many channels as the bank's, 1, got 3"):
        source_for(bank, Sized(shapes, lambda image: image.convert("RGB")), resize=True)
