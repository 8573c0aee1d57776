import pytest
import torch
from torchvision.transforms.functional import pil_to_tensor

from tests.conftest import Shapes
from vae_augment.images.kinds import KINDS, kind_of_images
from vae_augment.mnist_sample import MNISTSample


def rand(*shape):
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def grey(channels, images):
    return images.expand(-1, channels, -1, -1)


@pytest.mark.parametrize("channels", [1, 3])
def test_characters_and_shapes_are_drawings_and_noise_is_a_texture(channels):
    digits = torch.stack([pil_to_tensor(image) for image in digits_of(30)])
    for images in (digits, 255 - digits, torch.from_numpy(Shapes().data)[:, None]):
        assert kind_of_images(grey(channels, images)) == "drawings"
    assert kind_of_images(grey(channels, rand(9, 1, 20, 30))) == "textures"
    faint = 100 + rand(9, 1, 20, 30) // 8
    assert kind_of_images(grey(channels, faint)) == "textures"  # of little contrast
    faint[:, :, 3:5, 4:9] = 255
    assert kind_of_images(grey(channels, faint)) == "textures"  # with a bright flaw


def test_shapes_that_leave_less_than_two_thirds_ground_are_no_drawings():
    images = torch.zeros(9, 1, 20, 20, dtype=torch.uint8)
    images[:, :, 2:18, 5:15] = 100 + rand(9, 1, 16, 10) // 2  # 0.6 of each is ground
    assert kind_of_images(images) == "textures"
    images[:, :, 2:18, 5:8] = 0
    assert kind_of_images(images) == "drawings"


def digits_of(count):
    sample = MNISTSample()
    return [sample[i][0] for i in range(0, len(sample), len(sample) // count)]


def test_images_in_colour_are_photographs_with_alpha_or_without():
    assert kind_of_images(rand(5, 3, 12, 12)) == kind_of_images(rand(5, 4, 12, 12)) == "photographs"


def test_one_image_and_black_ones_have_a_kind():
    assert kind_of_images(rand(1, 1, 8, 8)) in KINDS
    assert kind_of_images(torch.zeros(3, 1, 8, 8, dtype=torch.uint8)) == "drawings"
    assert kind_of_images(rand(5_000, 2, 8, 8)) == "textures"
