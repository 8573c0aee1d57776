from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors

from vae_augment.images import conversion
from vae_augment.images.tensors import match_channels, to_float

HEIGHT, WIDTH = 9, 20
BYTES = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
DEEP = np.random.default_rng(1).integers(0, 65536, (HEIGHT, WIDTH))


def palette_image():
    image = Image.frombytes("P", (WIDTH, HEIGHT), (BYTES[:, :, 0] % 3).tobytes())
    image.putpalette([10, 200, 30, 77, 5, 99, 254, 131, 7])
    return image


EXACT = {
    "1": Image.fromarray(BYTES[:, :, 0]).convert("1"),
    "L": Image.fromarray(BYTES[:, :, 0]),
    "LA": Image.fromarray(BYTES[:, :, :2]),
    "RGB": Image.fromarray(BYTES[:, :, :3]),
    "RGBA": Image.fromarray(BYTES),
    "I;16": Image.fromarray(DEEP.astype("<u2")),
    "I;16B": Image.fromarray(DEEP.astype(">u2")),
    "I": Image.fromarray(DEEP.astype(np.int32)),
    "F": Image.fromarray((DEEP / 4).astype(np.float32)),
}
AS_COLOUR = {
    "P": palette_image(),
    "CMYK": Image.frombytes("CMYK", (WIDTH, HEIGHT), BYTES.tobytes()),
}
PIL_IMAGES = EXACT | AS_COLOUR
ARRAYS = {
    "numpy HW uint8": BYTES[:, :, 0],
    "numpy HWC uint8": BYTES[:, :, :3],
    "numpy CHW uint8": BYTES.transpose(2, 0, 1),
    "numpy HWC float32": (BYTES / 255).astype(np.float32),
    "tensor HW uint8": torch.from_numpy(BYTES[:, :, 0].copy()),
    "tensor CHW float32": torch.from_numpy(BYTES / 255).float().permute(2, 0, 1),
    "tv_tensor": tv_tensors.Image(torch.from_numpy(BYTES[:, :, :3].copy()).permute(2, 0, 1)),
}
SPANS = {
    "uint8": (0, 255),
    "uint16": (0, 65535),
    "int64": (-500, 500),
    "float32": (-2.1, 2.6),
    "float64": (0, 255),
    "float16": (0, 1),
    "bool": (0, 1),
}


def round_trip(image):
    value_range = conversion.value_range_of([image])
    return conversion.like(to_float(conversion.to_tensor(image, value_range)), image, value_range)


@pytest.mark.parametrize("mode", EXACT)
def test_a_pil_image_comes_back_with_its_mode_and_values(mode):
    back = round_trip(EXACT[mode])
    assert (back.mode, back.size) == (mode, (WIDTH, HEIGHT))
    np.testing.assert_allclose(np.array(back, np.float64), np.array(EXACT[mode], np.float64), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", AS_COLOUR)
def test_other_colour_spaces_come_back_with_their_mode_and_look(mode):
    back = round_trip(AS_COLOUR[mode])
    assert (back.mode, back.size) == (mode, (WIDTH, HEIGHT))
    np.testing.assert_array_equal(np.array(back.convert("RGB")), np.array(AS_COLOUR[mode].convert("RGB")))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    dtype=st.sampled_from(sorted(SPANS)),
    container=st.sampled_from([np.asarray, torch.from_numpy, tv_tensors.Image]),
    size=st.tuples(st.integers(1, 24), st.integers(17, 24)),
    channels=st.integers(0, 4),
    seed=st.integers(0, 99),
)
def test_an_array_comes_back_with_its_type_dtype_shape_and_values(dtype, container, size, channels, seed):
    low, high = SPANS[dtype]
    shape = (*size, channels) if channels and container is np.asarray else (*[channels] * bool(channels), *size)
    values = np.random.default_rng(seed).uniform(low, high + (dtype != "float16"), shape)
    values = values.clip(low, high).astype(dtype)
    image = container(values) if container is not tv_tensors.Image else tv_tensors.Image(torch.from_numpy(values))
    back = round_trip(image)
    assert type(back) is type(image)
    assert back.dtype == image.dtype
    assert back.shape == image.shape
    exact = dtype not in ("float32", "float64")
    np.testing.assert_allclose(np.asarray(back), np.asarray(image), rtol=0, atol=0 if exact else 1e-6 * (high - low))


@pytest.mark.parametrize("image", [*PIL_IMAGES.values(), *ARRAYS.values()], ids=[*PIL_IMAGES, *ARRAYS])
def test_a_tensor_has_the_channels_and_size_that_are_announced(image):
    pixels = conversion.to_tensor(image)
    assert tuple(pixels.shape) == (conversion.channels_of(image), *conversion.size_of(image))
    assert conversion.size_of(image) == (HEIGHT, WIDTH)
    assert pixels.dtype == torch.uint8 or (pixels.dtype == torch.float32 and 0 <= pixels.min() <= pixels.max() <= 1)


