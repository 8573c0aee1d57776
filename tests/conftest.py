"""One tiny dataset and one bank fitted on it, made once for the whole test run; and a folder to run commands in."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.browser import browser as browser  # a fixture, as the next
from tests.browser import page as page
from vae_augment import FitConfig, VAEBank, config, fit
from vae_augment.data.loading import FitData, load_images
from vae_augment.data.readers import torchvision_names
from vae_augment.data.source import Source

os.environ.pop("VAE_AUGMENT_DATA", None)
torch.set_num_threads(1)  # models this small only lose time to a second one
CONFIG = FitConfig(steps=12, latent_dim=4, width=8, batch_size=16)

# Families of every sort.
MOVES_TRIED = ("none", "colour", "elastic", "elastic-colour", "several", "combined", "mirrored", "several-flipped")

SLOW = (  # beside those that are marked
    "tests/bank/test_decoding_memory.py",
    "tests/bank/test_file_hostile.py",
    "tests/cli/test_codec.py",
    "tests/cli/test_doctor.py",
    "tests/cli/test_explore.py",
    "tests/cli/test_morph.py",
    "tests/cli/test_resume.py",
    "tests/cli/test_stopping.py",
    "tests/data/test_arrays.py",
    "tests/data/test_tables.py::test_small_files_that_unpack_to_much",
    "tests/evaluation/",
    "tests/exporting/test_export.py",
    "tests/exporting/test_latents_hostile.py",
    "tests/faults/",
    "tests/files/test_class_names.py::test_names_that_are_too_much",
    "tests/fitting/",
    "tests/report/test_decoder.py",
    "tests/report/test_differences.py",
    "tests/report/test_in_browser.py",
    "tests/test_browser.py",
    "tests/test_package.py::test_importing_everything",
    "tests/test_package.py::test_names_resolve",
    "tests/test_package.py::test_the_core_loads",
    "tests/test_warnings.py",
    "tests/transforms/test_albumentations.py",
    "tests/transforms/test_torchvision.py::test_a_spawned_worker",
    "tests/wrapper/test_dataset.py::test_the_bundled_sample",
    "tests/wrapper/test_dataset_moves.py",
    "tests/wrapper/test_libraries.py",
    "tests/wrapper/test_loading.py",
    "tests/wrapper/test_properties.py",
    "tests/wrapper/test_start_methods.py",
)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker("slow")


class Shapes:
    """Grey 12x12 PIL images of three classes of bars, as a torchvision-style dataset: (image, int) items."""

    classes = ("across", "down", "slanted")

    def __init__(self, per_class=10, transform=None, target_transform=None, seed=0):
        rng = np.random.default_rng(seed)
        self.data = np.stack([self._draw(k, rng) for k in range(3) for _ in range(per_class)])
        self.targets = [k for k in range(3) for _ in range(per_class)]
        self.transform = transform
        self.target_transform = target_transform

    @staticmethod
    def _draw(label, rng):
        image = np.zeros((12, 12), np.uint8)
        at, ink = rng.integers(2, 9), rng.integers(150, 255)
        if label == 0:
            image[at : at + 2] = ink
        elif label == 1:
            image[:, at : at + 2] = ink
        else:
            image[np.arange(12), (np.arange(12) + at) % 12] = ink
        return image

    @property
    def class_to_idx(self):
        return {name: k for k, name in enumerate(self.classes)}

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        image, target = Image.fromarray(self.data[index]), self.targets[index]
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target


@pytest.fixture
def shapes() -> Shapes:
    return Shapes()


@pytest.fixture(scope="session")
def bank() -> VAEBank:
    return fit(Shapes(), config=CONFIG, progress=False)


@pytest.fixture
def data(bank, shapes) -> FitData:
    """The bank's images, as its fit saw them."""
    return load_images(Source(shapes), bank.image_shape)


@pytest.fixture
def without_codes(bank) -> VAEBank:
    """The bank, but that it keeps no codes of images: as a fit with exemplars=0 makes one."""
    stats = bank.content.stats
    bare = replace(stats, exemplars=stats.exemplars[:, :0], counts=torch.zeros_like(stats.counts))
    return VAEBank(replace(bank.content, stats=bare)).with_policy(method="gaussian")


@pytest.fixture(scope="session")
def bank_path(bank, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bank") / "shapes.safetensors"
    bank.save(path)
    return path


@pytest.fixture(autouse=True)
def seeded():
    """Every test starts at the same state of the global generators, whichever tests ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("VAE_AUGMENT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """A machine without data and without a network; the folder it works in."""

    def download(*arguments):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(torchvision_names, "download", download)
    monkeypatch.delenv("VAE_AUGMENT_DATA", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def downloads(offline, monkeypatch):
    """Sets what stands in for downloading: a function of (class_name, options, root, timeout)."""
    return lambda function: monkeypatch.setattr(torchvision_names, "download", function)


@pytest.fixture
def lowered(monkeypatch):
    """Lowers a bound of a module, so that meeting it takes no gigabytes."""

    def lower(module, name, bound):
        assert bound < getattr(module, name)
        monkeypatch.setattr(module, name, bound)

    return lower


@pytest.fixture
def quick_presets(monkeypatch):
    """Fits of a fraction of a second, whichever preset they have."""
    tiny = {"steps": 30, "latent_dim": 4, "width": 8, "image_size": 32}
    for preset in ("fast", "default"):
        monkeypatch.setitem(config.PRESETS, preset, tiny)


@pytest.fixture
def here(offline, quick_presets, tmp_path):
    """A working folder with class folders, a file and an empty folder in it, no data, no network and a quick preset."""
    for i, label in enumerate(Shapes(per_class=3).targets):
        folder = tmp_path / "bars" / Shapes.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(Shapes(per_class=3).data[i]).save(folder / f"{i}.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    return tmp_path


@pytest.fixture
def with_bank(here, bank_path):
    (here / "bars.safetensors").write_bytes(bank_path.read_bytes())
    return here


@pytest.fixture
def photos(bank, tmp_path, monkeypatch):
    """A folder with a bank, and the shapes in class folders."""
    monkeypatch.chdir(tmp_path)
    bank.save("bars.safetensors")
    for number, (image, label) in enumerate(Shapes(per_class=6)):
        path = Path("photos", Shapes.classes[label], f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    return tmp_path


@pytest.fixture
def odd_data(with_bank, bank):
    """Also a bank that lacks a class, and folders of images that the first does not take as they are."""
    bank.subset([0, 1]).save("two.safetensors")
    for folder, classes, image in (
        ("large", Shapes.classes, Image.new("L", (24, 18), 9)),
        ("colour", Shapes.classes, Image.new("RGB", (12, 12), (9, 99, 200))),
        ("strange", ["zebra"], Image.new("L", (12, 12))),
        ("more", [*Shapes.classes, "spotted"], Image.new("L", (12, 12))),
    ):
        for name in classes:
            (with_bank / folder / name).mkdir(parents=True)
            image.save(with_bank / folder / name / "0.png")
    return with_bank


@pytest.fixture
def threads():
    """A function that sets the number of torch's threads, until the test ends."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
