import csv
import io
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.commands import contents
from tests.conftest import Shapes
from tests.random_banks import random_bank
from vae_augment import FitConfig, VAEBank, fit
from vae_augment.data.loading import load_images
from vae_augment.data.source import Source
from vae_augment.exploring.exploration import CLASSES, explore, planned
from vae_augment.exploring.map_pictures import centre, maps_png
from vae_augment.exploring.pictures import traversals_png
from vae_augment.images.tiles import GAP, MARGIN, TEXT, TILE, Block, side_by_side

pytestmark = pytest.mark.slow


def table(folder, name):
    return list(csv.DictReader(io.StringIO((folder / name).read_text(encoding="utf-8"))))


def opened(content):
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        assert image.format == "PNG"
        return image.convert("RGB")


TRAVERSALS = [f"traversals-{name}.png" for name in Shapes.classes]


# ---- what is written ----


def test_all_that_can_be_made_of_a_bank_is_written(bank, data, tmp_path):
    names = []
    done = explore(bank, tmp_path / "made", on_file=names.append)
    assert names == list(done.files) == [*TRAVERSALS, "map.png", "map.csv", "plane.png", "dimensions.csv"]
    assert done.folder == tmp_path / "made"
    assert sorted(contents(done.folder)) == sorted([*names, "exploration.json"])
    said = json.loads((done.folder / "exploration.json").read_text())
    assert (said["bank_sha256"], said["images"], said["seed"]) == (bank.sha256, None, 0)
    for name in names:
        if name.endswith(".png"):
            assert len(np.unique(np.asarray(opened((done.folder / name).read_bytes())))) > 20
    done = explore(bank, tmp_path / "data", data=data, classes=2)
    assert done.files == (*TRAVERSALS[:2], "map.png", "map.csv", "plane.png", "nearest.png", "dimensions.csv")
    assert json.loads((tmp_path / "data" / "exploration.json").read_text())["images"] == 30


def test_a_bank_of_two_latent_dimensions_has_a_manifold(tmp_path):
    flat = fit(Shapes(), config=FitConfig(steps=4, latent_dim=2, width=8, batch_size=16), progress=False)
    done = explore(flat, tmp_path / "made", only=["manifold", "plane"])
    assert done.files == ("manifold.png", "plane.png")


def test_the_same_arguments_give_the_same_bytes(bank, data, tmp_path):
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        explore(bank, tmp_path / name, data=data, seed=seed)
    first, again, other = (contents(tmp_path / name) for name in ("first", "again", "other"))
    assert first == again
    assert {name for name in first if first[name] != other[name]} == {"nearest.png", "exploration.json"}


def test_the_map_has_a_line_a_code(bank, data, tmp_path):
    explore(bank, tmp_path / "kept", only=["map"])
    explore(bank, tmp_path / "data", only=["map"], data=data)
    kept, of_data = table(tmp_path / "kept", "map.csv"), table(tmp_path / "data", "map.csv")
    assert [(line["class"], line["label"]) for line in kept[9:11]] == [("across", "0"), ("down", "1")]
    assert {line["item"] for line in kept} == {""}
    assert [int(line["item"]) for line in of_data] == list(range(30))
    assert all(math.isfinite(float(line[place])) for line in kept for place in ("pca_x", "pca_y", "tsne_x", "tsne_y"))
    assert kept[0]["pca_x"] != of_data[0]["pca_x"]  # in the latent space that all classes began from


def test_a_map_of_data_without_a_start_is_of_the_classes_own_codes(bank, data, tmp_path):
    apart = VAEBank(replace(bank.content, start=None))
    explore(apart, tmp_path / "kept", only=["map"])
    explore(apart, tmp_path / "data", only=["map"], data=data)
    kept, of_data = (table(tmp_path / name, "map.csv") for name in ("kept", "data"))
    assert float(kept[0]["pca_x"]) == pytest.approx(float(of_data[0]["pca_x"]), abs=0.01)


def test_the_table_has_a_line_a_dimension_of_a_class(bank, data, tmp_path):
    explore(bank, tmp_path / "kept", only=["dimensions"])
    explore(bank, tmp_path / "data", only=["dimensions"], data=data)
    kept, of_data = (table(tmp_path / name, "dimensions.csv") for name in ("kept", "data"))
    assert len(kept) == len(of_data) == 12
    first = kept[:4]
    assert {line["class"] for line in first} == {"across"}
    assert sorted(line["dimension"] for line in first) == ["0", "1", "2", "3"]
    variances = [float(line["variance"]) for line in first]
    assert variances == sorted(variances, reverse=True)
    assert {line["active"] for line in kept} <= {"0", "1"}
    assert {line["kl"] + line["kl_share"] for line in kept} == {""}
    assert sum(float(line["kl_share"]) for line in of_data[:4]) == pytest.approx(1, abs=1e-4)
    assert all(float(line["change"]) >= 0 for line in kept)


def test_classes_of_which_there_are_no_images_have_no_nearest_ones(bank, shapes, tmp_path):
    some = load_images(Source([shapes[12], shapes[13], shapes[25]]), bank.image_shape)
    explore(bank, tmp_path / "all", only=["nearest"], data=some)
    explore(bank, tmp_path / "one", only=["nearest"], data=some, classes=1)
    heights = [opened((tmp_path / name / "nearest.png").read_bytes()).height for name in ("all", "one")]
    assert heights[0] > heights[1]


