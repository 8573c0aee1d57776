"""A short form of `python -m tests.faults.killing`."""

from __future__ import annotations

import pytest

from tests.conftest import Shapes
from tests.faults.killing import cache_task, fit_task, generate_task, run
from vae_augment import config
from vae_augment.fitting import callbacks


@pytest.fixture
def tiny(here, lowered, monkeypatch):
    """A fit that takes about a second, with its state kept often."""
    lowered(callbacks, "SECONDS", 0.1)
    lowered(callbacks, "KEEP_EVERY", 5)
    monkeypatch.setitem(config.PRESETS, "fast", {"steps": 600, "latent_dim": 4, "width": 8, "image_size": 32})
    return here


def test_a_fit_that_is_killed_loses_nothing(tiny):
    tally = run(fit_task(str(tiny / "bars"), "--preset fast"), 3)
    assert tally.clean, tally
    assert tally.kills


def test_an_export_that_is_killed_loses_nothing(tiny, bank_path):
    tally = run(generate_task(bank_path, "--per-class 400 --workers 2"), 4)
    assert tally.clean, tally
    assert tally.kills


def test_a_cached_fit_that_is_killed_loses_nothing(tiny):
    tally = run(cache_task(Shapes()), 3)
    assert tally.clean, tally
    assert tally.kills
