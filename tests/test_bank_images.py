import pytest
import torch
from torch.utils.data import Subset
from torchvision.transforms.functional import resize

from vae_augment.bank_images import source_for
from vae_augment.fit_data import load_images


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


def test_images_of_another_size_only_where_they_are_asked_for(bank, shapes):
    larger = Sized(shapes, lambda image: resize(image, [24, 18]))
    with pytest.raises(ValueError, match=r"the bank's size, 12x12, .* got some that are modelled at 24x18.*--resize"):
        source_for(bank, larger)
    assert load_images(source_for(bank, larger, resize=True), bank.image_shape).images.shape == (30, 1, 12, 12)


def test_images_of_other_channels(bank, shapes):
    with pytest.raises(ValueError, match="must have 1 channels as the bank's do, got 3"):
        source_for(bank, Sized(shapes, lambda image: image.convert("RGB")), resize=True)
