import json
from pathlib import Path

import pytest
from PIL import Image

from tests.commands import contents, refused, run

QUICK = "--only traversals,dimensions"


def test_explore_says_how_much_it_wrote_and_what_data_would_add(with_bank):
    code, out, err = run("explore bars.safetensors --out seen")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "7 files written to seen.",
        "With --data also: nearest training images and KL divergences.",
    ]
    assert "map.png" in contents("seen")


def test_explore_with_data(with_bank):
    code, out, err = run("explore bars.safetensors --data bars --resize --out seen --classes all --seed 3")
    assert (code, err, out) == (0, "", "8 files written to seen.\n")
    said = json.loads(Path("seen/exploration.json").read_text())
    assert (said["images"], said["seed"]) == (9, 3)
    with Image.open("seen/nearest.png") as image:
        assert image.height > 300


def test_some_parts_classes_and_directions(with_bank):
    assert run("explore bars.safetensors --out both --only traversals --classes 1")[0] == 0
    code, out, _ = run("explore bars.safetensors --out one --only traversals --classes 1 --directions principal")
    assert (code, out) == (0, "1 file written to one.\n")
    with Image.open("both/traversals-across.png") as both, Image.open("one/traversals-across.png") as one:
        assert both.width > one.width + 200


def test_a_bank_without_codes_needs_data_for_its_map(with_bank, without_codes):
    without_codes.save("bare.safetensors")
    code, out, err = run("explore bare.safetensors --out seen")
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert "the bank keeps none (exemplars=0): give --data (data=), or do without" in line
    assert not Path("seen").exists()
    assert run(f"explore bare.safetensors --out seen {QUICK}")[0] == 0
    assert run("explore bare.safetensors --out map --only map --data bars --resize")[0] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--out notes.txt", "--out: notes.txt must be a folder, it is a file"),
        ("--out notes.txt/in", "must be a folder, it is a file"),
        ("--out bars", "bars is not empty: name another folder, or empty it first."),
        (f"--out {'n' * 300}", "File name too long"),
        ("--out seen --only traversals,", "got ''"),
        ("--out seen --only nearest", "nearest needs the images that the bank was fitted on"),
        ("--out seen --classes 0", "0 is not in the range x>=1"),
        ("--out seen --classes few", "few"),
        ("--out seen --data none", "unknown dataset none"),
        ("--out seen --data large", "images must be of the banks size, 12x12"),
        ("--out seen --data colour --resize", "must have as many channels as the banks, 1, got 3"),
        ("--out seen --data more --resize", "the bank has no class"),
        ("--out seen --data strange --resize", "the bank has no class zebra; it has across"),
        ("", "Missing option --out"),
    ],
)
def test_wrong_input_exits_with_2_and_one_line_and_writes_nothing(odd_data, options, message):
    assert message.replace("'", "") in refused(f"explore bars.safetensors {options}").replace("'", "")
