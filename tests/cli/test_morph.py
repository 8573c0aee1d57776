"""vae-augment morph."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.commands import contents, refused, run
from tests.conftest import Shapes
from vae_augment import FitConfig, VAEBank, fit
from vae_augment.exploring.morph_pictures import animation, strip_png
from vae_augment.exploring.morphing import morph, morph_codes

FILES = "bars/across/0.png bars/down/4.png"


def image_of(path):
    return torch.from_numpy(np.array(Image.open(path)))[None]


def test_two_files_are_morphed_from_the_classes_of_their_folders(with_bank, bank):
    code, out, err = run(
        f"morph bars.safetensors {FILES} --out s.png --animation s.gif --frames 5 --fps 20 --ping-pong"
    )
    assert (code, err) == (0, "")
    assert out == "5 frames from across to down written to s.png and s.gif.\n"
    frames = morph(bank, *map(image_of, FILES.split()), 0, 1, frames=5)
    assert Path("s.png").read_bytes() == strip_png(frames, "across", "down")
    assert Path("s.gif").read_bytes() == animation(frames, ".gif", fps=20, ping_pong=True)


@pytest.mark.parametrize("ends", ["across down", "0 1", "across 1"])
def test_a_class_is_its_mean_code_by_name_or_by_label(with_bank, bank, ends):
    assert run(f"morph bars.safetensors {ends} --out s.png --path spherical")[0] == 0
    frames = morph_codes(bank, bank.stats.mean[0], bank.stats.mean[1], 0, 1, path="spherical")
    assert Path("s.png").read_bytes() == strip_png(frames, "across", "down")


def test_with_a_seed_a_class_is_drawn_anew(with_bank):
    made = set()
    for options in ("across down", "across down --seed 1", "across down --seed 2", "down down --seed 1"):
        assert run(f"morph bars.safetensors {options} --out s.png")[0] == 0
        made.add(Path("s.png").read_bytes())
    assert len(made) == 4
    assert run("morph bars.safetensors down down --seed 1 --out again.png")[0] == 0
    assert Path("again.png").read_bytes() in made


def test_a_bank_without_exemplars_has_means_and_draws_too(here):
    config = FitConfig(steps=2, latent_dim=4, width=8, exemplars=0)
    fit(Shapes(), config=config, progress=False).save("none.safetensors")
    for options in ("0 1", "0 0 --seed 1", FILES):
        assert run(f"morph none.safetensors {options} --out s.png")[0] == 0


def test_an_option_names_a_files_class(with_bank, bank):
    shutil.copy("bars/across/0.png", "one.png")
    assert run("morph bars.safetensors one.png bars/down/4.png --class-a across --class-b 2 --out s.png")[0] == 0
    frames = morph(bank, image_of("one.png"), image_of("bars/down/4.png"), 0, 2)
    assert Path("s.png").read_bytes() == strip_png(frames, "across", "slanted")


def test_a_folder_may_have_the_name_that_generate_gives_it(here, bank):
    infos = [replace(i, name=name) for i, name in zip(bank.class_infos, ("zebra", "a/b", "cat"), strict=True)]
    renamed = VAEBank(replace(bank.content, class_infos=tuple(infos)))
    renamed.save("renamed.safetensors")
    assert run("generate renamed.safetensors --out made --per-class 1")[0] == 0
    folders = sorted(path.name for path in Path("made").iterdir() if path.is_dir())
    assert folders == ["0_zebra", "1_a%2Fb", "2_cat"]
    code, out, _ = run("morph renamed.safetensors made/0_zebra/000000.png made/1_a%2Fb/000000.png --out s.png")
    assert (code, out) == (0, "16 frames from zebra to a/b written to s.png.\n")


def test_a_file_of_the_working_folder_is_of_that_folders_class(with_bank, monkeypatch):
    monkeypatch.chdir("bars/down")
    assert run("morph ../../bars.safetensors 4.png 5.png --out ../../s.png")[0] == 0


def test_a_class_comes_before_a_file_of_its_name(with_bank):
    shutil.copy("bars/down/4.png", "down")
    assert run("morph bars.safetensors across down --out class.png")[0] == 0
    assert run("morph bars.safetensors across ./down --class-b down --out file.png")[0] == 0
    assert Path("class.png").read_bytes() != Path("file.png").read_bytes()


def test_larger_images_are_resized_where_it_is_asked_for(with_bank):
    Image.open("bars/down/4.png").resize((24, 24), Image.Resampling.NEAREST).save("bars/down/large.png")
    command = "morph bars.safetensors bars/across/0.png bars/down/large.png --out s.png"
    code, out, err = run(command)
    assert (code, out) == (2, "")
    assert "error: B: images must be of the bank's size, 12x12" in err
    assert "--resize" in err
    assert run(f"{command} --resize")[0] == 0


def test_classes_without_a_common_start_are_said_to_be_cross_faded(here):
    config = FitConfig(steps=2, latent_dim=4, width=8, sharing="none")
    fit(Shapes(), config=config, progress=False).save("apart.safetensors")
    code, out, _ = run("morph apart.safetensors 0 1 --out s.png")
    assert code == 0
    assert out.startswith("These classes were not tuned from one warm start: their pixels are cross-faded.\n16 frames")
    assert "cross-faded" not in run("morph apart.safetensors 0 0 --seed 1 --out s.png")[1]


def test_the_same_command_gives_the_same_bytes(with_bank):
    for name in ("a", "b"):
        Path(name).mkdir()
        for suffix in ("gif", "webp"):
            options = f"--out {name}/s.png --animation {name}/s.{suffix} --frames 20 --seed 3"
            assert run(f"morph bars.safetensors across slanted {options}")[0] == 0
    assert contents("a") == contents("b")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("0 7 --out s.png", "B must be an image file or a class of the bank, got '7': there is no such file, and the "),
        ("0 7 --out s.png", "bank has across, down, slanted."),
        ("no/such.png 1 --out s.png", "A must be an image file or a class of the bank, got 'no/"),
        ("bars 1 --out s.png", "A must be an image file or a class of the bank, bars is a folder"),
        ("notes.txt 1 --out s.png", "--class-a must say which class notes.txt is of: its folder"),
        ("0 notes.txt --class-b round --out s.png", "which class notes.txt is of: got 'round'; the bank has across, "),
        ("notes.txt 1 --class-a down --out s.png", "A: cannot read notes.txt: it is no image of the formats"),
        ("down 1 --class-a down --out s.png", "A must be an image file or a class of the bank, "),
        ("0 colour.png --class-b 1 --out s.png", "B: images must have as many channels as the bank's, 1, got 3"),
        ("0 large.png --class-b 1 --out s.png", "B: images must be of the bank's size, 12x12"),
        ("0 tiny.png --class-b 1 --resize --out s.png", "B: images must be at least 8x8 pixels, got 4x4"),
        ("0 pipe --class-b 1 --out s.png", "it is no regular file"),
        ("0 0 --out s.png", "A and B must be two images, got one twice; with --seed"),
        (f"{'n' * 300} 0 --out s.png", "File name too long"),
        ("0 1 --out no/such/s.png", "--out: no folder no/such"),
        ("0 1 --out empty", "--out must be a file, empty is a folder"),
        ("0 1 --out s.gif", "--out is the strip, a PNG, got s.gif: name an animation's file by"),
        ("0 1 --out s.jpg", "--out must end in .png, which it will hold, got s.jpg"),
        (f"{FILES} --out bars/down/4.png", "--out must be another file than B"),
        ("0 1 --out bars.safetensors", "--out must be another file than BANK"),
        ("0 1 --out s.png --animation s.mp4", "must end in .gif or .webp, got '.mp4'"),
        ("0 1 --out s.png --animation no/s.gif", "--animation: no folder no"),
        ("0 1 --out s.png --fps 5", "--fps and --ping-pong are of an animation"),
        ("0 1", "Missing option '--out'"),
        ("0 1 --out s.png --frames 1", "'--frames': 1 is not in the range 2<=x<=240"),
        ("0 1 --out s.png --frames 241", "'--frames': 241 is not in the range 2<=x<=240"),
        ("0 1 --out s.png --path round", "'--path': 'round' is not one of 'linear', 'spherical'"),
        ("0 1 --out s.png --animation s.gif --fps 51", "'--fps': 51.0 is not in the range 1<=x<=50"),
    ],
)
def test_wrong_input_exits_with_2_and_one_line_and_writes_nothing(with_bank, arguments, message):
    Image.new("RGB", (12, 12)).save("colour.png")
    Image.new("L", (40, 40)).save("large.png")
    Image.new("L", (4, 4)).save("tiny.png")
    os.mkfifo("pipe")
    assert message.replace("'", "") in refused(f"morph bars.safetensors {arguments}").replace("'", "")
