"""fit --check and --on-error: everything opened, said and counted; and wrong inputs, each with its message."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commands import refused, run
from tests.conftest import Shapes
from tests.images.test_image_file import png
from vae_augment import VAEBank
from vae_augment.cli import main
from vae_augment.config import MAX_PIXELS, MOST_PIXELS
from vae_augment.data import examine, open_data

pytestmark = pytest.mark.filterwarnings("default:.* what cannot be used is left out")

# ---- --check ----


def test_check_says_what_there_is_and_fits_nothing(here):
    before = sorted(here.rglob("*"))
    code, out, err = run("fit --data bars --check")
    assert (code, err, sorted(here.rglob("*"))) == (0, "", before)
    heads, _, *rows = out.splitlines()
    assert heads.split() == ["class", "images", "sizes", "(width", "x", "height)", "modes", "problems"]
    wanted = [[name, "3", "12x12", "(3)", "L", "(3)", "0"] for name in sorted(Shapes.classes)]
    assert [row.split() for row in rows[:3]] == wanted
    assert out.endswith("\n\nA fit would see 9 images of 3 classes, each as 1 x 12 x 12.\n")


def test_check_lists_every_kind_of_problem_at_once(here):
    folder = here / "bars"
    names = sorted(path.name for path in folder.iterdir())
    first = sorted((folder / names[0]).iterdir())[0]
    Image.effect_noise((12, 12), 50).save(first)
    first.write_bytes(first.read_bytes()[:-40])
    (folder / names[1] / "bomb.png").write_bytes(png(20_000, 20_000))
    (folder / names[2] / "gone.png").symlink_to("nowhere")
    (folder / "none").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("L", (12, 12)).save(folder / names[1] / "turned.jpg", exif=exif)
    (folder / names[1] / "clip.gif").touch()
    code, out, err = run("fit --data bars --check")
    assert (code, err) == (2, "")
    assert "4 problems:" in out
    for line in (
        f"  {folder.name}/none of class 'none': it holds no image",
        f"  bars/{names[2]}/gone.png of class '{names[2]}': a link to nothing",
        f"  bars/{names[0]}/{first.name} of class '{names[0]}': it is damaged or cut short (",
        f"  bars/{names[1]}/bomb.png of class '{names[1]}': it has more pixels than max_pixels, 89,478,485.",
        "1 files of other endings are passed over: .gif (1).",
        "1 images are turned upright as their EXIF says; torchvision's ImageFolder leaves them lying.",
        "A fit would see 9 images of 3 classes, each as 1 x 12 x 12.",
    ):
        assert line in out
    assert run("fit --data bars --check --on-error skip")[:2] == (0, out)


def test_check_says_what_would_fail_of_all_images_together(here):
    for path in here.glob("bars/*/*.png"):
        Image.new("L", (5, 5)).save(path)
    code, out, _ = run("fit --data bars --check")
    assert code == 2
    assert "the images together: images must be at least 8x8 pixels, got 5x5." in out
    assert "A fit would see" not in out


def test_check_lists_twenty_problems_and_counts_the_others(here):
    for k in range(30):
        (here / "bars" / "down" / f"x{k:02}.png").touch()
    out = run("fit --data bars --check")[1]
    assert "30 problems:" in out
    assert out.count("the file is empty") == 20
    assert "  and 10 more\n" in out


def test_check_knows_the_class_of_a_value_that_is_not_finite(here):
    images = np.zeros((4, 9, 9), np.float32)
    images[2, 1, 1] = np.inf
    np.savez(here / "a.npz", images=images, labels=np.array(["ant", "bee", "ant", "bee"]))
    code, out, _ = run("fit --data a.npz --check")
    assert code == 2
    assert "  item 2 of class 'ant': it holds values that are not finite." in out


def test_check_of_a_known_dataset(here):
    with pytest.warns(UserWarning, match="MNIST is not on this machine"):
        found = examine(open_data("mnist", part="test"), progress=False)
    assert (found.problems, found.shape, len(found.good)) == ((), (1, 28, 28), 1000)
    assert found.rows()[0] == ("0 - zero", 100, "28x28 (100)", "L (100)", 0)


# ---- --on-error ----


def test_skip_leaves_out_what_cannot_be_used_and_says_so(here):
    for name in ("a.png", "b.png"):
        (here / "bars" / "down" / name).write_bytes(b"hello")
    code, out, err = run("fit --data bars --preset fast")
    assert (code, out) == (2, "")
    assert "cannot read bars/down/a.png" in err
    assert not Path("bars.safetensors").exists()
    code, out, err = run("fit --data bars --preset fast --on-error skip")
    assert code == 0
    listed, warning = err.rstrip("\n").split("\n\n")
    assert listed.splitlines() == [
        "2 problems:",
        "  bars/down/a.png of class 'down': it is no image of the formats JPEG, PNG, PPM, BMP, TIFF, WEBP.",
        "  bars/down/b.png of class 'down': it is no image of the formats JPEG, PNG, PPM, BMP, TIFF, WEBP.",
    ]
    assert warning == "vae-augment: warning: 2 problems: what cannot be used is left out, 9 images remain."
    skipped = VAEBank.load("bars.safetensors")
    assert skipped.data["skipped"] == 2
    assert "9 images, 2 left out" in run("info bars.safetensors")[1]
    for name in ("a.png", "b.png"):
        (here / "bars" / "down" / name).unlink()
    assert run("fit --data bars --preset fast --on-error skip --out clean.safetensors")[2] == ""
    clean = VAEBank.load("clean.safetensors")
    assert "skipped" not in clean.data
    assert clean.data["fingerprint"] == skipped.data["fingerprint"]


def test_skip_goes_on_without_a_class_of_which_nothing_is_left(here):
    for path in (here / "bars" / "down").iterdir():
        path.write_bytes(b"")
    assert run("fit --data bars --preset fast --on-error skip")[0] == 0
    assert VAEBank.load("bars.safetensors").classes == tuple(sorted({*Shapes.classes} - {"down"}))


def test_skip_with_nothing_left_is_an_error(here):
    for path in (here / "bars").glob("*/*"):
        path.write_bytes(b"")
    code, _, err = run("fit --data bars --preset fast --on-error skip")
    assert code == 2
    assert err.splitlines()[-1] == "vae-augment: error: no image can be used."


def test_a_skipped_fit_resumes_to_the_same_bytes(here):
    (here / "bars" / "down" / "a.png").touch()
    run("fit --data bars --preset fast --on-error skip --out a.safetensors")
    before = Path("a.safetensors").stat().st_mtime_ns
    assert run("fit --data bars --preset fast --on-error skip --out a.safetensors --resume")[0] == 0
    assert Path("a.safetensors").stat().st_mtime_ns == before


def test_evaluate_takes_the_same_options(here):
    (here / "bars" / "down" / "a.png").touch()
    quick = "--arms none --seeds 2 --steps 2 --preset fast"
    code, _, err = run(f"evaluate --data bars {quick}")
    assert code == 2
    assert "a.png" in err
    assert run(f"evaluate --data bars --on-error skip {quick}")[0] == 0
    code, _, err = run(f"evaluate --data bars --max-pixels 9 --on-error skip {quick}")
    assert (code, err.splitlines()[-1]) == (2, "vae-augment: error: no image can be used.")


# ---- wrong inputs: a few of each kind; tests/data has the others ----


def make_inputs(here):
    """One wrong input for each line below."""
    Image.new("L", (9, 9)).save(here / "photo.png")
    (here / "gone.csv").write_text("path,label\nbars/none.png,cat\n")
    (here / "hello.parquet").write_bytes(b"hello")
    np.savez(here / "wide.npz", images=np.zeros((4, 20, 20, 17), np.uint8), labels=[0, 1, 0, 1])
    np.savez(here / "nan.npz", images=np.full((4, 9, 9), np.nan), labels=[0, 1, 0, 1])
    for name in ("one/cat", "one/dog", "mixed/cat", "mixed/dog", "bad/cat", "pipe/cat", "folder.csv"):
        (here / name).mkdir(parents=True)
    Image.new("L", (9, 9)).save(here / "one/cat/0.png")
    Image.new("RGB", (9, 9)).save(here / "mixed/cat/0.png")
    Image.fromarray(np.full((9, 9), 300, np.int32)).save(here / "mixed/dog/0.tif")
    (here / "bad/cat/0.png").write_bytes(b"hello")
    os.mkfifo(here / "pipe/cat/0.png")


WRONG = {
    "notes.txt": "--data must be a folder of class folders, a file that ends in .csv, .tsv, .npz, .npy, .parquet, or a",
    "photo.png": "--data must be a folder of class folders, a file that ends in",
    "empty": "empty must hold one folder of images per class: it has no folder.",
    "one": "1 of one cannot be used: one/dog of class 'dog': it holds no image. Mend or remove them, or leave",
    "mixed": "images of 32 bits have no scale in common with others, got the modes ['I', 'RGB'].",
    "pipe": "pipe must hold one folder of images per class: no file in them ends in",
    "bad": "cannot read bad/cat/0.png: it is no image of the formats JPEG, PNG, PPM, BMP, TIFF, WEBP.",
    "gone.csv": "1 of gone.csv cannot be used: gone.csv, line 2: there is no file bars/none.png. Mend or remove them",
    "folder.csv": "folder.csv must hold one folder of images per class: it has no folder.",
    "wide.npz": "images must have 1 to 16 channels, got 17. Leave some out.",
    "nan.npz": "item 0 of class '0': an image holds values that are not finite.",
    "hello.parquet": "hello.parquet is no Parquet file, or is damaged: ",
}


@pytest.mark.parametrize("data", WRONG)
def test_a_wrong_input_is_told_of_in_a_line_and_nothing_is_written(here, data):
    make_inputs(here)
    assert WRONG[data] in refused(f"fit --data {data} --preset fast")


def test_the_bounds_of_max_pixels_are_those_of_the_opener():
    (option,) = (parameter for parameter in main.commands["fit"].params if parameter.name == "max_pixels")
    assert (option.default, option.type.max) == (MAX_PIXELS, MOST_PIXELS)


@pytest.mark.parametrize("command", ["fit --data usps", "fit --check --data usps", "evaluate --data bars --test usps"])
def test_the_time_of_a_download_reaches_it(here, downloads, command):
    given = []
    downloads(lambda name, options, root, timeout: given.append(timeout))
    assert "the download left nothing" in run(f"{command} --download-timeout 7.5")[2]
    assert given == [7.5]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--max-pixels 99", "it has 12x12 pixels, more than max_pixels, 99."),
        ("--max-pixels 0", "Invalid value for --max-pixels: 0"),
        ("--max-pixels 178956971", "Invalid value for --max-pixels: 178956971"),
        ("--max-pixels x", "Invalid value for --max-pixels: x"),
        ("--on-error warn", "Invalid value for --on-error: warn"),
    ],
)
def test_other_values_of_options_are_told_of(here, options, said):
    assert said in refused(f"fit --data bars {options}").replace("'", "")
