"""The rounds of an evaluation: finished ones are kept, there is time for so many, and what goes on is told."""

import time

import pytest

from tests.conftest import Shapes
from vae_augment import FitConfig, evaluate, progress
from vae_augment.evaluation import running

TINY = FitConfig(steps=2, width=8, latent_dim=2, batch_size=4)


def quick(dataset=None, **options):
    given = {"config": TINY, "steps": 3, "seeds": 3, "progress": False, "arms": ("none", "ours"), **options}
    return evaluate(dataset or Shapes(12), **given)


@pytest.fixture
def stops(monkeypatch):
    """Ends an evaluation as Ctrl-C does, in its second round."""
    train, trained = running.train_classifier, []

    def end(*args, **options):
        trained.append(1)
        if len(trained) == 4:
            raise KeyboardInterrupt
        return train(*args, **options)

    monkeypatch.setattr(running, "train_classifier", end)
    return trained


def test_an_evaluation_goes_on_after_an_interruption(stops, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        quick(checkpoint=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    assert quick(checkpoint=tmp_path).to_json() == quick().to_json()
    assert len(stops) == 4 + 4 + 6


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"steps": 2},
        {"per_class": 3},
        {"dataset": Shapes(11)},
        {"arms": ("none",)},
    ],
)
def test_rounds_of_another_evaluation_are_not_taken_for_its_own(tmp_path, other):
    quick(checkpoint=tmp_path, seeds=1)
    assert quick(checkpoint=tmp_path, seeds=1, **other).to_json() == quick(seeds=1, **other).to_json()


def test_more_seeds_need_only_further_rounds(monkeypatch, tmp_path):
    trained, train = [], running.train_classifier
    monkeypatch.setattr(running, "train_classifier", lambda *a, **o: trained.append(1) or train(*a, **o))
    quick(checkpoint=tmp_path, seeds=1)
    assert quick(checkpoint=tmp_path, seeds=2).to_json() == quick(seeds=2).to_json()
    assert len(trained) == 2 + 2 + 4


def test_time_for_a_round_is_known_from_those_that_were_kept(monkeypatch, tmp_path):
    quick(checkpoint=tmp_path, seeds=1)
    assert quick(checkpoint=tmp_path, minutes=1e-9).setup["rounds"] == 1
    assert quick(checkpoint=tmp_path, minutes=60.0).setup["rounds"] == 3


def test_a_checkpoint_is_a_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="checkpoint must be a folder"):
        quick(checkpoint=tmp_path / "file")


def test_no_round_but_the_first_is_begun_that_would_last_too_long(monkeypatch):
    found = quick(minutes=1e-9, seeds=5)
    assert found.setup["rounds"] == 1
    assert found.setup["ended"] == "after 1 of 5 rounds, at the limit of 1e-09 minutes"
    assert found.rows == quick(seeds=1).rows
    assert "ended" not in quick(minutes=60.0).setup


@pytest.mark.parametrize("minutes", [0, -1.0, float("nan"), float("inf"), "5"])
def test_minutes_are_a_number_above_zero(minutes):
    with pytest.raises(ValueError, match="minutes must be a number above 0 or None"):
        quick(minutes=minutes)


def test_it_says_what_it_will_take_and_then_goes_on_saying_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.05)
    train = running.train_classifier
    monkeypatch.setattr(running, "train_classifier", lambda *a, **o: time.sleep(0.1) or train(*a, **o))
    quick(progress=True)
    first, *lines = capsys.readouterr().err.splitlines()
    assert first.startswith("vae-augment: 3 rounds of 2 arms, 3 steps each, and the fit of a bank: about ")
    assert len(lines) >= 3
    assert all(line.startswith("vae-augment: round ") and "minutes so far" in line for line in lines)
    assert "left" in lines[-1]
    quick()
    assert capsys.readouterr().err == ""


def test_the_forecast_counts_the_fits_and_times_no_classifier_of_the_callers(capsys):
    quick(progress=True, seeds=1, arms=("none",), steps=1)
    assert capsys.readouterr().err.startswith("vae-augment: 1 round of 1 arm, 1 steps each: about a minute or less.")
    made = lambda shape, classes: running.new_classifier(None, shape, classes, 0, running.torch.device("cpu"))  # noqa: E731
    quick(progress=True, seeds=1, arms=("none",), steps=1, classifier=made)
    assert capsys.readouterr().err.startswith("vae-augment: 1 round of 1 arm, 1 steps each.\n")
