"""Names of classes that no bank can have are refused before anything is fitted."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.commands import run
from tests.conftest import CONFIG, Shapes
from vae_augment import VAEAugmentedDataset, VAEBank, fit
from vae_augment.files import class_names
from vae_augment.files.class_names import MAX_CLASSES, check_names
from vae_augment.files.untrusted_json import MAX_BYTES, MAX_TEXT, MAX_VALUES, values_in

LONG, LONE = "x" * 70_000, "b\ud800e"
TOO_LONG = r"class names must have at most 65,536 characters, got 70,000 in 'x+\.\.\.x+'\. Shorten it\."
NO_TEXT = r"class names must be Unicode, got a lone surrogate in 'b\\ud800e'\. Rename it\."


@pytest.fixture
def untrained(monkeypatch):
    """Training is an error."""
    monkeypatch.setattr("vae_augment.fitting.Fitter", None)


def named(name):
    shapes = Shapes()
    shapes.classes = ("across", "down", name)
    return shapes


@pytest.mark.parametrize(("name", "message"), [(LONG, TOO_LONG), (LONE, NO_TEXT)])
def test_a_name_that_no_bank_can_have_is_refused_from_python(untrained, bank, name, message):
    for dataset, options in (
        (named(name), {}),
        (Shapes(), {"labels": [name if label else "a" for label in Shapes().targets]}),
        (named(name), {"start": bank}),
    ):
        with pytest.raises(ValueError, match=message):
            fit(dataset, config=CONFIG, progress=False, **options)
    with pytest.raises(ValueError, match=message):
        VAEAugmentedDataset(named(name))


@pytest.mark.parametrize("command", ["fit --preset fast", "fit --check", "evaluate --preset fast"])
@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_a_name_that_no_bank_can_have_is_refused_from_the_shell(here, untrained, command, kind):
    if kind == "csv":
        for k in range(2):
            Image.new("L", (9, 9), 99 * k).save(here / f"{k}.png")
        (here / "a.csv").write_text(f"path,label\n0.png,{LONG}\n1.png,b\n")
        said = "class names must have at most 65,536 characters, got 70,000 in 'xxxxxxxxxxxx...xxxxxxxxxxxxx'. Shorten"
    else:
        np.savez(here / "a.npz", images=np.zeros((2, 9, 9), np.uint8), labels=np.array(["ant", LONE]))
        said = "class names must be Unicode, got a lone surrogate in 'b\\ud800e'. Rename it."
    before = sorted(here.rglob("*"))
    code, out, err = run(f"{command} --data a.{kind}")
    assert code == 2
    assert said in (out if "--check" in command else err)
    assert "A fit would see" not in out
    assert sorted(here.rglob("*")) == before


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are Unicode")
def test_a_file_may_have_a_name_that_is_no_unicode(here):
    path = os.fsdecode(b"caf\xe9")
    np.savez(f"{path}.npz", images=np.zeros((4, 9, 9), np.uint8), labels=[0, 1, 0, 1])
    assert run(f"fit --data '{path}.npz' --preset fast --out a.safetensors")[0] == 0
    assert VAEBank.load("a.safetensors").data["name"] == "caf\\udce9"


def test_as_many_classes_as_a_bank_can_have(untrained, bank, monkeypatch):
    check_names(map(str, range(MAX_CLASSES)))
    with pytest.raises(ValueError, match=r"a bank must have at most 100,000 classes, got 100,001\. Leave some out\."):
        check_names(map(str, range(MAX_CLASSES + 1)))
    monkeypatch.setattr(class_names, "MAX_CLASSES", 2)
    with pytest.raises(ValueError, match=r"a bank must have at most 2 classes, got 3\. Leave some out\."):
        fit(Shapes(), config=CONFIG, progress=False)
    monkeypatch.setattr(class_names, "MAX_CLASSES", 3)
    with pytest.raises(ValueError, match=r"a bank must have at most 3 classes, got 4\. Leave some out\."):
        fit(Shapes(), config=CONFIG, progress=False, start=bank, labels=[label + 1 for label in Shapes().targets])


@pytest.mark.parametrize("name", [LONG, LONE])
def test_a_bank_that_could_not_be_read_is_not_written(bank, tmp_path, name):
    infos = (replace(bank.class_infos[0], name=name), *bank.class_infos[1:])
    odd = VAEBank(replace(bank.content, class_infos=infos))
    with pytest.raises(ValueError, match="class names must"):
        odd.save(tmp_path / "bank.safetensors")
    assert not list(tmp_path.iterdir())


def most_names(character):
    """As many of the longest names as a bank can have, and what is said of one more."""
    names = []
    while True:
        names.append(f"{len(names)}{character * (MAX_TEXT - 9)}")
        try:
            check_names(names)
        except ValueError as error:
            return names[:-1], str(error)


@pytest.mark.parametrize(
    ("character", "count", "said"),
    [
        (",", 7, "at most 500,000 commas and opening brackets in all, got 524,"),
        ('"', 56, "at most 14,680,064 bytes in all, got 14,9"),
        ("猫", 74, "at most 14,680,064 bytes in all, got 14,7"),
    ],
)
def test_names_that_are_too_much_together_are_refused_and_a_bank_of_the_most_loads(
    bank, tmp_path, character, count, said
):
    names, error = most_names(character)
    assert len(names) == count
    assert said in error
    content, rows = bank.content, [0] * count
    most = replace(
        content,
        weights=content.weights.pick(rows),
        stats=content.stats.pick(rows),
        curves=content.curves[rows],
        class_infos=tuple(replace(content.class_infos[0], name=name, label=k) for k, name in enumerate(names)),
    )
    VAEBank(most).save(tmp_path / "bank.safetensors")
    assert VAEBank.load(tmp_path / "bank.safetensors").classes == tuple(names)


@pytest.mark.parametrize("character", ["x", ","])
def test_as_many_classes_as_a_bank_can_have_with_the_longest_names_could_be_read(bank_path, character):
    header = bank_path.read_bytes()
    text = json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])["__metadata__"]["vae_augment"]
    metadata = json.loads(text)
    names = [f"{k:06}{character * (130 if character == 'x' else 3)}" for k in range(MAX_CLASSES)]
    check_names(names)
    metadata["classes"] = [{**metadata["classes"][0], "name": name, "note": 250 * "x"} for name in names]
    text = json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))
    assert values_in(text) < MAX_VALUES
    assert len(json.dumps(text, ensure_ascii=False).encode()) < MAX_BYTES
