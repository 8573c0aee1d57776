"""Folders and files that may not be written to, or not even read."""

from __future__ import annotations

import os
import warnings

import pytest

from tests.conftest import Shapes
from tests.faults.page import record
from tests.faults.running import ended
from vae_augment import VAEAugmentedDataset

pytest.importorskip("resource")  # where processes are forked


def nobody():
    """Give up root's rights, which permissions do not hold back."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


@pytest.fixture
def locked(with_bank):
    """A folder that may be read and not written to; all others may be."""
    for path in [with_bank, *with_bank.parents]:
        if path.stat().st_uid == os.geteuid() and path != path.parent:
            path.chmod(path.stat().st_mode | 0o055)
    place = with_bank / "locked"
    place.mkdir()
    place.chmod(0o555)
    yield place
    place.chmod(0o755)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("fit --data bars --out locked/b.safetensors", "--out: the folder locked may not be written to."),
        ("generate bars.safetensors --out locked/made", "[Errno 13] Permission denied: 'locked/made'"),
        ("evaluate --data bars --json locked/a.json", "--json: the folder locked may not be written to."),
    ],
)
def test_a_folder_that_may_not_be_written_to_is_named(locked, command, message, record_property):
    code, line = ended(command, locked.parent, locked.parent / "log.txt", nobody)
    assert code == 1
    assert line == f"vae-augment: error: {message}"
    assert list(locked.iterdir()) == []
    tried = "`fit`, `generate` and `evaluate` into it"
    record(record_property, fault="folder that may not be written to", tried=tried, times=1)


@pytest.mark.parametrize("data", ["../bars", "nmist"])  # it is said before data is looked for
def test_so_is_the_one_that_a_command_runs_in_before_anything_is_fitted(locked, monkeypatch, data, record_property):
    monkeypatch.setattr("vae_augment.fitting.fit", None)
    code, line = ended(f"fit --data {data}", locked, locked.parent / "log.txt", nobody)
    assert (code, line) == (1, "vae-augment: error: --out: the folder . may not be written to.")
    assert ended("fit --data ../bars --check", locked, locked.parent / "log.txt", nobody)[0] == 0
    tried = "`fit` in it, without --out"
    record(record_property, fault="folder that may not be written to", tried=tried, times=1)


def wrapping():
    with warnings.catch_warnings(record=True) as given:
        print(VAEAugmentedDataset(Shapes()).bank.classes)
    for warning in given:
        print(f"{warning.category.__name__}: {warning.message}")


@pytest.mark.parametrize("mode", [0o555, 0], ids=["may be read", "may not be read"])
@pytest.mark.parametrize("work", ["doctor", wrapping], ids=["doctor", "wrapping"])
def test_a_cache_that_may_not_be_written_to_costs_a_fit_and_no_more(locked, work, mode, record_property):
    locked.chmod(mode)
    log = locked.parent / "log.txt"
    code, _ = ended(work, locked.parent, log, lambda: (nobody(), os.environ.update(VAE_AUGMENT_CACHE="locked")))
    locked.chmod(0o755)
    said = log.read_text()
    assert "Traceback" not in said
    if work == "doctor":
        assert code == 1
        assert "VAE_AUGMENT_CACHE" in said
    else:
        assert (code, str(Shapes.classes) in said) == (0, True)
        assert "CacheWarning: the bank could not be kept in locked/banks/" in said
    assert list(locked.iterdir()) == []
    fault = f"folder that may not be {'written to' if mode else 'read'}"
    tried = "`doctor`" if work == "doctor" else "`VAEAugmentedDataset(dataset)`"
    record(record_property, fault=fault, tried=f"{tried} with it as its cache", times=1)


@pytest.mark.parametrize("mode", [0o444, 0], ids=["may be read", "may not be read"])
def test_a_bank_in_a_cache_of_somebody_else_is_used_where_it_may_be_read(locked, mode, record_property):
    locked.chmod(0o755)
    log = locked.parent / "log.txt"
    assert ended(wrapping, locked.parent, log, lambda: os.environ.update(VAE_AUGMENT_CACHE="locked"))[0] == 0
    (kept,) = locked.rglob("*.safetensors")
    kept.chmod(mode)
    for folder in (locked, kept.parent):
        folder.chmod(0o555)
    before = kept.stat().st_ino
    log.unlink()
    code, _ = ended(wrapping, locked.parent, log, lambda: (nobody(), os.environ.update(VAE_AUGMENT_CACHE="locked")))
    kept.parent.chmod(0o755)
    said = log.read_text()
    assert (code, str(Shapes.classes) in said) == (0, True)
    assert ("fitting a bank" in said, "CacheWarning: the bank could not be kept" in said) == (mode == 0, mode == 0)
    assert kept.stat().st_ino == before
    tried = "`VAEAugmentedDataset(dataset)` with a bank in its cache"
    record(record_property, fault="folder that may not be written to", tried=tried, times=1)
