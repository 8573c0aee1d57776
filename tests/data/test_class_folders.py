"""Class folders as people have them: links, hidden files, other endings, damaged images, odd names."""

from __future__ import annotations

import os
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from vae_augment import VAEAugmentedDataset, VAEBank, fit
from vae_augment.config import FitConfig
from vae_augment.data import open_data
from vae_augment.data.source import Source
from vae_augment.exceptions import DataWarning

TINY = FitConfig(steps=2, latent_dim=2, width=8, policy="none")


def draw(path, shade=0, mode="RGB", size=(9, 9)):
    path.parent.mkdir(parents=True, exist_ok=True)
    deep = Image.fromarray(np.full(size[::-1], 257 * shade, np.uint16))
    (deep if mode == "I;16" else Image.new("L", size, shade).convert(mode)).save(path)


@pytest.fixture
def pets(tmp_path):
    """Two classes of three images each."""
    for name in ("cat", "dog"):
        for k in range(3):
            draw(tmp_path / "pets" / name / f"{k}.png", 40 * k)
    return tmp_path / "pets"


def problems(folder):
    return [str(problem).replace(f"{folder}/", "") for problem in open_data(folder, on_error="skip").problems]


# ---- the same as torchvision's ----


def test_files_labels_and_fingerprint_are_those_of_an_image_folder(pets):
    for name in ("a/1.png", "a/c/2.png", "a-b/3.JPG", "b.png", "Z.png"):
        draw(pets / "cat" / "deep" / name, mode="RGB")
    draw(pets / "Emu" / "1.png")
    (pets / "notes.txt").write_text("hello")
    (pets / "dog" / "notes.txt").write_text("hello")
    ours, theirs = open_data(pets).dataset, ImageFolder(str(pets))
    assert ours.samples == theirs.samples
    assert (ours.targets, ours.classes, ours.class_to_idx) == (theirs.targets, theirs.classes, theirs.class_to_idx)
    assert Source(ours).fingerprint() == Source(theirs).fingerprint()
    assert np.array_equal(np.array(ours[0][0]), np.array(theirs[0][0]))


def test_a_bank_of_our_dataset_is_the_bank_of_an_image_folder(pets):
    ours, theirs = (fit(data, config=TINY) for data in (open_data(pets).dataset, ImageFolder(str(pets))))
    assert ours.with_data(name="pets").sha256 == theirs.with_data(name="pets").sha256
    VAEAugmentedDataset(ImageFolder(str(pets)), ours, p_jitter=0.5)  # no warning that it is of other data


@pytest.mark.parametrize(
    ("modes", "mode"),
    [(["L"], "L"), (["RGB"], "RGB"), (["L", "RGB"], "RGB"), (["1", "L"], "L"), (["RGB", "RGBA"], "RGB"), (["P"], "RGB"),
     (["LA"], "L"), (["I;16", "L"], "I;16")],
)  # fmt: skip
def test_a_folder_has_one_mode(tmp_path, modes, mode):
    for k in range(4):
        draw(tmp_path / "pets" / f"{k % 2}" / f"{k}.png", 60 * k, modes[k % len(modes)])
    dataset = open_data(tmp_path / "pets").dataset
    assert {image.mode for image, _ in dataset} == {mode + "A" * bool({"LA", "RGBA"} & set(modes))}


def test_a_bank_of_a_grey_folder_serves_an_image_folder_of_colours(tmp_path):
    for k in range(6):
        draw(tmp_path / f"{k % 2}" / f"{k}.png", 30 * k, "L")
    bank = fit(open_data(tmp_path).dataset, config=TINY)
    assert bank.image_shape == (1, 9, 9)
    image, _ = VAEAugmentedDataset(ImageFolder(str(tmp_path)), bank, p_generate=1.0)[0]
    assert (image.mode, image.size) == ("RGB", (9, 9))


def test_sixteen_bits_after_eight_keep_their_scale(tmp_path):
    draw(tmp_path / "a" / "0.png", 128, "L")
    for k in range(1, 4):
        draw(tmp_path / "b" / f"{k}.png", 128, "I;16")
    source = Source(open_data(tmp_path).dataset)
    first, last = (source.pixels(i, source.raw(i).image) for i in (0, 3))
    assert torch.equal(first, last)


# ---- what lies about in folders ----


def test_hidden_files_and_other_endings_are_passed_over_and_noted(pets):
    draw(pets / "cat" / "._0.png")
    draw(pets / ".cache" / "0.png")
    draw(pets / "cat" / ".thumbs" / "0.png")
    (pets / "cat" / "0.gif").write_bytes(b"")
    (pets / "cat" / "README").touch()
    draw(pets / "cover.png")
    opened = open_data(pets)
    assert (len(opened.dataset), opened.problems) == (6, ())
    assert opened.notes == (
        "Ignored files of other endings (2): .gif (1), no ending (1).",
        "Ignored hidden files and folders: 3.",
        "Ignored files in no class folder: 1.",
    )


def test_a_link_to_an_image_or_a_class_is_followed(pets, tmp_path):
    draw(tmp_path / "elsewhere" / "emu.png")
    (pets / "cat" / "3.png").symlink_to(tmp_path / "elsewhere" / "emu.png")
    (pets / "emu").symlink_to(tmp_path / "elsewhere")
    assert open_data(pets).dataset.targets == [0, 0, 0, 0, 1, 1, 1, 2]


