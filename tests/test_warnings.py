"""Each category of warnings is given by what it is for and points to the user's line; nothing else is said unasked."""

from __future__ import annotations

import ast
import contextlib
import linecache
import logging
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import vae_augment
from tests.conftest import CONFIG, Shapes
from vae_augment import VAEAugmentedDataset, evaluate, exceptions, fit
from vae_augment.data import open_data
from vae_augment.exceptions import (
    CacheWarning,
    DataWarning,
    FitWarning,
    LeakageWarning,
    PolicyWarning,
    VAEAugmentWarning,
)

ROOT = Path(vae_augment.__file__).parent
QUICK = {"arms": ["none"], "steps": 2, "seeds": 1, "progress": False}


class Noisy(Shapes):
    """Transforms at random in a way that cannot be set aside."""

    def __getitem__(self, index):
        image, target = super().__getitem__(index)
        return image.rotate(int(torch.randint(360, ()))), target


def line_of(given, category):
    """The one line that warnings of a category point to."""
    (place,) = {(one.filename, one.lineno) for one in given if issubclass(one.category, category)}
    assert place[0] == __file__
    return linecache.getline(*place).strip()


# ---- what each is given for ----


def test_data_that_is_not_used_as_it_stands(here, bank):
    with pytest.warns(DataWarning, match="MNIST is not on this machine") as given:
        open_data("mnist")
    assert line_of(given, DataWarning) == 'open_data("mnist")'
    with pytest.warns(DataWarning, match="items of Noisy differ each time they are read") as given:
        fit(Noisy(2), config=CONFIG, progress=False)
    assert line_of(given, DataWarning) == "fit(Noisy(2), config=CONFIG, progress=False)"
    renamed = Shapes()
    renamed.classes = ("across", "up", "slanted")
    with pytest.warns(DataWarning, match="label 1 is 'down' in the bank and 'up' in base_ds") as given:
        VAEAugmentedDataset(renamed, bank)
    assert line_of(given, DataWarning) == "VAEAugmentedDataset(renamed, bank)"
    few = torch.utils.data.Subset(Shapes(), [*range(20), 20, 21])
    with pytest.warns(DataWarning, match="no image is left to test on of 'slanted'") as given:
        evaluate(few, per_class=2, **QUICK)
    assert line_of(given, DataWarning) == "evaluate(few, per_class=2, **QUICK)"


def test_images_that_were_seen_before(bank):
    with pytest.warns(LeakageWarning, match="the bank was fitted on other data") as given:
        VAEAugmentedDataset(Shapes(seed=1), bank)
    assert line_of(given, LeakageWarning) == "VAEAugmentedDataset(Shapes(seed=1), bank)"
    both = torch.utils.data.ConcatDataset([Shapes(4, seed=1), Shapes(1)])
    with pytest.warns(LeakageWarning, match="test images are in dataset too: figures look better") as given:
        evaluate(Shapes(), test=both, **QUICK)
    assert line_of(given, LeakageWarning) == "evaluate(Shapes(), test=both, **QUICK)"


def test_fits_that_did_not_go_as_they_should():
    config = replace(CONFIG, learning_rate=1.0, steps=60)
    with pytest.warns(
        FitWarning, match="class 'down' collapsed: all codes are decoded to one image. Lower lea"
    ) as given:
        fit(Shapes(), classes=["down"], config=config, progress=False)
    assert line_of(given, FitWarning) == 'fit(Shapes(), classes=["down"], config=config, progress=False)'


def test_a_policy_not_to_augment(bank):
    off = bank.with_policy(p_generate=0.0, p_jitter=0.0, origin="do not augment, because")
    with pytest.warns(PolicyWarning, match="serving the images as they are: do not augment, because") as given:
        VAEAugmentedDataset(Shapes(), off)
    assert line_of(given, PolicyWarning) == "VAEAugmentedDataset(Shapes(), off)"


@pytest.mark.filterwarnings("ignore:what is finished cannot be kept in")
def test_a_cache_that_cannot_be_used(here, monkeypatch):
    VAEAugmentedDataset(Shapes())
    (kept,) = (here / "cache").rglob("*.safetensors")
    kept.write_bytes(b"damaged")
    with pytest.warns(CacheWarning, match="fitting again: ") as given:
        VAEAugmentedDataset(Shapes())
    assert line_of(given, CacheWarning) == "VAEAugmentedDataset(Shapes())"
    monkeypatch.setenv("VAE_AUGMENT_CACHE", str(kept))
    with pytest.warns(CacheWarning, match="the bank could not be kept in ") as given:
        VAEAugmentedDataset(Shapes())
    assert line_of(given, CacheWarning) == "VAEAugmentedDataset(Shapes())"


