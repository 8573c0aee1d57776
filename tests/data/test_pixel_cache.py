from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps
from torchvision.datasets import ImageFolder
from torchvision.datasets import folder as folder_module

from vae_augment.data import pixel_cache
from vae_augment.data.pixel_cache import Pixels, room
from vae_augment.data.source import Source


def noise(size, seed=0):
    width, height = size
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def folder_of(path, sizes):
    for i, size in enumerate(sizes):
        (path / str(i % 2)).mkdir(exist_ok=True)
        noise(size, i).save(path / str(i % 2) / f"{i}.png")
    return ImageFolder(path)


def test_an_image_is_known_once_it_was_put_in_and_given_out_in_copies():
    pixels, image = Pixels(3, (7, 5)), noise((7, 5))
    assert pixels.get(1) is None
    pixels.put(1, image)
    assert (pixels.get(1).mode, pixels.get(1).size) == ("RGB", (7, 5))
    pixels.get(1).putpixel((0, 0), (1, 2, 3))
    assert np.array_equal(np.array(pixels.get(1)), np.array(image))
    assert pixels.get(0) is None


def test_images_unlike_most_are_not_kept_and_none_where_there_is_no_room(lowered):
    pixels = Pixels(1, (7, 5))
    for image in (noise((5, 7)), noise((7, 5)).convert("L")):
        pixels.put(0, image)
        assert pixels.get(0) is None
    lowered(pixel_cache, "MOST_PIXELS", 3 * 7 * 5 - 1)
    pixels = Pixels(1, (7, 5))
    pixels.put(0, noise((7, 5)))
    assert pixels.get(0) is None


def test_room_is_a_quarter_of_what_is_free(monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=100, f_frsize=4))
    assert [room(size, 1_000) for size in (100, 101)] == [True, False]
    assert not room(100, 99)


def put_elsewhere(pixels, image):
    """Into place 0, by a process of its own."""
    process = multiprocessing.get_context("fork").Process(target=pixels.put, args=(0, image))
    process.start()
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda pixels: pickle.loads(pickle.dumps(pixels))])
def test_what_any_process_puts_into_a_copy_is_known_to_all(copied):
    pixels = copied(Pixels(1, (7, 5)))
    put_elsewhere(pixels, noise((7, 5)))
    assert np.array_equal(np.array(pixels.get(0)), np.array(noise((7, 5))))
    assert np.array_equal(np.array(copied(pixels).get(0)), np.array(noise((7, 5))))


def opened_with(tmp_path, size=(7, 5), **more):
    noise(size).save(tmp_path / "saved.jpg", **more)
    return Image.open(tmp_path / "saved.jpg").convert("RGB")


def orientation(value):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = value
    return exif


def test_an_image_that_is_to_be_turned_is_not_kept(tmp_path):
    pixels = Pixels(2, (7, 5))
    for index, value in enumerate((1, 6)):
        pixels.put(index, opened_with(tmp_path, exif=orientation(value)))
    assert pixels.get(0) is not None
    assert pixels.get(1) is None


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # of opening the file
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"\xff" * 40])
def test_an_image_whose_exif_cannot_be_read_is_given_all_the_same(tmp_path, exif):
    folder = folder_of(tmp_path, [(9, 8), (9, 8)])
    noise((9, 8), 5).save(tmp_path / "0" / "broken.jpg", exif=exif)
    folder = ImageFolder(folder.root)
    source = Source(folder)
    for _ in range(2):
        for item, own in zip(source.items([0, 1, 2]), folder, strict=True):
            assert np.array_equal(np.array(item[0]), np.array(own[0]))


def test_an_image_keeps_its_colour_profile_where_the_process_knows_it(tmp_path):
    pixels, image = Pixels(2, (7, 5)), opened_with(tmp_path, icc_profile=b"of a camera")
    put_elsewhere(pixels, image)
    assert pixels.get(0) is None
    pixels.put(1, image)
    assert [pixels.get(place).info["icc_profile"] for place in (0, 1)] == [b"of a camera"] * 2


@pytest.mark.filterwarnings("ignore:torchvision shows")
def test_whole_items_of_kept_pixels_are_the_folders_own(tmp_path, monkeypatch):
    folder = folder_of(tmp_path, [(9, 8), (9, 8), (8, 9), (9, 8)])
    for i, value in enumerate((1, 6, 3)):
        noise((9, 8), 9 + i).save(tmp_path / "0" / f"photo {i}.jpg", exif=orientation(value), icc_profile=b"profile")
    folder = ImageFolder(folder.root)
    seen = []

    def shown(image):
        upright = ImageOps.exif_transpose(image)
        seen.append(upright.info.get("icc_profile"))
        return np.array(upright)

    folder.transform, folder.target_transform = shown, lambda target: -target
    source, everything = Source(folder), list(range(len(folder)))
    for _ in range(3):
        for i, (image, target) in enumerate(source.items(everything)):
            assert np.array_equal(image, folder[i][0])
            assert target == folder[i][1]
    assert seen[: len(folder)] == [folder.loader(path).info.get("icc_profile") for path, _ in folder.samples]
    opened, whole = [], folder_module.pil_loader
    monkeypatch.setattr(folder_module, "pil_loader", lambda path: opened.append(path) or whole(path))
    source.items(everything)
    assert len(opened) == 3  # two to be turned, one of another size


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
