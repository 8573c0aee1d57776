import json

import pytest

from tests.commands import refused, run
from tests.report.test_differences import USUAL
from vae_augment.evaluation.result import Evaluation


@pytest.fixture
def with_result(with_bank):
    (with_bank / "result.json").write_text(USUAL.to_json())
    return with_bank


def test_a_page_is_written_beside_the_bank(with_bank):
    code, out, err = run("report bars.safetensors")
    assert (code, err) == (0, "")
    assert out.startswith("bars.html written, 0.")
    assert "Not measured for this report" in (with_bank / "bars.html").read_text()


def test_with_data_and_a_verdict(with_result):
    code, _, err = run("report bars.safetensors --data bars --resize --evaluation result.json --out seen.html")
    assert (code, err) == (0, "")
    page = (with_result / "seen.html").read_text()
    assert USUAL.verdict in page
    assert "3 real images of class across" in page


def test_the_command_that_made_a_bank_is_in_its_page_and_in_info(here):
    run("fit --data bars --preset fast --per-class 2 --latent-dim 3 --policy none --seed 5")
    command = "vae-augment fit --data PATH/TO/bars --per-class 2 --preset fast --latent-dim 3 --policy none --seed 5"
    run("report bars.safetensors")
    assert f"<code>{command}</code>" in (here / "bars.html").read_text()
    assert command in run("info bars.safetensors")[1]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("nowhere.safetensors", "no bank at nowhere.safetensors"),
        ("notes.txt", "notes.txt is not a bank"),
        (".", "no bank at .: it is a folder"),
        ("bars.safetensors --out empty", "--out must be a file, empty is a folder"),
        ("bars.safetensors --out nowhere/r.html", "--out: no folder nowhere"),
        ("bars.safetensors --out bars.safetensors", "--out must be another file than BANK"),
        ("bars.safetensors --evaluation nowhere.json", "--evaluation: no file at nowhere.json"),
        ("bars.safetensors --evaluation notes.txt", "notes.txt is not what `evaluate --json` writes"),
        ("bars.safetensors --evaluation result.json --out result.json", "another file than --evaluation"),
        ("bars.safetensors --data nowhere/x", "no folder at nowhere/x"),
        ("bars.safetensors --data bars --out bars/down/3.png", "bars/down/3.png is part of the data"),
        ("bars.safetensors --data large", "images must be of the bank's size, 12x12"),
        ("bars.safetensors --data colour", "images must have as many channels as the bank's, 1, got 3"),
        ("bars.safetensors --data strange", "the bank has no class 'zebra'; it has 'across', 'down', 'slanted'"),
        ("two.safetensors --data bars", "the bank has no class for label 2 ('slanted'); it has labels [0, 1]"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_everything_as_it_was(with_result, odd_data, command, said):
    assert said in refused(f"report {command}")


# ---- an evaluation that is read back ----


def test_an_evaluation_comes_back_as_it_was():
    assert Evaluation.from_json(USUAL.to_json()) == USUAL


def with_difference(**values):
    return lambda found: {**found, "rows": [{**found["rows"][0], "over_none": values}]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: [], r"an evaluation must be an object of rows, verdict, metric, setup, got \[\]"),
        (lambda found: {**found, "verdict": 3}, "verdict of an evaluation must be a text, got 3"),
        (lambda found: {**found, "metric": "loss"}, "metric must be one of accuracy, balanced_accuracy, got 'loss'"),
        (lambda found: {**found, "rows": [1]}, "a row of an evaluation must be an object of arm, .*, got 1"),
        (
            lambda found: {**found, "rows": [{**found["rows"][0], "accuracy": True}]},
            "accuracy of a row of an evaluation must be a number, got True",
        ),
        (
            lambda found: {**found, "rows": [{**found["rows"][0], "over_none": 3}]},
            "over_none of a row of .* must be an object or null, got 3",
        ),
        (
            lambda found: {**found, "rows": [{**found["rows"][0], "over_none": {"mean": 1}}]},
            "a difference of arm 'none' lacks the entry 'low'",
        ),
        (
            with_difference(mean=None, low=None, high=None),
            "mean of a difference of arm 'none' must be a number, got None",
        ),
    ],
)
def test_what_is_no_evaluation(change, said):
    with pytest.raises(ValueError, match=said):
        Evaluation.from_json(json.dumps(change(json.loads(USUAL.to_json()))))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"verdict": NaN}'])
def test_what_is_no_json(text):
    with pytest.raises(ValueError, match="the text is not JSON as to_json writes it: "):
        Evaluation.from_json(text)