# ---- what they are ----


def test_all_categories_are_one_kind_and_say_what_they_are():
    own = [v for v in vars(exceptions).values() if isinstance(v, type) and v.__module__ == exceptions.__name__]
    categories = [each for each in own if issubclass(each, Warning)]
    assert {each.__name__ for each in categories} == {
        "VAEAugmentWarning",
        "DataWarning",
        "LeakageWarning",
        "FitWarning",
        "PolicyWarning",
        "CacheWarning",
    }
    assert all(issubclass(each, VAEAugmentWarning) and each.__doc__ for each in categories)
    assert issubclass(VAEAugmentWarning, UserWarning)
    assert set(own) - set(categories) == {exceptions.MissingExtraError}


def test_a_warning_passes_over_decorators_of_the_package_alone():
    @contextlib.contextmanager
    def wrapped():
        exceptions.warn("some", DataWarning)
        yield

    with pytest.warns(DataWarning) as given, wrapped():
        pass
    assert line_of(given, DataWarning) == 'exceptions.warn("some", DataWarning)'


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_user_must_see_is_a_warning_with_a_category(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        assert called not in {f"logger.{level}" for level in ("warning", "error", "exception", "critical")}, node.lineno
        if called == "warnings.warn":
            assert len(node.args) == 2, node.lineno
            assert {keyword.arg for keyword in node.keywords} == {"stacklevel"}, node.lineno
            assert ast.unparse(node.args[1]) != "UserWarning", node.lineno


# ---- as a library ----

USED = """
from tests.conftest import CONFIG, Shapes
from vae_augment import VAEAugmentedDataset, fit
bank = fit(Shapes(), config=CONFIG)
ds = VAEAugmentedDataset(Shapes(seed=SEED), bank, p_jitter=0.5, seed=0)
assert len([ds[i] for i in range(len(ds))]) == 30
"""


def program(script, **environment):
    command = [sys.executable, "-c", script]
    variables = {**os.environ, "PYTHONPATH": str(ROOT.parent), **environment}
    return subprocess.run(command, capture_output=True, text=True, env=variables, timeout=100)


@pytest.mark.slow
def test_use_as_a_library_says_nothing():
    done = program(USED.replace("SEED", "0"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_use_as_a_library_says_what_it_does_where_logging_is_set_up_so():
    done = program("import logging\nlogging.basicConfig(level='INFO')" + USED.replace("SEED", "0"))
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("INFO:vae_augment.fitting:fitting 3 of 3 classes, 30 images as 1x12x12, on ")


@pytest.mark.slow
def test_a_warning_is_shown_as_python_shows_them():
    done = program(USED.replace("SEED", "1"))
    assert done.returncode == 0
    assert done.stderr.startswith("<string>:5: LeakageWarning: the bank was fitted on other data")
    assert done.stderr.count("Warning: ") == 1


def test_warnings_are_silent_or_errors_by_their_category(bank):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=LeakageWarning)
        VAEAugmentedDataset(Shapes(seed=1), bank)
        warnings.filterwarnings("error", category=VAEAugmentWarning)
        with pytest.raises(LeakageWarning, match="the bank was fitted on other data"):
            VAEAugmentedDataset(Shapes(seed=1), bank)


@pytest.mark.slow
def test_a_bank_that_is_fitted_unasked_says_why_it_takes_long(tmp_path):
    script = "from vae_augment import config\nfrom tests.conftest import Shapes\n"
    script += "config.PRESETS['default'] = {'steps': 9, 'latent_dim': 2, 'width': 8, 'image_size': 16}\n"
    script += "from vae_augment import VAEAugmentedDataset\nVAEAugmentedDataset(Shapes(2))\n"
    once = program("import warnings\nwarnings.simplefilter('ignore')\n" + script, VAE_AUGMENT_CACHE=str(tmp_path))
    (line,) = once.stderr.splitlines()
    assert line.startswith(f"vae-augment: fitting a bank on 6 images, once; it is kept in {tmp_path}")
    assert program(script, VAE_AUGMENT_CACHE=str(tmp_path), PYTHONWARNINGS="ignore").stderr == ""


def test_the_packages_log_is_quiet_by_itself():
    assert [type(handler) for handler in logging.getLogger("vae_augment").handlers] == [logging.NullHandler]
