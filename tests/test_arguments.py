"""Arguments of another type or out of range are named in an error of ours, before any work is done."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.conftest import CONFIG, Shapes
from vae_augment import FitConfig, VAEAugmentedDataset, VAEBank, evaluate, export, fit
from vae_augment.data import open_data
from vae_augment.data.source import Source

NAN = float("nan")
IMAGES, LABELS = torch.from_numpy(Shapes().data)[:2, None], torch.tensor([0, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda bank, path: fit(Shapes(), config="fast"), "config must be a FitConfig, such as .*, got 'fast'"),
        (lambda bank, path: fit(Shapes(), config=CONFIG, start=str(path)), "start must be a VAEBank, as VAEBank.load"),
        (
            lambda bank, path: fit(Shapes(), config=CONFIG, classes="across"),
            "classes must be a list of names or labels",
        ),
        (lambda bank, path: fit(Shapes(), config=CONFIG, classes=[0.5]), "a class must be a whole number"),
        (lambda bank, path: fit(Shapes(), config=CONFIG, seed=1.5), "seed must be a whole number, got 1.5"),
        (
            lambda bank, path: fit(Shapes(), config=CONFIG, checkpoint=path),
            "checkpoint must be a folder, got the file ",
        ),
        (lambda bank, path: evaluate(Shapes(), config={}), "config must be a FitConfig"),
        (
            lambda bank, path: evaluate(Shapes(), config=CONFIG, seeds="3"),
            "seeds must be a whole number of at least 1, ",
        ),
        (
            lambda bank, path: evaluate(Shapes(), config=CONFIG, steps=0),
            "steps must be a whole number of at least 1, g",
        ),
        (lambda bank, path: VAEBank.merge(path, bank), "bank_a must be a VAEBank"),
        (lambda bank, path: export(str(path), "x"), "bank must be a VAEBank"),
        (lambda bank, path: bank.subset("across"), "classes must be a list of names or labels, got 'across'"),
        (
            lambda bank, path: VAEBank.load(path, device="foo"),
            "device must be 'auto' or one that torch can use here, got",
        ),
        (lambda bank, path: bank.to("foo"), "device must be 'auto' or one that torch can use here, got 'foo'"),
        (lambda bank, path: bank.to(None), "device must be 'auto' or one that torch can use here, got None"),
        (lambda bank, path: bank.save(""), "path must name a file, got ''"),
        (lambda bank, path: VAEBank.load(""), "path must name a file, got ''"),
        (lambda bank, path: bank.save(3), "path must be the path of a file, got 3"),
        (lambda bank, path: bank.decode(torch.full((2, 4), NAN), LABELS), "z must hold finite numbers"),
        (lambda bank, path: bank.interpolate(IMAGES, IMAGES, LABELS, t=NAN), "t must be a finite number"),
        (lambda bank, path: bank.interpolate(IMAGES, IMAGES, LABELS, t=torch.tensor([0.0, NAN])), "t must be a fini"),
        (lambda bank, path: bank.sample(torch.tensor([True, False])), r"labels must be int64 \[B\], got torch.bool"),
        (lambda bank, path: bank.sample([True, False]), r"labels must be int64 \[B\], got torch.bool"),
        (
            lambda bank, path: bank.jitter(IMAGES, LABELS, keep_detail="no"),
            "keep_detail must be True, False or None, got",
        ),
        (
            lambda bank, path: bank.jitter(IMAGES, LABELS, scale="1"),
            "scale must be a finite number of at least 0, got '1'",
        ),
        (lambda bank, path: bank.jitter(IMAGES[..., :0], LABELS), r"images must have pixels, got \[2, 1, 12, 0\]"),
        (
            lambda bank, path: VAEAugmentedDataset(Shapes(), bank, p_generate="0.5"),
            r"p_generate must be in \[0, 1\], got ",
        ),
        (
            lambda bank, path: VAEAugmentedDataset(Shapes(), bank, p_jitter=True),
            r"p_jitter must be in \[0, 1\], got True",
        ),
        (
            lambda bank, path: VAEAugmentedDataset(Shapes(), bank, p_jitter={"up": 1}),
            "p_jitter names class 'up', which ha",
        ),
        (
            lambda bank, path: VAEAugmentedDataset(Shapes(), bank, scale={0: -1}),
            r"scale\[0\] must be a finite number of",
        ),
        (
            lambda bank, path: VAEAugmentedDataset(Shapes(), bank).set_epoch(1.7),
            "epoch must be a whole number of at least",
        ),
        (
            lambda bank, path: VAEAugmentedDataset(Shapes(), bank).set_epoch(-1),
            "epoch must be a whole number of at least 0",
        ),
        (
            lambda bank, path: fit("photos"),
            "dataset must be a dataset, got 'photos'. Open it: ",
        ),
        (lambda bank, path: fit(Shapes), "dataset must be an object of the class Shapes, got the class itself"),
        (lambda bank, path: evaluate(Shapes(), arms=[1]), "each of arms must be the name of an arm, got 1"),
        (lambda bank, path: evaluate(Shapes(), classifier="cnn"), "classifier must be a function or None, got 'cnn'"),
        (lambda bank, path: evaluate(Shapes(), test_labels=[0]), "test_labels are for test, which is None"),
        (
            lambda bank, path: VAEAugmentedDataset(Shapes(), bank, return_source="no"),
            "return_source must be True",
        ),
        (
            lambda bank, path: VAEAugmentedDataset(Shapes(), bank).set_epoch(2**63),
            "epoch must be a whole number",
        ),
        (lambda bank, path: open_data(""), "must name a dataset, a folder or a file, got ''"),
    ],
)
def test_it_is_named(call, message, bank, bank_path):
    with pytest.raises((TypeError, ValueError, FileExistsError), match=message):
        call(bank, bank_path)


def test_numbers_of_numpy_are_numbers(bank, shapes):
    config = FitConfig(latent_dim=np.int64(4), steps=np.int32(5), learning_rate=np.float32(0.001), policy="none")
    assert [type(value) for value in (config.latent_dim, config.steps, config.learning_rate)] == [int, int, float]
    fit(shapes, config=config, seed=np.int64(3), progress=False)
    wrapped = VAEAugmentedDataset(
        shapes, bank, p_generate=np.float32(0.5), p_jitter=np.float64(0.25), scale=np.int64(1), seed=np.uint8(3)
    )
    wrapped.set_epoch(np.int64(2))
    plain = VAEAugmentedDataset(shapes, bank, p_generate=0.5, p_jitter=0.25, scale=1, seed=3)
    plain.set_epoch(2)
    assert all(np.array_equal(wrapped[i][0], plain[i][0]) for i in range(30))


class Items(list):
    """Items as they are given."""


@pytest.mark.parametrize("bad", [None, (None, -1), "text", 3, (np.zeros((8, 8)),)])
@pytest.mark.parametrize("place", [0, 17])
def test_an_item_without_an_image_is_named(bad, place):
    items = Items([(np.full((8, 8), i, np.uint8), i % 2) for i in range(20)])
    items[place] = bad
    with pytest.raises((TypeError, ValueError), match=f"item {place}"):
        fit(items, labels=[i % 2 for i in range(20)], config=CONFIG, progress=False)


@pytest.mark.parametrize("shape", [(20, 32, 32), (32, 32, 20)])
def test_images_of_too_many_channels_are_described_as_they_are(shape):
    items = Items([(np.zeros(shape, np.uint8), i % 2) for i in range(4)])
    with pytest.raises(ValueError, match="images must have 1 to 16 channels, got 20"):
        fit(items, config=CONFIG, progress=False)


def test_images_without_pixels_are_refused():
    with pytest.raises(ValueError, match="8x8"):
        fit(Items([(np.zeros((0, 0), np.uint8), i % 2) for i in range(4)]), config=CONFIG, progress=False)


def test_a_repeated_folder_has_names_for_all_items(tmp_path):
    from PIL import Image
    from torchvision.datasets import ImageFolder

    class Repeated(ImageFolder):
        def __len__(self):
            return 3 * len(self.samples)

        def __getitem__(self, index):
            return super().__getitem__(index % len(self.samples))

    for label in "ab":
        (tmp_path / label).mkdir()
        for i in range(3):
            Image.new("RGB", (9, 9), (40 * i, 0, 0)).save(tmp_path / label / f"{i}.png")
    source = Source(Repeated(tmp_path))
    assert (len(source), len(source.names())) == (18, 18)
    assert source.whereabouts(17) == "item 17"
    assert source.labels.tolist() == [0, 0, 0, 1, 1, 1] * 3


@pytest.mark.parametrize("turned", [False, True])
def test_files_that_exif_turns_are_told_of_once(turned, tmp_path):
    import warnings

    from PIL import ExifTags, Image
    from torchvision.datasets import ImageFolder

    (tmp_path / "a").mkdir()
    for i in range(5):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6 if turned else 1
        Image.new("RGB", (12, 9)).save(tmp_path / "a" / f"{i}.jpg", exif=exif)
    with warnings.catch_warnings(record=True, action="always") as given:
        Source(ImageFolder(tmp_path))
    assert [f"{tmp_path}/a/0.jpg" in str(one.message) for one in given] == [True] * turned