def test_links_in_a_circle_or_to_nothing_are_problems(pets):
    (pets / "cat" / "again").symlink_to(pets / "cat")
    (pets / "dog" / "all").symlink_to(pets)
    (pets / "dog" / "gone.png").symlink_to(pets / "nowhere.png")
    (pets / "dog" / "self.png").symlink_to(pets / "dog" / "self.png")
    (pets / "emu").symlink_to(pets / "nowhere")
    found = problems(pets)
    assert "emu: a link to nothing" in found
    assert "cat/again of class 'cat': a link to a folder that it lies in" in found
    assert "dog/gone.png of class 'dog': a link to nothing" in found
    assert "dog/self.png of class 'dog': a link to nothing" in found
    with pytest.raises(ValueError, match=r"[0-9]+ of .*pets cannot be used: .*emu: a link to noth.*--on-error skip"):
        open_data(pets)
    assert len(open_data(pets, on_error="skip").dataset) < 40


def test_a_pipe_is_a_problem_and_not_waited_for(pets):
    os.mkfifo(pets / "cat" / "p.png")
    assert problems(pets) == ["cat/p.png of class 'cat': it is no regular file"]


def test_a_class_without_images_is_a_problem(pets):
    (pets / "emu").mkdir()
    (pets / "ant").mkdir()
    (pets / "ant" / "notes.txt").touch()
    assert problems(pets) == ["ant of class 'ant': it holds no image", "emu of class 'emu': it holds no image"]
    with pytest.raises(ValueError, match=r"2 of .*pets cannot be used: .*ant of class 'ant': it holds no image; "):
        open_data(pets)
    skipped = open_data(pets, on_error="skip").dataset
    assert (skipped.classes, set(skipped.targets)) == (["ant", "cat", "dog", "emu"], {1, 2})
    assert Source(skipped).classes == {1: "cat", 2: "dog"}


def test_many_problems_are_counted_and_the_first_five_listed(pets):
    for k in range(8):
        (pets / "cat" / f"x{k}.png").symlink_to("nowhere")
    with pytest.raises(ValueError, match=r"^8 of .*x0\.png.*x4\.png of class 'cat': a link to nothing; and 3 more\. F"):
        open_data(pets)


@pytest.mark.parametrize(
    "names", [["CON", "aux.txt"], ["a" * 255, "b"], ["😀", "é"], [" ", "a..."], ["-rf", "$(x)"], ["Cat", "cat"]]
)
def test_class_folders_may_have_any_name(tmp_path, names):
    for name in names:
        for k in range(2):
            draw(tmp_path / "pets" / name / f"{k}.png", 99 * k)
    if len(os.listdir(tmp_path / "pets")) < len(names):
        pytest.skip("a file system to which Cat and cat are the same")
    bank = fit(open_data(tmp_path / "pets").dataset, config=TINY)
    bank.save(tmp_path / "bank.safetensors")
    assert VAEBank.load(tmp_path / "bank.safetensors").classes == tuple(sorted(names))


def test_names_that_are_no_text_are_said_to_be_so(tmp_path):
    for folder in (b"caf\xe9", b"dog"):
        draw(tmp_path / "pets" / os.fsdecode(folder) / "0.png")
    with pytest.raises(ValueError, match=r"class folders must have names in UTF-8, got b.*\. Rename it\."):
        open_data(tmp_path / "pets")


# ---- images that cannot be used ----


@pytest.mark.parametrize(("place", "told"), [("cat/0.png", "cat/0.png"), ("dog/9.png", "dog/9.png of class 'dog'")])
def test_an_image_that_cannot_be_used_is_named_with_its_class(pets, place, told):
    (pets / place).write_bytes(b"hello")
    with pytest.raises(ValueError, match=rf"cannot read .*{told}.*: it is no image of the formats"):
        fit(open_data(pets).dataset, config=TINY)


def test_max_pixels_is_that_of_open_data(pets):
    with pytest.raises(ValueError, match="it has 9x9 pixels, more than max_pixels, 80"):
        fit(open_data(pets, max_pixels=80).dataset, config=TINY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_pixels": 0}, r"max_pixels must be in 1\.\.178,956,970, got 0"),
        ({"max_pixels": 178_956_971}, r"max_pixels must be in 1\.\.178,956,970, got 178,?956,?971"),
        ({"on_error": "warn"}, r"on_error must be one of 'fail', 'skip', got 'warn'\."),
    ],
)
def test_other_options_are_refused(pets, options, message):
    with pytest.raises(ValueError, match=message):
        open_data(pets, **options)


def test_images_of_several_sizes_are_fitted_at_the_most_common(pets):
    draw(pets / "cat" / "large.png", size=(40, 30))
    draw(pets / "dog" / "small.png", size=(3, 2))
    assert fit(open_data(pets).dataset, config=TINY).image_shape[1:] == (9, 9)


# ---- a folder called train ----


def images_in(root, *folders):
    for folder in folders:
        (root / folder).mkdir(parents=True)
        Image.new("L", (9, 9), 77).save(root / folder / "0.png")
    return root


@pytest.mark.parametrize(
    ("folders", "classes", "said"),
    [
        (
            ["bus", "train/ice", "train/tgv"],
            ["bus", "train"],
            "reading train in .* as a class like bus, since there is",
        ),
        (["bus", "train"], ["bus", "train"], None),
        (["train/ice", "train/tgv"], ["ice", "tgv"], None),
        (["train/ice", "train/tgv", "val/ice"], ["ice", "tgv"], None),
        (
            ["bus", "train/ice", "train/tgv", "test/ice"],
            ["ice", "tgv"],
            "train alone, .* not the images in bus beside it",
        ),
    ],
)
def test_train_is_a_part_unless_folders_beside_it_are_classes(folders, classes, said, tmp_path):
    with pytest.warns(DataWarning, match=said) if said else nullcontext():
        opened = open_data(images_in(tmp_path, *folders))
    assert opened.dataset.classes == classes
    assert len(opened.dataset) == (len(folders) if "bus" in classes else 2)