@pytest.mark.parametrize("image", [*PIL_IMAGES.values(), *ARRAYS.values()], ids=[*PIL_IMAGES, *ARRAYS])
def test_values_out_of_range_are_clipped(image):
    shape = (conversion.channels_of(image), HEIGHT, WIDTH)
    for far, end in ((-3.0, 0.0), (4.0, 1.0)):
        far, end = conversion.like(torch.full(shape, far), image), conversion.like(torch.full(shape, end), image)
        np.testing.assert_array_equal(np.asarray(far), np.asarray(end))


@pytest.mark.parametrize(("level", "above"), [(0.3, False), (0.6, True)])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64"])
@pytest.mark.parametrize("container", [np.asarray, torch.from_numpy])
def test_whole_numbers_are_rounded_not_cut(dtype, container, level, above):
    image = container(np.zeros((8, 8), dtype))
    step, span = (1 / 255, None) if dtype == "uint8" else (1, (0, 1))
    back = conversion.like(torch.full((1, 8, 8), level * step), image, span)
    assert np.unique(np.asarray(back)).tolist() == [above]


@pytest.mark.parametrize(
    ("have", "channels", "wanted"),
    [
        ([0.5], 3, [0.5, 0.5, 0.5]),
        ([0.5], 2, [0.5, 1.0]),
        ([0.5], 4, [0.5, 0.5, 0.5, 1.0]),
        ([0.25, 0.5, 0.75], 1, [0.5]),
        ([0.25, 0.5, 0.75], 2, [0.5, 1.0]),
        ([0.25, 0.5, 0.75, 0.1], 3, [0.25, 0.5, 0.75]),
        ([0.25, 0.5, 0.75, 0.1], 2, [0.5, 0.1]),
        ([0.5, 0.1], 4, [0.5, 0.5, 0.5, 0.1]),
    ],
)
def test_channels_are_repeated_averaged_or_made_opaque(have, channels, wanted):
    matched = match_channels(torch.tensor(have)[:, None, None].expand(-1, 2, 3), channels)
    assert torch.equal(matched, torch.tensor(wanted)[:, None, None].expand(-1, 2, 3))


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0.0, 1.0], (0.0, 1.0)),
        ([0.2, 0.3], (0.0, 1.0)),
        ([0.0, 200.0], (0.0, 255.0)),
        ([-1.0, 1.0], (-1.0, 1.0)),
        ([0.0, 4095.0], (0.0, 4095.0)),
        ([-2.0, -2.0], (-2.0, -1.0)),
        ([math.nan, -math.inf], (0.0, 1.0)),
    ],
)
def test_value_range_of_arrays(values, wanted):
    first, second = (torch.full((1, 2, 2), value) for value in values)
    assert (
        conversion.value_range_of([first, second, torch.full((2, 2), math.nan), torch.full((2, 2), math.inf)]) == wanted
    )


@pytest.mark.parametrize("name", ["RGB", "numpy HW uint8", "tv_tensor"])
def test_images_of_bytes_need_no_value_range(name):
    assert conversion.value_range_of([(PIL_IMAGES | ARRAYS)[name]]) is None


def test_a_read_only_array_is_read():
    array = BYTES.copy()
    array.flags.writeable = False
    assert torch.equal(conversion.to_tensor(array), torch.from_numpy(BYTES).permute(2, 0, 1))


@pytest.mark.parametrize("image", ["cat.png", None, 3.5, [[0, 1], [1, 0]], {"image": BYTES}])
def test_what_is_no_image_is_refused_by_type(image):
    with pytest.raises(TypeError, match=f"PIL image, numpy array or tensor, got {type(image).__name__}"):
        conversion.to_tensor(image)


@pytest.mark.parametrize("image", [np.zeros(5), np.zeros((2, 3, 4, 5)), torch.zeros(()), torch.zeros(1, 1, 8, 8)])
def test_other_numbers_of_dimensions_are_refused(image):
    with pytest.raises(ValueError, match=r"must be \[H, W\] or have channels, got shape \["):
        conversion.to_tensor(image)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, Image.fromarray])
def test_values_that_are_not_finite_are_refused(value, kind):
    array = np.zeros((8, 8), np.float32)
    array[3, 4] = value
    with pytest.raises(ValueError, match="not finite"):
        conversion.to_tensor(kind(array))


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((1, 8, 8), 1), ((3, 12, 16), 3), ((4, 16, 9), 4), ((12, 12, 16), 16), ((8, 9, 12), 12), ((20, 30, 3), 3)],
)
def test_numpy_images_have_channels_last_where_that_may_be_and_else_first(shape, channels):
    image = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    pixels = conversion.to_tensor(image)
    assert pixels.shape == (shape if channels == shape[0] else (channels, *shape[:2]))
    assert np.array_equal(conversion.like(pixels.float() / 255, image), image)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint16, np.uint32, np.float32, np.float64])
@pytest.mark.parametrize("container", [np.asarray, torch.from_numpy])
def test_the_extremes_of_a_type_come_back(dtype, container):
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(np.float32)
    array = np.array([[limits.min, limits.max], [0, limits.max]], dtype)
    image = container(np.tile(array, (4, 4)))
    value_range = conversion.value_range_of([image])
    assert np.array_equal(
        conversion.like(conversion.to_tensor(image, value_range), image, value_range)[0, :2], array[0]
    )
