import sys
from dataclasses import replace
from io import BytesIO

import pytest
from PIL import Image

from vae_augment.evaluation import Evaluation
from vae_augment.report.differences import INCHES_AN_ARM, differences_png

SURE, UNSURE = {"mean": 2.5, "low": 1.0, "high": 4.0}, {"mean": -1.0, "low": None, "high": None}


def found(*rows, metric="accuracy", verdict="helps: +2.5 points over classical"):
    """An evaluation of (arm, difference over none, difference over classical)."""
    names, figures = ("arm", "over_none", "over_classical"), {"accuracy": 90.0, "balanced_accuracy": 89.5}
    figures |= {"recall": {"across": 90.0, "down": None}, "rounds": [89.0, 91.0]}
    filled = [dict(zip(names, row, strict=True)) | figures for row in rows]
    return Evaluation(filled, verdict, metric, {"rounds": 3})


NONE, CLASSICAL = ("none", None, UNSURE), ("classical", SURE, None)
USUAL = found(NONE, CLASSICAL, ("ours", SURE, UNSURE), ("ours+classical", SURE, SURE))


def opened(evaluation):
    with Image.open(BytesIO(differences_png(evaluation))) as image:
        image.load()
        assert image.format == "PNG"
        return image.convert("RGB")


def test_the_plot_is_a_picture_with_both_colours():
    image = opened(USUAL)
    colours = {colour for _, colour in image.getcolors(2**24)}
    assert {(0x76, 0x76, 0x76), (0x0B, 0x6E, 0x99)} <= colours
    assert image.width > 600


def test_the_plot_grows_with_its_arms():
    few, more = opened(found(NONE, CLASSICAL)), opened(USUAL)
    assert more.height - few.height == pytest.approx(2 * INCHES_AN_ARM * 150, abs=1)
    assert more.width == few.width


def test_the_plot_is_a_function_of_the_figures():
    first = differences_png(USUAL)
    assert differences_png(USUAL) == first
    assert differences_png(replace(USUAL, metric="balanced_accuracy")) != first


@pytest.mark.parametrize(
    "evaluation",
    [
        found(NONE, ("ours", UNSURE, None)),
        found(NONE),
        found(("ours", None, None)),
        found(CLASSICAL, ("ours+classical", None, {"mean": 0.0, "low": 0.0, "high": 0.0})),
        found(NONE, CLASSICAL, verdict="does not help here: use classical alone " + 30 * "(and so on) "),
    ],
    ids=["one round", "none alone", "nothing to compare with", "no difference", "a long verdict"],
)
def test_a_plot_of_little_opens_too(evaluation):
    opened(evaluation)


def test_the_plot_asks_for_no_window_system(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it is an error now
    opened(USUAL)
