from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch

from tests.conftest import CONFIG, Shapes
from vae_augment import fit
from vae_augment.exceptions import CacheWarning, FitWarning
from vae_augment.fitting import callbacks, checkpoint, training
from vae_augment.fitting.checkpoint import Checkpoint, Part, discard

PART = Part({"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1], dtype=torch.uint8)}, {"step": 3, "x": [0.1]})


class Stop(BaseException):
    """A process that ends in the middle."""


# ---- parts ----


def test_a_part_is_loaded_as_it_was_saved(tmp_path):
    Checkpoint(tmp_path / "kept", "key").save("one", PART)
    loaded = Checkpoint(tmp_path / "kept", "key").load("one")
    assert loaded.values == PART.values
    assert loaded.tensors.keys() == PART.tensors.keys()
    assert all(torch.equal(loaded.tensors[name], tensor) for name, tensor in PART.tensors.items())


def test_a_part_may_hold_no_tensors(tmp_path):
    Checkpoint(tmp_path / "kept", "key").save("one", Part({}, {"x": 1}))
    assert Checkpoint(tmp_path / "kept", "key").load("one") == Part({}, {"x": 1})


def test_parts_of_another_fit_count_as_none(tmp_path):
    Checkpoint(tmp_path / "kept", "key").save("one", PART)
    assert Checkpoint(tmp_path / "kept", "another").load("one") is None
    assert Checkpoint(tmp_path / "kept", "key").within("trial").load("one") is None
    assert Checkpoint(tmp_path / "kept", "key").load("two") is None


@pytest.mark.parametrize("damage", [b"", b"hello", b"\xff" * 100], ids=["empty", "text", "no header"])
def test_a_damaged_part_counts_as_none(tmp_path, damage):
    kept = Checkpoint(tmp_path / "kept", "key")
    kept.save("one", PART)
    (file,) = (tmp_path / "kept").iterdir()
    file.write_bytes(damage)
    assert kept.load("one") is None


def test_nothing_is_kept_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nothing_kept = Checkpoint(None, "")
    nothing_kept.save("one", PART)
    nothing_kept.clear("one")
    assert nothing_kept.load("one") is None
    assert not nothing_kept.kept
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_warned_of_once_and_the_fit_goes_on(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "atomic_write", full)
    with pytest.warns(CacheWarning, match="what is finished cannot be kept in .*: .*No space left on device") as given:
        bank = fit(Shapes(), config=CONFIG, progress=False, checkpoint=tmp_path / "kept")
    assert len(given) == 1
    assert bank.classes == Shapes.classes


def test_discarding_leaves_what_is_not_a_checkpoints(tmp_path):
    kept = Checkpoint(tmp_path / "kept", "key")
    kept.save("one", PART)
    (tmp_path / "kept" / "thesis.txt").write_text("years of work")
    discard(tmp_path / "kept")
    assert os.listdir(tmp_path / "kept") == ["thesis.txt"]
    discard(tmp_path / "none")
    assert os.listdir(tmp_path) == ["kept"]


# ---- a fit that is ended and goes on ----


@pytest.fixture
def often(monkeypatch):
    """The state of a training is kept at every chance, and there are many."""
    monkeypatch.setattr(callbacks, "SECONDS", 0)
    monkeypatch.setattr(callbacks, "KEEP_EVERY", 1)


def ended_after(monkeypatch, saves):
    """The process ends once so many parts have been kept."""
    write, count = checkpoint.atomic_write, 0

    def counting(path, content):
        nonlocal count
        if count == saves:
            raise Stop("in the middle")
        count += 1
        write(path, content)

    monkeypatch.setattr(checkpoint, "atomic_write", counting)


@pytest.mark.parametrize(
    ("sharing", "saves"),
    [
        *(("warm-start", n) for n in (0, 1, 2, 5, 8, 9, 10, 11, 14, 17)),
        *(("none", n) for n in (0, 1, 9, 12, 13, 20, 26, 33)),
    ],
)
def test_a_fit_that_was_ended_goes_on_to_the_same_bytes(tmp_path, monkeypatch, often, sharing, saves):
    config = replace(CONFIG, sharing=sharing)
    wanted = fit(Shapes(), config=config, progress=False, seed=3)
    with monkeypatch.context() as patch:
        ended_after(patch, saves)
        with pytest.raises(Stop, match="in the middle"):
            fit(Shapes(), config=config, progress=False, seed=3, checkpoint=tmp_path / "kept")
    again = fit(Shapes(), config=config, progress=False, seed=3, checkpoint=tmp_path / "kept")
    assert again.sha256 == wanted.sha256


@pytest.mark.parametrize("saves", [3, 9, 10, 11, 14])
def test_so_does_one_that_is_ended_while_its_policy_is_chosen(tmp_path, monkeypatch, often, saves):
    dataset = Shapes(per_class=140)  # enough to hold some out
    wanted = fit(dataset, config=CONFIG, progress=False)
    with monkeypatch.context() as patch:
        ended_after(patch, saves)
        with pytest.raises(Stop, match="in the middle"):
            fit(dataset, config=CONFIG, progress=False, checkpoint=tmp_path / "kept")
    assert fit(dataset, config=CONFIG, progress=False, checkpoint=tmp_path / "kept").sha256 == wanted.sha256


def test_finished_classes_are_not_trained_again(tmp_path, monkeypatch):
    first = fit(Shapes(), config=CONFIG, progress=False, checkpoint=tmp_path / "kept")

    def train(*arguments, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr("vae_augment.fitting.stages.train", train)
    assert fit(Shapes(), config=CONFIG, progress=False, checkpoint=tmp_path / "kept").sha256 == first.sha256


@pytest.mark.parametrize("other", [{"seed": 1}, {"config": replace(CONFIG, steps=13)}, {"dataset": Shapes(seed=1)}])
def test_another_fit_does_not_go_on_from_it(tmp_path, other):
    usual = {"dataset": Shapes(), "config": CONFIG, "seed": 0, **other}
    fit(Shapes(), config=CONFIG, progress=False, checkpoint=tmp_path / "kept")
    dataset = usual.pop("dataset")
    mixed = fit(dataset, progress=False, checkpoint=tmp_path / "kept", **usual)
    assert mixed.sha256 == fit(dataset, progress=False, **usual).sha256


@pytest.mark.filterwarnings("default:class .* failed")
def test_what_failed_has_failed_after_going_on_too(tmp_path, monkeypatch):
    plain = training._batch
    monkeypatch.setattr(training, "_batch", lambda *arguments: plain(*arguments) * float("nan"))
    again = []
    for _ in range(2):
        with pytest.warns(FitWarning, match="warm start stopped early: no loss was finite"):
            again.append(fit(Shapes(), config=CONFIG, progress=False, checkpoint=tmp_path / "kept"))
        monkeypatch.setattr(training, "_batch", plain)
    assert {info.status for bank in again for info in bank.class_infos} == {"failed"}
    assert again[0].sha256 == again[1].sha256
