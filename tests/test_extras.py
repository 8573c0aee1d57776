"""The core runs without any extra, and what needs one says how to install it."""

import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vae_augment import exceptions
from vae_augment.exceptions import MissingExtraError, check_extra

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
MODULES = {"scikit-learn": "sklearn"}  # that are not named as their distribution
# Modules of all extras for users, and of the tests', as if they were not installed.
MISSING = ["matplotlib", "sklearn", "threadpoolctl", "pyarrow", "tensorboard", "timm", "pandas", "platformdirs"]
WITHOUT = f"import sys\nsys.modules.update(dict.fromkeys({MISSING!r}))\n"
COMMAND = WITHOUT + "from vae_augment.cli import main\nmain(sys.argv[1:])"


def run(code, *arguments, cwd=None):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def modules_of(extra):
    names = (re.match(r"[\w-]+", each)[0] for each in PROJECT["optional-dependencies"][extra])
    return [MODULES.get(name, name) for name in names]


@pytest.fixture
def folder(tmp_path):
    """A folder with photos/, of two classes of six images."""
    draws = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for place in range(6):
            pixels = draws.integers(0, 256, (12, 12), dtype="uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{place}.png")
    return tmp_path


def test_few_packages_are_needed_by_all():
    assert len(PROJECT["dependencies"]) <= 11
    assert not set(MISSING) & {re.match(r"[\w-]+", each)[0] for each in PROJECT["dependencies"]}


def test_all_is_all_extras_for_users():
    (every,) = PROJECT["optional-dependencies"]["all"]
    extras = re.search(r"\[(.+)\]", every)[1].split(",")
    assert set(extras) == set(PROJECT["optional-dependencies"]) - {"all", "bench", "check", "compat", "test"}
    assert {module for extra in extras for module in modules_of(extra)} <= set(MISSING)


@pytest.mark.slow
def test_fit_the_wrapper_and_generate_need_no_extra(folder):
    for words in (
        ["fit", "--data", "photos", "--preset", "fast", "--out", "b.safetensors"],
        ["info", "b.safetensors"],
        ["generate", "b.safetensors", "--out", "made", "--per-class", "2"],
        ["augment", "b.safetensors", "--data", "photos", "--out", "more", "--copies", "1"],
    ):
        done = run(COMMAND, *words, cwd=folder)
        assert done.returncode == 0, done.stderr
    assert len([*(folder / "made").rglob("*.png")]) == 4
    code = WITHOUT + (
        "import torch\nfrom vae_augment import VAEAugmentedDataset\nfrom vae_augment.data import open_data\n"
        "from vae_augment.transforms import albumentations, torchvision\n"
        "wrapped = VAEAugmentedDataset(open_data('photos').dataset, 'b.safetensors', p_generate=0.5, p_jitter=0.5)\n"
        "print(len(list(torch.utils.data.DataLoader(wrapped, batch_size=5, collate_fn=list))))"
    )
    done = run(code, cwd=folder)
    assert (done.returncode, done.stdout.strip()) == (0, "3"), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "needs", "extra"),
    [
        ("report b.safetensors", "a report needs matplotlib", "report"),
        ("explore b.safetensors --out explored", "map needs matplotlib", "report"),
        ("generate b.safetensors --out made --method mixture", "method='mixture' needs sklearn", "report"),
        ("fit --data photos --tensorboard log", "the log for TensorBoard needs tensorboard", "tensorboard"),
        ("evaluate --data photos --classifier timm:x", "classifier 'timm:x' needs timm", "timm"),
        ("fit --data table.parquet", "table.parquet needs pyarrow", "parquet"),
    ],
)
def test_what_is_missing_is_said_in_one_line(bank, folder, words, needs, extra):
    bank.save(folder / "b.safetensors")
    (folder / "table.parquet").write_bytes(b"PAR1")
    before = set(folder.iterdir())
    done = run(COMMAND, *words.split(), cwd=folder)
    assert done.returncode == 2
    said = rf"vae-augment: error: {re.escape(needs)}.+pip install .vae-augment\[{extra}\].\.\n"
    assert re.fullmatch(said, done.stderr), done.stderr
    assert set(folder.iterdir()) <= before | {folder / "made"}


def test_vae_sampler_says_what_it_needs():
    done = run(WITHOUT + "import vae_augment.sklearn")
    assert 'VAESampler needs sklearn, which is not installed: pip install "vae-augment[report]".' in done.stderr


def test_what_is_installed_passes_and_what_is_not_is_an_import_error(monkeypatch):
    check_extra("report", "this", "json", "re")
    monkeypatch.setattr(exceptions, "find_spec", lambda name: None if name == "re" else find_spec(name))
    with pytest.raises(
        MissingExtraError, match=r'^this needs re, which is not installed: pip install "vae-augment\[report\]"\.$'
    ) as caught:
        check_extra("report", "this", "json", "re")
    assert isinstance(caught.value, ImportError)
    assert caught.value.name == "re"
