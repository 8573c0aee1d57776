"""What writers that are gone left half-written goes, wherever it may be, and what others are writing stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tests.commands import run
from tests.conftest import Shapes
from vae_augment import VAEAugmentedDataset
from vae_augment.exporting.folder import EXPORT
from vae_augment.files.writing import _machine, sweep
from vae_augment.fitting.checkpoint import Checkpoint, discard

DAY = 24 * 3600
OTHER = "00000000"  # another machine


@pytest.fixture(scope="module")
def gone():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def plant(folder, name, process, machine=None):
    """A half-written file, and its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{name}.{machine or _machine()}-{process}-01234567.tmp"
    path.write_bytes(b"half")
    return path


# ---- the rule ----


@pytest.mark.parametrize(
    ("process", "machine", "age", "stays"),
    [
        ("own", None, 0, True),
        ("own", None, DAY - 60, True),
        ("own", None, 2 * DAY, False),  # its number has been used again
        ("gone", None, 0, False),
        (1, None, 0, True),  # perhaps somebody else's
        (10**30, None, 0, False),
        ("gone", OTHER, 0, True),
        ("gone", OTHER, DAY - 60, True),
        ("gone", OTHER, 2 * DAY, False),
        ("own", OTHER, 2 * DAY, False),
    ],
)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_partial_goes_when_its_writer_is_gone_or_it_is_old(tmp_path, gone, kind, process, machine, age, stays):
    path = plant(tmp_path, "a", {"own": os.getpid(), "gone": gone}.get(process, process), machine)
    if kind == "folder":
        path.unlink()
        path.mkdir()
        (path / "inside").touch()
    os.utime(path, times=(time.time() - age,) * 2)
    sweep(tmp_path)
    assert path.exists() == stays


def test_the_partials_of_other_names_stay_and_so_does_all_else(tmp_path, gone):
    wanted, long = plant(tmp_path, "a", gone), plant(tmp_path, "x" * 180, gone)
    others = [
        plant(tmp_path, "b", gone),
        plant(tmp_path, "aa", gone),
        tmp_path / "a",
        tmp_path / ".a.tmp",
        tmp_path / wanted.name.lstrip("."),
        tmp_path / f"{wanted.name}.txt",
    ]
    for path in others:
        path.touch()
    sweep(tmp_path, ["a", "x" * 240])
    assert not wanted.exists()
    assert not long.exists()
    assert all(path.exists() for path in others)


def test_a_link_of_a_partials_name_goes_and_what_it_leads_to_stays(tmp_path, gone):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    path = plant(tmp_path, "a", gone)
    path.unlink()
    path.symlink_to(tmp_path / "mine")
    sweep(tmp_path)
    assert not path.is_symlink()
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_sweeping_no_folder_is_no_error(tmp_path):
    sweep(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


# ---- where it is done ----


def test_a_fit_sweeps_beside_its_bank(here, gone):
    left = [plant(here, name, gone) for name in ("bars.safetensors", "bars.png")]
    others = plant(here, "other.safetensors", gone)
    assert run("fit --data bars --preset fast")[0] == 0
    assert not any(path.exists() for path in left)
    assert others.exists()


@pytest.mark.parametrize("option", ["", "--resume", "--overwrite"])
def test_an_export_sweeps_its_folder_and_those_of_its_classes(with_bank, gone, option):
    if option:
        run("generate bars.safetensors --out made --per-class 2")
    left = [plant(with_bank / "made", name, gone) for name in EXPORT.own]
    others = []
    if option:
        left += [plant(with_bank / "made" / name, "000001.png", gone) for name in Shapes.classes]
        others.append(plant(with_bank / "made", "thesis.txt", gone))
    assert run(f"generate bars.safetensors --out made --per-class 2 {option}")[0] == 0
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in others)


def test_a_checkpoint_sweeps_its_folder(tmp_path, gone):
    left, others = plant(tmp_path, "class-0.part", gone), plant(tmp_path, "class-1.part", os.getpid())
    Checkpoint(tmp_path, "key")
    assert (left.exists(), others.exists()) == (False, True)


def test_discarding_a_checkpoint_takes_every_partial_with_it(tmp_path, gone):
    for process in (gone, os.getpid()):
        plant(tmp_path / "kept", "class-0.part", process)
    discard(tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []


def test_a_fit_into_the_cache_sweeps_it(quick_presets, tmp_path, gone):
    banks = tmp_path / "cache" / "banks"
    left, others = plant(banks, "a.safetensors", gone), plant(banks, "b.safetensors", os.getpid())
    VAEAugmentedDataset(Shapes())
    assert (left.exists(), others.exists()) == (False, True)
