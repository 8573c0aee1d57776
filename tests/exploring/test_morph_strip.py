import io

import numpy as np
import pytest
import torch
from PIL import Image

from vae_augment.exploring.morph_pictures import STRIP_TILE, strip_png
from vae_augment.images.tiles import GAP, MARGIN, TEXT

TOP = MARGIN + TEXT + MARGIN


def frames_of(count, shape=(1, 12, 12)):
    """Frames that are each of one shade."""
    return torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, *shape).contiguous()


def pixels(png):
    image = Image.open(io.BytesIO(png))
    assert (image.format, image.mode) == ("PNG", "RGB")
    return np.asarray(image)


@pytest.mark.parametrize(
    ("count", "rows", "across"), [(2, 1, 2), (16, 1, 16), (17, 2, 9), (32, 2, 16), (33, 3, 11), (240, 15, 16)]
)
def test_every_frame_has_its_tile_in_order(count, rows, across):
    strip = pixels(strip_png(frames_of(count), "a", "b"))
    assert len(strip) == TOP + rows * (STRIP_TILE + GAP) + MARGIN
    for place in range(count):
        y, x = (TOP + (place // across) * (STRIP_TILE + GAP), MARGIN + (place % across) * (STRIP_TILE + GAP))
        assert (strip[y : y + STRIP_TILE, x : x + STRIP_TILE] == place).all()


@pytest.mark.parametrize("shape", [(3, 80, 40), (4, 16, 16), (2, 9, 30)])
def test_images_of_any_shape_are_drawn(shape):
    strip = pixels(strip_png(frames_of(3, shape), "a", "b"))
    assert set(strip[TOP:].max(2).flat) >= {0, 1, 2}  # each frame's shade


@pytest.mark.parametrize("name", ["W" * 300, "a\nb", "\x1b[2J", "猫", " "])
@pytest.mark.parametrize("count", [2, 16])
def test_any_names_stand_in_the_title_and_do_not_widen_it(name, count):
    strip, plain = (pixels(strip_png(frames_of(count), *names)) for names in ((name, name + "x"), ("a", "b")))
    assert strip.shape == plain.shape
    assert (strip[:TOP, -MARGIN:] == 255).all()
