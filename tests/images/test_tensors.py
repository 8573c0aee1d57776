import pytest
import torch

from vae_augment.images.tensors import resize, to_float, to_uint8

LEVELS = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_every_byte_survives_the_way_to_float_and_back():
    x = to_float(LEVELS)
    assert x.dtype == torch.float32
    assert (x.min(), x.max()) == (0, 1)
    assert torch.equal(to_uint8(x), LEVELS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.bfloat16])
def test_floats_become_float32_of_the_same_values(dtype):
    images = rand(2, 1, 8, 8).to(dtype)
    assert to_float(images).dtype == torch.float32
    assert torch.equal(to_float(images), images.float())


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool])
def test_other_whole_numbers_are_refused(dtype):
    with pytest.raises(TypeError, match=rf"images must be uint8 or float in \[0, 1\], got {dtype}"):
        to_float(torch.zeros(1, 1, 8, 8, dtype=dtype))


@pytest.mark.parametrize(
    ("value", "came"),
    [(-0.5, "from -0.5 to 0"), (255.0, "from 0 to 255"), (float("nan"), "nan"), (float("inf"), "to inf")],
)
def test_floats_outside_0_to_1_are_refused(value, came):
    images = torch.zeros(2, 1, 8, 8)
    images[1, 0, 3, 3] = value
    with pytest.raises(ValueError, match=rf"float images must be in \[0, 1\], got values {came}|{came}"):
        to_float(images)


def test_to_uint8_clips_and_rounds_to_the_nearest_level():
    given = torch.tensor([-3.0, 0.0, 0.4 / 255, 0.6 / 255, 254.4 / 255, 254.6 / 255, 1.0, 9.0])
    assert to_uint8(given).tolist() == [0, 0, 0, 1, 254, 255, 255, 255]


def test_resizing_to_the_same_size_gives_the_same_tensor():
    images = rand(2, 3, 12, 10)
    assert resize(images, (12, 10)) is images


@pytest.mark.parametrize("size", [(24, 20), (6, 5), (12, 40), (7, 30)])
def test_resizing_keeps_a_flat_image_flat_and_the_range(size):
    assert torch.allclose(resize(torch.full((1, 1, 12, 10), 0.3), size), torch.tensor(0.3))
    out = resize(rand(2, 3, 12, 10), size)
    assert out.shape == (2, 3, *size)
    assert 0 <= out.min() <= out.max() <= 1


def test_resizing_is_linear_so_differences_may_be_resized():
    a, b = rand(1, 1, 12, 12), rand(1, 1, 12, 12, seed=1)
    assert torch.allclose(resize(a - b, (30, 7)), resize(a, (30, 7)) - resize(b, (30, 7)), atol=1e-6)
