from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.datasets import folder as folder_module

from vae_augment import shared
from vae_augment.shared import Pixels, room
from vae_augment.source import Source


def noise(size, seed=0):
    width, height = size
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def folder_of(path, sizes):
    for i, size in enumerate(sizes):
        (path / str(i % 2)).mkdir(exist_ok=True)
        noise(size, i).save(path / str(i % 2) / f"{i}.png")
    return ImageFolder(path)


def test_an_image_is_known_once_it_was_put_in():
    pixels, image = Pixels(3, (7, 5)), noise((7, 5))
    assert pixels.get(1) is None
    pixels.put(1, image)
    assert (pixels.get(1).mode, pixels.get(1).size) == ("RGB", (7, 5))
    assert np.array_equal(np.array(pixels.get(1)), np.array(image))
    assert pixels.get(0) is None


def test_what_is_given_out_can_be_changed_without_changing_what_is_kept():
    pixels = Pixels(1, (7, 5))
    pixels.put(0, noise((7, 5)))
    pixels.get(0).putpixel((0, 0), (1, 2, 3))
    assert np.array_equal(np.array(pixels.get(0)), np.array(noise((7, 5))))


@pytest.mark.parametrize("image", [noise((5, 7)), noise((7, 5)).convert("L")], ids=["other size", "other mode"])
def test_images_unlike_most_are_not_kept(image):
    pixels = Pixels(1, (7, 5))
    pixels.put(0, image)
    assert pixels.get(0) is None


def test_where_there_is_no_room_nothing_is_kept(monkeypatch):
    monkeypatch.setattr(shared, "MOST_PIXELS", 3 * 7 * 5 - 1)
    pixels = Pixels(1, (7, 5))
    pixels.put(0, noise((7, 5)))
    assert pixels.get(0) is None


def test_room_is_a_quarter_of_what_is_free(monkeypatch):
    monkeypatch.setattr(shared, "_free", lambda: 400)
    assert [room(size, 1_000) for size in (100, 101)] == [True, False]
    assert not room(100, 99)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda pixels: pickle.loads(pickle.dumps(pixels))])
def test_a_copy_is_in_shared_memory_too(copied):
    pixels = Pixels(1, (7, 5))
    pixels.put(0, noise((7, 5)))
    assert np.array_equal(np.array(copied(pixels).get(0)), np.array(noise((7, 5))))
    assert copied(pixels)._images.is_shared()
    assert copied(pixels)._known.is_shared()


def test_a_file_is_decoded_once(tmp_path, monkeypatch):
    folder = folder_of(tmp_path, [(9, 8), (9, 8), (9, 8), (8, 9)])
    source = Source(folder)
    first = [source.raw(i) for i in range(4)]
    opened, whole = [], folder_module.pil_loader
    monkeypatch.setattr(folder_module, "pil_loader", lambda path: opened.append(path) or whole(path))
    again = [source.raw(i) for i in range(4)]
    assert len(opened) == 1  # of another size than the first
    for i in range(4):
        for sample in (first[i], again[i]):
            assert np.array_equal(np.array(sample.image), np.array(folder[i][0]))
            assert (sample.target, sample.whole[1]) == (folder[i][1], folder[i][1])