def test_pictures_are_of_few_classes_and_tables_of_all(bank, tmp_path):
    done = explore(bank, tmp_path, classes=1, only=["traversals", "dimensions"])
    assert done.files == (TRAVERSALS[0], "dimensions.csv")
    assert len(table(tmp_path, "dimensions.csv")) == 12
    assert planned(bank, images=False, classes=None).rows == (0, 1, 2)
    many = random_bank((1, 12, 12), classes=CLASSES + 2)
    assert planned(many, images=False, only=["plane"]).rows == tuple(range(CLASSES))


ODD = {
    "formula": "$\\alpha$",
    "path": "a/b\n",
    "sum": "=1+1",
    "long": "W" * 300,
    "not in the font": "图 😀",
    "right to left": "\u202eright to left",
}


@pytest.mark.parametrize("name", ODD.values(), ids=ODD)
def test_any_class_name_is_drawn_and_written(bank, data, tmp_path, name):
    first, *others = bank.class_infos
    named = VAEBank(replace(bank.content, class_infos=(replace(first, name=name), *others)))
    explore(named, tmp_path / "made", data=data, classes=1)
    assert len(list(Path(tmp_path / "made").glob("traversals-*.png"))) == 1
    assert table(tmp_path / "made", "dimensions.csv")[0]["class"] == name
    explore(named, tmp_path / "made", data=data, classes=1, overwrite=True)


def test_colour_banks_and_banks_of_one_dimension(tmp_path):
    colours = [(image.convert("RGB"), label) for image, label in Shapes(per_class=4)]
    config = FitConfig(steps=4, latent_dim=1, width=8, batch_size=8, policy="none")
    bank = fit(colours, config=config, progress=False)
    data = load_images(Source(colours), bank.image_shape)
    done = explore(bank, tmp_path / "made", data=data)
    assert "plane.png" not in done.files
    assert "nearest.png" in done.files


def test_pictures_ask_for_no_window_system(bank, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it is an error now
    explore(bank, tmp_path / "made", only=["map"])


# ---- what cannot be made ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ["maps"]}, "only must be some of 'traversals', 'map', .*, got 'maps'"),
        ({"only": []}, "only must not be empty"),
        ({"only": ["nearest"]}, r"nearest needs the images that the bank was fitted on: give --data \(data=\)"),
        ({"only": ["manifold"]}, "manifold needs 2 latent dimensions, the bank has 4: take plane"),
        ({"classes": 0}, "classes must be a whole number of at least 1, or None, got 0"),
        ({"directions": ["axis"]}, "directions must be some of 'axes', 'principal', got 'axis'"),
        ({"directions": []}, "directions must not be empty"),
        ({"seed": 1.5}, r"seed must be a whole number, got 1\.5"),
    ],
)
def test_what_cannot_be_made_is_said_and_nothing_is_written(bank, tmp_path, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        explore(bank, tmp_path / "made", **options)
    assert not (tmp_path / "made").exists()


# ---- pictures ----


def test_traversals_have_a_row_a_direction_and_seven_columns_a_kind(bank):
    both, axes = opened(traversals_png(bank, 0)), opened(traversals_png(bank, 0, ["axes"]))
    top = 3 * MARGIN + 3 * TEXT + GAP
    assert both.height == top + 4 * (TILE + GAP) + MARGIN
    assert both.width - axes.width > 7 * (TILE + GAP)


def test_blocks_side_by_side_have_captions_and_heads_of_their_own():
    image = torch.zeros(1, 10, 10)
    plain = Block("plain", [[image], [image]])
    rich = Block("rich", [[image, image], [image, image]], ["label", ""], ["head", ""], [["0.1", "0.2"], ["", ""]])
    sheet = side_by_side([rich, plain], 20, title="all of it")
    alone = side_by_side([plain], 20)
    assert sheet.height - alone.height == (TEXT + MARGIN) + (TEXT + GAP) + 2 * (TEXT + 4 * GAP)
    black = (np.asarray(sheet) == 0).all(2)
    assert black.sum() == 6 * 20 * 20
    wide = side_by_side([Block("a title wider than its images", [[image]]), Block("b", [[image]])], 20)
    assert wide.width > 200


@pytest.mark.parametrize("classes", [1, 3, 40])
def test_a_map_names_every_class(classes):
    rows = torch.arange(classes).repeat(5)
    points = torch.randn(len(rows), 2, generator=torch.Generator().manual_seed(0))
    names = [f"class {row}" for row in range(classes)]
    made = maps_png(names, rows, {"one": points, "two": points})
    assert opened(made).width == pytest.approx(2 * opened(made).height, abs=2)
    assert maps_png(names, rows, {"one": points, "two": points}) == made
    for row in {0, classes - 1}:
        assert maps_png([*names[:row], "other", *names[row + 1 :]], rows, {"one": points, "two": points}) != made


def test_maps_of_points_that_are_all_the_same_open():
    opened(maps_png(["a"], torch.zeros(4, dtype=torch.long), {"one": torch.zeros(4, 2)}))


def test_the_centre_of_a_class_is_one_of_its_points():
    points = torch.tensor([[0.0, 0.0], [0.1, 0.0], [0.0, 0.1], [9.0, 9.0]])
    assert centre(points).tolist() in points.tolist()
    assert centre(points).abs().max() < 1
