from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import resize

from tests.commands import contents
from tests.conftest import Shapes
from tests.random_banks import random_bank
from vae_augment import VAEBank
from vae_augment.bank.matching import source_for
from vae_augment.data.loading import load_images
from vae_augment.exceptions import DataWarning
from vae_augment.exporting import codec
from vae_augment.exporting.codec import BATCH, decode_to_folder, encode_dataset, reconstruct_to_folder
from vae_augment.exporting.latents import Latents
from vae_augment.images.tensors import to_uint8


@pytest.fixture
def source(bank, shapes):
    return source_for(bank, shapes)


@pytest.fixture
def latents(bank, source):
    return encode_dataset(bank, source)


def pixels(folder):
    """uint8 of each PNG below a folder, by path."""
    found = {}
    for path in sorted(folder.rglob("*.png")):
        with Image.open(path) as image:
            found[str(path.relative_to(folder))] = np.asarray(image)
    return found


def mixed(seed=0):
    """More images than a batch, of mixed classes, and not in whole batches."""
    many = Shapes(per_class=BATCH // 2)
    order = torch.randperm(len(many), generator=torch.Generator().manual_seed(seed))[: BATCH + 77]
    return Subset(many, order.tolist())


# ---- encode ----


def test_latents_are_what_the_bank_encodes(bank, source, latents):
    images, labels = load_images(source, bank.image_shape).images, source.labels
    mean, logvar = bank.encode(images, labels)
    assert torch.equal(latents.mean, mean)
    assert torch.equal(latents.logvar, logvar)
    assert torch.equal(latents.labels, labels)
    assert latents.names == tuple(f"{i:06d}" for i in range(30))
    assert (latents.class_to_idx, latents.image_shape) == (bank.class_to_idx, (1, 12, 12))
    assert (latents.bank_sha256, latents.counts) == (bank.sha256, dict.fromkeys(bank.classes, 10))


def test_log_variances_are_left_out_where_nobody_wants_them(bank, source, latents):
    means = encode_dataset(bank, source, mean_only=True)
    assert means.logvar is None
    assert torch.equal(means.mean, latents.mean)


def test_images_are_read_a_batch_at_a_time(bank, monkeypatch):
    read, load = [], codec.load_some
    monkeypatch.setattr(codec, "load_some", lambda *a: read.append(len(a[1])) or load(*a))
    told = []
    encode_dataset(bank, source_for(bank, mixed()), on_images=told.append)
    assert read == told == [BATCH, 77]


def test_a_bank_without_codes_of_training_images_encodes(without_codes, source, latents, tmp_path):
    assert torch.equal(encode_dataset(without_codes, source).mean, latents.mean)
    assert len(reconstruct_to_folder(without_codes, source, tmp_path / "r").classes) == 3


# ---- decode, and reconstruct ----


@pytest.mark.parametrize("name", ["l.safetensors", "l.parquet"])
def test_encoding_and_decoding_writes_what_reconstructing_writes_to_the_byte(bank, tmp_path, name):
    source = source_for(bank, mixed())
    reconstruct_to_folder(bank, source, tmp_path / "r")
    encode_dataset(bank, source, mean_only=True).save(tmp_path / name)
    decode_to_folder(bank, Latents.load(tmp_path / name), tmp_path / "d")
    assert contents(tmp_path / "r") == contents(tmp_path / "d")
    assert len(pixels(tmp_path / "r")) == BATCH + 77


def test_pixels_are_those_of_the_bank_to_half_a_level(bank, source, tmp_path):
    reconstruct_to_folder(bank, source, tmp_path / "r")
    made = bank.reconstruct(load_images(source, bank.image_shape).images, source.labels)
    for i, (path, image) in enumerate(pixels(tmp_path / "r").items()):
        assert path == f"{bank.classes[i // 10]}/{i:06d}.png"
        assert np.abs(image / 255 - made[i, 0].numpy()).max() <= 0.5001 / 255


@pytest.mark.parametrize(("dtype", "levels"), [("float16", 1), ("int8", 6)])
def test_fewer_bits_come_near(bank, source, latents, tmp_path, dtype, levels):
    latents.save(tmp_path / "l.safetensors", dtype=dtype)
    decode_to_folder(bank, Latents.load(tmp_path / "l.safetensors"), tmp_path / "d")
    reconstruct_to_folder(bank, source, tmp_path / "r")
    exact, near = pixels(tmp_path / "r"), pixels(tmp_path / "d")
    off = np.abs(np.stack([exact[name].astype(int) - near[name] for name in exact]))
    assert off.max() <= levels
    assert off.mean() < 0.5 * levels


def test_images_do_not_depend_on_the_threads(bank, latents, tmp_path):
    threads = torch.get_num_threads()
    for n in (1, 3):
        torch.set_num_threads(n)
        try:
            decode_to_folder(bank, latents, tmp_path / str(n))
            assert torch.get_num_threads() == n
        finally:
            torch.set_num_threads(threads)
    assert contents(tmp_path / "1") == contents(tmp_path / "3")


def test_codes_do_not_depend_on_the_threads():
    larger = random_bank((1, 28, 28), latent_dim=16, width=16)
    images = torch.randint(256, (6, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    codes = []
    for n in (1, 2):  # by which products of this size round otherwise
        torch.set_num_threads(n)
        try:
            codes.append(encode_dataset(larger, source_for(larger, [(image, 1) for image in images])))
            assert torch.get_num_threads() == n
        finally:
            torch.set_num_threads(1)
    assert torch.equal(codes[0].mean, codes[1].mean)
    assert torch.equal(codes[0].logvar, codes[1].logvar)


def test_the_folder_says_what_it_holds(bank, tmp_path):
    reconstruct_to_folder(bank, source_for(bank, Subset(Shapes(), [0, 12, 11])), tmp_path / "r")
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert manifest == {
        "format": "png",
        "bank_sha256": bank.sha256,
        "method": "reconstruction",
        "images": 3,
        "classes": [
            {"folder": "across", "name": "across", "label": 0, "images": 1, "files": ["000000.png"]},
            {"folder": "down", "name": "down", "label": 1, "images": 2, "files": ["000012.png", "000011.png"]},
            {"folder": "slanted", "name": "slanted", "label": 2, "images": 0, "files": []},
        ],
    }
    assert ImageFolder(tmp_path / "r").classes == ["across", "down"]
    assert json.loads((tmp_path / "r" / "classes.json").read_text()) == {name: name for name in bank.classes}


def test_errors_are_those_of_the_pixels_that_were_written(bank, shapes, source, tmp_path):
    done = reconstruct_to_folder(bank, source, tmp_path / "r")
    read = np.stack(list(pixels(tmp_path / "r").values()))
    squares = ((read / 255 - shapes.data / 255) ** 2).reshape(3, -1)
    assert [each.name for each in done.classes] == list(bank.classes)
    assert [each.images for each in done.classes] == [10, 10, 10]
    assert [each.rmse for each in done.classes] == pytest.approx(np.sqrt(squares.mean(1)).tolist())
    assert (done.whole.images, done.whole.rmse) == (30, pytest.approx(math.sqrt(squares.mean())))
    assert done.whole.psnr == pytest.approx(10 * math.log10(1 / squares.mean()))
    assert codec.ClassError("all", 1, 0.0).psnr == math.inf


def test_images_of_another_size_are_measured_at_the_banks(bank, shapes, tmp_path):
    larger = [
        (resize(Image.fromarray(image), [30, 24]), label)
        for image, label in zip(shapes.data, shapes.targets, strict=True)
    ]
    reconstruct_to_folder(bank, source_for(bank, larger, resize=True), tmp_path / "r")
    assert {image.shape for image in pixels(tmp_path / "r").values()} == {(12, 12)}


# ---- names that anyone may have given ----


def test_no_name_leads_out_of_the_folder_and_none_is_lost(bank, latents, tmp_path):
    names = (
        "../../escape",
        "/etc/passwd",
        "a.png",
        "A.jpg",
        "..",
        "con",
        "a\nb",
        "x" * 300,
        "x" * 301,
        "manifest.json",
    )
    hostile = replace(latents, names=names * 3)
    decode_to_folder(bank, hostile, tmp_path / "in" / "d")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["d"]
    assert sorted(path.name for path in (tmp_path / "in" / "d").iterdir() if path.is_file()) == [
        "classes.json",
        "manifest.json",
    ]
    read = pixels(tmp_path / "in" / "d")
    assert len(read) == 30
    assert all(name.count("/") == 1 for name in read)
    made = to_uint8(bank.decode(latents.mean, latents.labels))[:, 0].numpy()
    assert np.array_equal(read["across/a.png"], made[2])
    assert np.array_equal(read["across/A~2.png"], made[3])


# ---- another bank ----


def test_latents_of_another_bank_are_refused_unless_told(bank, latents, tmp_path):
    part = bank.subset([0, 1, 2]).with_policy(scale=0.123)
    with pytest.raises(ValueError, match=r"encoded with another bank, of sha256 .*--other-bank \(other_bank=True\)"):
        decode_to_folder(part, latents, tmp_path / "d")
    assert not (tmp_path / "d").exists()
    decode_to_folder(part, latents, tmp_path / "d", other_bank=True)
    decode_to_folder(bank, latents, tmp_path / "own")
    assert len(pixels(tmp_path / "d")) == 30
    for name, image in pixels(tmp_path / "own").items():
        assert np.array_equal(image, pixels(tmp_path / "d")[name])


def test_a_bank_that_cannot_have_made_them_is_refused_all_the_same(bank, latents, tmp_path):
    for bad, message in (
        (
            replace(latents, mean=torch.zeros(30, 5), logvar=None),
            "of 1x12x12 images in 4 dimensions, got .* in 5 dimens",
        ),
        (replace(latents, image_shape=(3, 12, 12)), "of 1x12x12 images in 4 dimensions, got some of 3x12x12 images"),
    ):
        with pytest.raises(ValueError, match=message):
            decode_to_folder(bank, bad, tmp_path / "d", other_bank=True)
    with pytest.raises(ValueError, match=r"the bank has no class for label 2; it has labels \[0, 1\]"):
        decode_to_folder(bank.subset([0, 1]), latents, tmp_path / "d", other_bank=True)
    assert not (tmp_path / "d").exists()


def test_classes_without_images_need_not_be_there(bank, tmp_path):
    few = encode_dataset(bank, source_for(bank, Subset(Shapes(), range(20))))
    done = decode_to_folder(bank.subset([0, 1]), few, tmp_path / "d", other_bank=True)
    assert done.counts == {"across": 10, "down": 10}


def test_classes_of_other_names_are_warned_of(bank, latents, tmp_path):
    other = replace(latents, class_to_idx={"across": 0, "up": 1, "slanted": 2}, bank_sha256="0" * 64)
    with pytest.warns(DataWarning, match="classes have other names in the bank: for 'up' it says 'down'"):
        decode_to_folder(bank, other, tmp_path / "d", other_bank=True)


def test_codes_that_no_encoder_gives_are_refused(bank, latents, tmp_path):
    with pytest.raises(ValueError, match="the latents hold codes that are too large: images of them are not finite"):
        decode_to_folder(bank, replace(latents, mean=torch.full((30, 4), 3e38)), tmp_path / "d")


def test_images_that_png_cannot_hold_are_refused(bank, latents, tmp_path):
    two_channels = VAEBank(replace(bank.content, vae=replace(bank.vae, image_shape=(2, 12, 12))))
    with pytest.raises(ValueError, match="PNG holds images of 1, 3 or 4 channels, the bank's have 2"):
        decode_to_folder(two_channels, replace(latents, image_shape=(2, 12, 12)), tmp_path / "d", other_bank=True)
    assert not (tmp_path / "d").exists()
