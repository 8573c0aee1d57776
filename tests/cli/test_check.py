"""fit --check and --on-error: everything opened, said and counted; and wrong inputs, each with its message."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commands import run
from tests.conftest import Shapes
from tests.data.test_arrays import header
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
        "Ignored files of other endings (1): .gif (1).",
        "Images turned upright as their EXIF says, which torchvision's ImageFolder does not do: 1.",
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


# ---- wrong inputs ----


def deep(path):
    Image.fromarray(np.full((9, 9), 300, np.int32)).save(path, "TIFF")


def make_inputs(here):
    """One wrong input for each line below."""
    bars = here / "bars"
    Image.new("L", (9, 9)).save(here / "photo.png")
    for name, label in (("out", "../photo.png"), ("root", "/etc/passwd"), ("gone", "bars/none.png"), ("bare", "")):
        (here / f"{name}.csv").write_text(f"path,label\n{label},cat\n")
    (here / "unlabelled.csv").write_text("path,label\nphoto.png,\n")
    (here / "columns.csv").write_text("name,kind\nphoto.png,cat\n")
    (here / "latin.csv").write_bytes(b"path,label\nphoto.png,caf\xe9\n")
    (here / "void.csv").touch()
    (here / "folder.csv").mkdir()
    sub = here / "inside"
    sub.mkdir()
    (sub / "out.csv").write_text("path,label\n../photo.png,cat\n")
    (here / "hello.npz").write_bytes(b"hello")
    (here / "hello.npy").write_bytes(b"hello")
    (here / "hello.parquet").write_bytes(b"hello")
    images = np.zeros((4, 9, 9), np.uint8)
    np.savez(here / "alone.npz", images=images)
    np.savez(here / "short.npz", images=images, labels=[0, 1])
    np.savez(here / "hot.npz", images=images, labels=np.eye(4))
    np.savez(here / "halves.npz", images=images, labels=[0.5, 1, 0, 1])
    np.savez(here / "objects.npz", images=np.array([{}] * 4, dtype=object), labels=[0, 1, 0, 1])
    np.savez(here / "wide.npz", images=np.zeros((4, 20, 20, 17), np.uint8), labels=[0, 1, 0, 1])
    np.savez(here / "small.npz", images=np.zeros((4, 7, 7), np.uint8), labels=[0, 1, 0, 1])
    np.savez(here / "nan.npz", images=np.full((4, 9, 9), np.nan), labels=[0, 1, 0, 1])
    np.savez(here / "gap.npz", images=images, labels=[0, np.nan, 0, 1])
    np.save(here / "lonely.npy", images)
    (here / "lies.npy").write_bytes(header((10**9, 10**9, 10**9)) + b"x")
    np.save(here / "lies_labels.npy", np.array([0, 1]))
    for name, content in {
        "text": b"hello",
        "cut": (bars / "down" / os.listdir(bars / "down")[0]).read_bytes()[:-25],
        "bomb": png(60_000, 60_000),
        "gif": b"GIF89a\x08\0\x08\0\0\0\0;",
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "void": b"",
        "pgm": b"P5 9 9 255\n" + bytes(20),
        "header": b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR",
    }.items():
        for k in range(2):
            (here / f"bad-{name}" / f"{k}").mkdir(parents=True)
            (here / f"bad-{name}" / f"{k}" / "0.png").write_bytes(content)
    for name in ("one/cat", "one/dog", "mixed/cat", "mixed/dog"):
        (here / name).mkdir(parents=True)
    Image.new("L", (9, 9)).save(here / "one/cat/0.png")
    Image.new("RGB", (9, 9)).save(here / "mixed/cat/0.png")
    deep(here / "mixed/dog/0.tif")
    (here / "pipe").mkdir()
    (here / "pipe" / "cat").mkdir()
    os.mkfifo(here / "pipe" / "cat" / "0.png")
    (here / "circle").mkdir()
    (here / "circle" / "again").symlink_to(here / "circle")
    (here / "link").symlink_to(here / "nowhere")


NO_IMAGE = "it is no image of the formats JPEG, PNG, PPM, BMP, TIFF, WEBP."
WRONG = {
    "notes.txt": "--data must be a folder of class folders, a file that ends in .csv, .tsv, .npz, .npy, .parquet, or a",
    "photo.png": "--data must be a folder of class folders, a file that ends in",
    "empty": "empty must hold one folder of images per class: it has no folder.",
    "bars/down": "bars/down must hold one folder of images per class: it has no folder.",
    "one": "1 of one cannot be used: one/dog of class 'dog': it holds no image. Fix or remove them, or leave",
    "mixed": "images of 32 bits have no scale in common with others, got the modes ['I', 'RGB'].",
    "pipe": "pipe must hold one folder of images per class: no file in them ends in",
    "circle": "circle must hold one folder of images per class: no file in them ends in",
    "link": "unknown dataset 'link': ",
    "bad-text": f"cannot read bad-text/0/0.png: {NO_IMAGE}",
    "bad-cut": "cannot read bad-cut/0/0.png: it is damaged or cut short (",
    "bad-bomb": "cannot read bad-bomb/0/0.png: it has more pixels than max_pixels, 89,478,485.",
    "bad-gif": f"cannot read bad-gif/0/0.png: {NO_IMAGE}",
    "bad-eps": f"cannot read bad-eps/0/0.png: {NO_IMAGE}",
    "bad-void": "cannot read bad-void/0/0.png: the file is empty.",
    "bad-pgm": "cannot read bad-pgm/0/0.png: it is damaged or cut short (",
    "bad-header": "cannot read bad-header/0/0.png: it",
    "gone.csv": "1 of gone.csv cannot be used: gone.csv, line 2: there is no file bars/none.png. Fix or remove them",
    "bare.csv": "1 of bare.csv cannot be used: bare.csv, line 2: it names no file.",
    "root.csv": "1 of root.csv cannot be used: root.csv, line 2: /etc/passwd leads out of the folder that",
    "out.csv": "1 of out.csv cannot be used: out.csv, line 2: ../photo.png leads out of the folder that",
    "inside/out.csv": "out.csv, line 2: ../photo.png leads out of the folder that",
    "unlabelled.csv": "unlabelled.csv, line 2: it has no label",
    "columns.csv": "columns.csv must have a column named one of path, file, filename,",
    "latin.csv": "latin.csv must be text in UTF-8, got other bytes at position 24.",
    "void.csv": "void.csv must list images and labels, got an empty file.",
    "folder.csv": "folder.csv must hold one folder of images per class: it has no folder.",
    "missing.csv": "no file at missing.csv.",
    "no/folder": "no folder at no/folder.",
    "hello.npz": "hello.npz must be an .npz file, as numpy.savez writes it.",
    "hello.npy": "hello.npy needs its labels beside it, as hello_labels.npy or as a file of hello.npz.",
    "alone.npz": "alone.npz must hold images and labels, as 'images' and 'labels', got the arrays 'images'.",
    "short.npz": "labels of short.npz must be one per image, got shape [2] for images of shape [4, 9, 9].",
    "hot.npz": "got shape [4, 4] for images of shape [4, 9, 9]. Give numbers or names, not one column per class.",
    "halves.npz": "labels must be whole numbers or names, got 0.5.",
    "objects.npz": "objects.npz: images.npy must hold numbers or text, got Python objects or records.",
    "wide.npz": "images must have 1 to 16 channels, got 17. Leave some out.",
    "small.npz": "images of small.npz must be at least 8x8 pixels, got 7x7.",
    "nan.npz": "item 0 of class '0': an image holds values that are not finite.",
    "gap.npz": "1 of gap.npz cannot be used: gap.npz, item 1: it has no label. Fix or remove them, or",
    "lonely.npy": "lonely.npy needs its labels beside it, as lonely_labels.npy",
    "lies.npy": "lies.npy is damaged: ",
    "hello.parquet": "hello.parquet is no Parquet file, or is damaged: ",
}


@pytest.mark.parametrize("data", WRONG)
def test_a_wrong_input_is_told_of_in_a_line_and_nothing_is_written(here, data):
    make_inputs(here)
    before = sorted(here.rglob("*"))
    code, out, err = run(f"fit --data {data} --preset fast")
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("vae-augment: error: ")
    assert WRONG[data] in line
    assert sorted(here.rglob("*")) == before


def test_the_bounds_of_max_pixels_are_those_of_the_opener():
    (option,) = (parameter for parameter in main.commands["fit"].params if parameter.name == "max_pixels")
    assert (option.default, option.type.max) == (MAX_PIXELS, MOST_PIXELS)


def test_fit_takes_max_pixels(here):
    code, out, err = run("fit --data bars --max-pixels 99")
    assert (code, out) == (2, "")
    assert "it has 12x12 pixels, more than max_pixels, 99." in err


@pytest.mark.parametrize("command", ["fit --data bars", "fit --check --data bars", "evaluate --data bars --test bars"])
def test_the_time_of_a_download_reaches_the_opener(here, monkeypatch, command):
    given = []

    def opener(name, *, timeout, **options):
        given.append(timeout)
        if "--test" not in command or options["part"] == "test":
            raise ValueError("enough")
        return open_data(name, **options)

    monkeypatch.setattr("vae_augment.data.open_data", opener)
    assert run(f"{command} --download-timeout 7.5")[2] == "vae-augment: error: enough\n"
    assert given == [7.5] * (1 + ("--test" in command))


@pytest.mark.parametrize("options", ["--on-error warn", "--max-pixels 0", "--max-pixels 178956971", "--max-pixels x"])
def test_wrong_options_are_told_of(here, options):
    code, out, err = run(f"fit --data bars {options}")
    assert (code, out) == (2, "")
    name, value = options.split()
    assert f"Invalid value for '{name}': " in err
    assert value in err
