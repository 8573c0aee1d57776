"""The examples run as a user runs them, at a tiny size."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import ImageFolder

from tests.conftest import Shapes
from tests.tiny_datasets import idx
from vae_augment import config
from vae_augment.exceptions import DataWarning
from vae_augment.mnist_sample import MNISTSample

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[1] / "examples"
TINY_PRESET = (
    "import runpy, sys; from vae_augment import config;"
    "config.PRESETS['default'] = {'latent_dim': 4, 'image_size': 32, 'width': 8, 'steps': 20};"
    "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


def run(name, *options, cache, **environment):
    command = [sys.executable, "-c", TINY_PRESET, str(EXAMPLES / name), *map(str, options)]
    env = {**os.environ, "VAE_AUGMENT_CACHE": str(cache), **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_mnist_quickstart_prints_both_accuracies(tmp_path):
    printed = run("mnist_quickstart.py", "--per-class", 4, "--steps", 4, cache=tmp_path)
    assert "test accuracy without:" in printed
    assert "test accuracy with:" in printed
    assert len(list((tmp_path / "banks").glob("*.safetensors"))) == 1


@pytest.mark.parametrize("networks", ["two-layers", "convolutions"])
def test_own_networks_are_fitted_and_read_again(networks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = run("own_networks.py", "--networks", networks, "--steps", 8, cache=tmp_path)
    assert "images 1x28x28" in printed
    assert "300 items" in printed
    assert {path.name for path in tmp_path.iterdir()} >= {"own.safetensors", "own.png"}


def test_folder_to_folder_makes_an_image_folder(tmp_path):
    shapes = Shapes(per_class=4)
    for index in range(len(shapes)):
        image, label = shapes[index]
        folder = tmp_path / "photos" / shapes.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        image.resize((16, 16)).save(folder / f"{index}.png")
    printed = run("folder_to_folder.py", tmp_path / "photos", tmp_path / "synthetic", "--per-class", 3, cache=tmp_path)
    assert "9 images written" in printed
    made = ImageFolder(tmp_path / "synthetic")
    assert made.classes == ["across", "down", "slanted"]
    assert made.targets == [0] * 3 + [1] * 3 + [2] * 3


def test_tutorial_prints_sums_of_pixels_by_three_models(tmp_path):
    for part, prefix in ((True, "train"), (False, "t10k")):
        sample, few = MNISTSample(train=part), slice(None, None, 50)
        for kind, array in (("images-idx3", sample.data[few]), ("labels-idx1", sample.targets[few])):
            idx(tmp_path / "MNIST" / "raw" / f"{prefix}-{kind}-ubyte", array.numpy().astype(np.uint8))
    printed = run("tutorial_mnist.py", cache=tmp_path, VAE_AUGMENT_DATA=str(tmp_path)).splitlines()
    assert printed[0] == "100 training images; the first test image is a 0"
    original = f"{MNISTSample(train=False).data[0].sum() / 255:.2f}"
    assert [line.split(" original ")[1].split(", ")[0] for line in printed[1:]] == [original] * 3


def test_tutorial_runs_without_data_and_without_a_network(offline, monkeypatch, capsys):
    tiny = {"latent_dim": 4, "image_size": 32, "width": 8, "steps": 20}
    monkeypatch.setitem(config.PRESETS, "default", tiny)
    with pytest.warns(DataWarning, match="Using the sample that comes with vae-augment"):
        runpy.run_path(str(EXAMPLES / "tutorial_mnist.py"), run_name="__main__")
    assert capsys.readouterr().out.startswith("5000 training images; the first test image is a 0\n")


def test_tutorial_is_short():
    assert len((EXAMPLES / "tutorial_mnist.py").read_text().splitlines()) < 60
