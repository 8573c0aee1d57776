from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.commands import run
from tests.conftest import Shapes
from vae_augment.evaluation import running

QUICK = "--seeds 2 --steps 3 --preset fast"
FORECAST = "vae-augment: 2 rounds of 2 arms, 3 steps each: about a minute or less.\n"


@pytest.mark.slow
def test_evaluate_prints_a_table_and_writes_figures_and_a_plot(here):
    code, out, err = run(f"evaluate --data bars --per-class 2 {QUICK} --json found.json --plot found.png")
    assert (code, err) == (0, FORECAST.replace("2 arms", "4 arms").replace("each", "each, and the fit of a bank"))
    header, _, *rows = out.splitlines()
    assert header.startswith("arm")
    assert [row.split()[0] for row in rows[:4]] == ["none", "classical", "ours", "ours+classical"]
    text = Path("found.json").read_text()
    found = json.loads(text)
    assert out.splitlines()[-1] == found["verdict"]
    assert found["setup"].items() >= {"images": 6, "held_out": 3, "rounds": 2, "steps": 3}.items()
    assert str(here) not in text
    with Image.open("found.png") as plot:
        assert plot.format == "PNG"
    assert run(f"evaluate --data bars --per-class 2 {QUICK} --json again.json")[0] == 0
    assert Path("again.json").read_text() == text


def test_evaluate_measures_on_given_images_with_a_given_bank(here):
    assert run("fit --data bars --preset fast")[0] == 0
    for name in Shapes.classes[1:]:
        (here / "test" / name).mkdir(parents=True)
        Image.new("L", (12, 12), 99).save(here / "test" / name / "0.png")
    given = f"--test test --bank bars.safetensors --arms 'none, ours' {QUICK} --seed 7"
    assert run(f"evaluate --data bars {given} --json found.json")[0] == 0
    found = json.loads(Path("found.json").read_text())
    assert found["setup"].items() >= {"images": 9, "held_out": 2, "seed": 7}.items()
    assert [row["recall"]["across"] for row in found["rows"]] == [None, None]


def test_evaluate_measures_on_the_test_part_of_the_same_folder(here):
    (here / "split").mkdir()
    (here / "bars").rename(here / "split" / "train")
    for name in Shapes.classes:
        (here / "split" / "val" / name).mkdir(parents=True)
        Image.new("L", (12, 12), 99).save(here / "split" / "val" / name / "0.png")
    assert run(f"evaluate --data split --test split --arms none {QUICK} --json found.json")[0] == 0
    setup = json.loads(Path("found.json").read_text())["setup"]
    assert setup.items() >= {"images": 9, "held_out": 3, "test_images_in_dataset": 0}.items()


@pytest.mark.filterwarnings("ignore::vae_augment.exceptions.CacheWarning")  # rounds cannot be kept either
@pytest.mark.parametrize("option", ["--json found.json", "--plot found.png"])
def test_evaluate_prints_the_table_though_a_file_cannot_be_written(here, option):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        code, out, err = run(f"evaluate --data bars --per-class 2 --arms none,classical {QUICK} {option}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (code, err) == (1, f"{FORECAST}vae-augment: error: [Errno 27] File too large\n")
    assert [row.split()[0] for row in out.splitlines()[2:4]] == ["none", "classical"]
    assert out.splitlines()[-1].startswith("cannot tell")


def test_evaluate_goes_on_after_the_rounds_it_has_done(here, monkeypatch):
    run(f"evaluate --data bars --per-class 2 --arms none,classical {QUICK} --json whole.json")
    monkeypatch.setattr("vae_augment.evaluation.rounds.fit", None)  # nothing is fitted
    trained, train = [], running.train_classifier
    monkeypatch.setattr(running, "train_classifier", lambda *a, **o: trained.append(1) or train(*a, **o))
    options = "--per-class 2 --arms none,classical --steps 3 --preset fast --resume"
    code, _, err = run(f"evaluate --data bars --seeds 2 {options} --json again.json")
    assert code == 0
    assert "2 rounds of 2 arms, 3 steps each: about a minute or less" in err
    assert Path("again.json").read_bytes() == Path("whole.json").read_bytes()
    forecast = len(trained)
    assert run(f"evaluate --data bars --seeds 3 {options} --json more.json")[0] == 0
    assert len(trained) == 2 * forecast + 2  # one more round of two arms
    assert json.loads(Path("more.json").read_text())["setup"]["rounds"] == 3


def test_evaluate_ends_within_its_minutes(here):
    code, out, err = run("evaluate --data bars --per-class 2 --arms none --steps 3 --seeds 5 --minutes 1e-9")
    assert code == 0
    assert "1 of 5 rounds done; another would not be within 1e-09 minutes." in err
    assert "Ended after 1 of 5 rounds, at the limit of 1e-09 minutes." in out


def test_evaluate_writes_over_no_unlabelled_image(here):
    code, _, err = run("evaluate --data bars --unlabelled found.npz --json found.npz")
    assert code == 2
    assert "--unlabelled" in err


def test_evaluate_takes_a_pretrained_classifier_and_averaged_predictions(here, monkeypatch):
    timm = pytest.importorskip("timm")
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **options: create(name, **options))
    asked = "--classifier probe:timm:test_resnet --test-time-augmentation 2 --logit-adjustment"
    assert run(f"evaluate --data bars --per-class 2 --arms none {QUICK} {asked} --json found.json")[0] == 0
    setup = json.loads(Path("found.json").read_text())["setup"]
    told = {"classifier": "probe:timm:test_resnet", "test_time_augmentation": 2, "logit_adjustment": True}
    assert setup.items() >= told.items()
    code, out, err = run(f"evaluate --data bars --per-class 2 --arms none {QUICK} --classifier cnn")
    assert (code, out) == (2, "")
    assert "a pretrained one is timm:NAME or probe:timm:NAME" in err
