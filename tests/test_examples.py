"""The examples run as a user runs them, at a tiny size."""

import os
import subprocess
import sys
from pathlib import Path

from torchvision.datasets import ImageFolder

from tests.conftest import Shapes

EXAMPLES = Path(__file__).parents[1] / "examples"
TINY_PRESET = (
    "import runpy, sys; from vae_augment import config;"
    "config.PRESETS['default'] = {'latent_dim': 4, 'image_size': 32, 'width': 8, 'steps': 20};"
    "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


def run(name, *options, cache):
    command = [sys.executable, "-c", TINY_PRESET, str(EXAMPLES / name), *map(str, options)]
    env = {**os.environ, "VAE_AUGMENT_CACHE": str(cache)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_mnist_quickstart_prints_both_accuracies(tmp_path):
    printed = run("mnist_quickstart.py", "--per-class", 4, "--steps", 4, cache=tmp_path)
    assert "test accuracy without:" in printed
    assert "test accuracy with:" in printed
    assert len(list((tmp_path / "banks").glob("*.safetensors"))) == 1


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
