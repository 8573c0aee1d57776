from __future__ import annotations

import os
import struct
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset
from torchvision.datasets import MNIST

from vae_augment.data import KNOWN, open_data, subsample
from vae_augment.data.readers.download import download
from vae_augment.data.source import Source
from vae_augment.exceptions import DataWarning
from vae_augment.mnist_sample import MNISTSample


def write_mnist(root, images=6, tested=2):
    """MNIST's files as torchvision looks for them, with a few small images."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part, count in (("train", images), ("t10k", tested)):
        pixels, labels = bytes(range(count)) * 28 * 28, bytes(n % 10 for n in range(count))
        (folder / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, count, 28, 28) + pixels)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + labels)
    return root


def write_folder(root, classes):
    for name in classes:
        (root / name).mkdir(parents=True)
        Image.new("L", (9, 9)).save(root / name / "0.png")
    return root


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


# ---- by path ----


@pytest.mark.parametrize(
    ("folders", "part", "classes"),
    [
        ("cat dog", "train", "cat dog"),
        ("train/cat train/dog", "train", "cat dog"),
        ("plane train", "train", "plane train"),
        ("train/cat train/dog test/dog test/emu", "train", "cat dog"),
        ("train/cat train/dog test/dog test/emu", "test", "dog emu"),
        ("train/cat train/dog val/dog val/emu", "test", "dog emu"),
        ("train/a val/b test/c", "test", "c"),
        ("cat dog", "test", "cat dog"),  # its own test part
        ("plane train", "test", "plane train"),
        ("plane test", "test", "plane test"),
    ],
)
@pytest.mark.parametrize("as_type", [str, Path])
def test_a_folder_of_class_folders_is_opened_by_its_part(tmp_path, folders, part, classes, as_type):
    opened = open_data(as_type(write_folder(tmp_path / "pets", folders.split())), part=part)
    assert (opened.name, opened.source, opened.dataset.classes) == ("pets", "folder", classes.split())
    assert [label for _, label in opened.dataset] == list(range(len(classes.split())))


def test_a_folder_with_a_training_part_alone_has_no_test_part(tmp_path):
    with pytest.raises(
        ValueError, match=r"pets must hold a folder test or val of class folders beside train, got none"
    ):
        open_data(write_folder(tmp_path / "pets", ["train/cat"]), part="test")


def test_another_part_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"part must be one of 'train', 'test', got 'val'\."):
        open_data(tmp_path, part="val")


def test_a_folder_may_be_called_like_a_dataset(tmp_path, monkeypatch):
    write_folder(tmp_path / "mnist", ["cat", "dog"])
    monkeypatch.chdir(tmp_path)
    assert open_data(Path("mnist")).source == "folder"
    assert open_data("./mnist/").dataset.classes == ["cat", "dog"]


@pytest.mark.parametrize("classes", [(), ("cat", "dog")])
def test_a_folder_without_images_is_refused(tmp_path, classes):
    for name in classes:
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=r"must hold one folder of images per class: .*[^.]\.$"):
        open_data(tmp_path)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("zebra", ValueError, "unknown dataset 'zebra': name a folder of class folders, or one of mnist, "),
        ("no/such/folder", FileNotFoundError, "no folder at no/such/folder"),
        ("notes.txt", ValueError, "must be a folder of class folders, .* or a torchvision .*; got the file notes.txt"),
    ],
)
def test_other_names_and_paths_are_refused(tmp_path, monkeypatch, name, error, message):
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("hello")
    with pytest.raises(error, match=message):
        open_data(name)


# ---- by name ----


@pytest.mark.parametrize(("part", "images"), [("train", 6), ("test", 2)])
def test_a_root_is_searched_for_a_part_whatever_the_names_case(tmp_path, part, images):
    opened = open_data("MNIST", part=part, root=write_mnist(tmp_path))
    assert (opened.name, opened.source, opened.dataset.train) == ("mnist", "torchvision", part == "train")
    assert len(opened.dataset) == images


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("name", ["mnist", "qmnist", "cifar10"])
def test_a_root_without_the_data_is_an_error_and_never_the_sample(offline, name, part):
    write_mnist(offline / "data")
    (offline / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=f"no {KNOWN[name].class_name} in empty: expected torchvision's layout"):
        open_data(name, part=part, root="empty")


@pytest.mark.parametrize("name", ["mnist", "emnist", "svhn", "stl10", "qmnist"])
def test_a_download_is_of_the_part_asked_for_and_an_error_if_it_leaves_nothing(downloads, name):
    asked = []
    downloads(lambda class_name, options, root, timeout: asked.append(options))
    for part in ("train", "test"):
        context = (
            pytest.warns(DataWarning)
            if name == "mnist"
            else pytest.raises(ConnectionError, match="the download left nothing")
        )
        with context as given:
            open_data(name, part=part)
        message = given[0].message if name == "mnist" else given.value
        assert "left nothing that torchvision can open" in str(message)
    key = {"svhn": "split", "stl10": "split", "qmnist": "what"}.get(name, "train")
    assert [options[key] for options in asked] == ([True, False] if key == "train" else ["train", "test"])


def test_data_on_this_machine_is_found_before_a_download(offline, monkeypatch):
    write_mnist(offline / "torch" / "datasets", images=3)
    assert len(open_data("mnist").dataset) == 3
    write_mnist(offline / "data", images=4)
    assert len(open_data("mnist").dataset) == 4
    monkeypatch.setenv("VAE_AUGMENT_DATA", str(write_mnist(offline / "named", images=5)))
    assert len(open_data("mnist").dataset) == 5


def test_a_download_lands_in_the_last_place_and_what_a_killed_one_left_there_is_swept(offline, downloads):
    root, folders, number = offline / "torch" / "datasets", [], str(os.getpid())

    def killed(class_name, options, into, timeout):
        gone = into.with_name(into.name.replace(number, str(2**22 + 1)))  # a process number that is none
        write_mnist(gone)
        folders.append(gone)
        raise ConnectionError("no route to host")

    downloads(killed)
    for name in ("eurosat", "kmnist"):
        with pytest.raises(ConnectionError, match="no route to host"):
            open_data(name)
    downloads(lambda name, options, into, timeout: write_mnist(into).joinpath("MNIST").rename(into / "KMNIST"))
    opened = open_data("kmnist")
    assert (opened.source, len(opened.dataset)) == ("torchvision", 6)
    assert sorted(root.iterdir()) == [folders[0], root / "KMNIST"]  # what EuroSAT's left is not ours now


def test_a_download_that_is_ended_leaves_no_part_of_a_dataset(offline, downloads):
    def ended(name, options, root, timeout):
        write_mnist(root)
        raise ConnectionError("the download did not end within 300 seconds")

    downloads(ended)
    with pytest.raises(ConnectionError, match="did not end within 300 seconds"):
        open_data("kmnist")
    with pytest.warns(DataWarning, match="did not end within 300 seconds"):
        open_data("mnist")
    assert not (offline / "torch").exists()


def test_a_download_completes_what_is_there(offline, downloads):
    root, roots = offline / "torch" / "datasets", []
    raw = write_mnist(root) / "MNIST" / "raw"
    names = sorted(path.name for path in raw.iterdir())
    (raw / names[0]).unlink()
    downloads(lambda name, options, into, timeout: roots.append(into))
    with pytest.warns(DataWarning, match="left nothing"):
        open_data("mnist")
    assert roots == [root]
    assert sorted(path.name for path in raw.iterdir()) == names[1:]


def test_a_download_without_a_place_for_it_is_said_to_have_none(offline, downloads):
    downloads(lambda *arguments: None)
    (offline / "torch").write_text("a file")
    with pytest.raises(
        ConnectionError, match=r"kmnist is not on this machine .*nothing can be written to .*datasets: "
    ):
        open_data("kmnist")


@pytest.mark.parametrize(
    ("part", "said"), [("train", "5,000 of its 60,000 training"), ("test", "1,000 of its 10,000 te")]
)
def test_mnist_offline_is_the_bundled_sample_and_says_so(offline, part, said):
    with pytest.warns(DataWarning, match=rf"{said}.*no route to host"):
        opened = open_data("mnist", part=part)
    assert isinstance(opened.dataset, MNISTSample)
    assert (opened.name, opened.source, opened.dataset.train) == ("mnist", "bundled sample", part == "train")
    assert f"{len(opened.dataset):,}" == said[:5]


# ---- downloads ----


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exec sleep 100", "the download did not end within 0.3 seconds"),
        ("echo Traceback >&2; echo 'URLError: no route' >&2; exit 1", "URLError: no route"),
        ("exit 3", "the download failed with exit code 3"),
    ],
    ids=["hangs", "fails", "fails silently"],
)
def test_a_download_that_hangs_or_fails_is_ended(offline, downloads, monkeypatch, script, message):
    downloads(download)
    monkeypatch.setattr(sys, "executable", program(offline / "python", script))
    with pytest.raises(ConnectionError, match=rf"cannot be downloaded \({message}\)"):
        open_data("kmnist", timeout=0.3 if "sleep" in script else 20)
    with pytest.warns(DataWarning, match=message):
        assert open_data("mnist", timeout=0.3 if "sleep" in script else 20).source == "bundled sample"


def test_a_download_asks_torchvision_for_the_dataset(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", program(tmp_path / "python", f'printf "%s|" "$@" > {tmp_path}/arguments'))
    download("EMNIST", {"split": "balanced"}, tmp_path / "root")
    command, code, *arguments = (tmp_path / "arguments").read_text().split("|")[:-1]
    assert (command, "download_here" in code) == ("-c", True)
    assert arguments == ["EMNIST", '{"split": "balanced"}', str(tmp_path / "root")]


# ---- subsamples ----


def test_a_subsample_has_as_many_of_each_class_in_order_and_is_a_function_of_its_seed(shapes):
    first, again, other = (subsample(shapes, 3, seed) for seed in (0, 0, 1))
    assert Counter(Source(first).labels.tolist()) == {0: 3, 1: 3, 2: 3}
    assert first.indices == sorted(set(first.indices)) == again.indices != other.indices
    assert subsample(shapes, 10, seed=5).indices == list(range(30))


def test_a_subsample_of_more_than_there_is_takes_all_and_says_so(shapes, caplog):
    caplog.set_level("DEBUG", "vae_augment")
    part = subsample(Subset(shapes, range(22)), 3, seed=0)
    assert [part.dataset[i][1] for i in part.indices] == [0] * 3 + [1] * 3 + [2] * 2
    assert "class 'slanted' has only 2 images, all are used" in caplog.text


# ---- the bundled sample ----


def test_the_sample_has_as_many_of_each_digit_and_no_image_twice():
    parts = [MNISTSample(train=train) for train in (True, False)]
    for sample, per_class in zip(parts, (500, 100), strict=True):
        assert sample.data.shape == (10 * per_class, 28, 28)
        assert torch.bincount(sample.targets).tolist() == [per_class] * 10
        assert len(sample) == 10 * per_class
    assert len({image.tobytes() for sample in parts for image in sample.data.numpy()}) == 6000


def test_the_sample_has_the_interface_of_torchvisions_mnist(tmp_path):
    ours, theirs = MNISTSample(), MNIST(str(write_mnist(tmp_path)))
    (image, label), (their_image, their_label) = ours[0], theirs[0]
    assert (type(image), image.mode, image.size) == (type(their_image), their_image.mode, their_image.size)
    assert type(label) is type(their_label)
    assert list(ours.classes) == theirs.classes
    assert ours.class_to_idx == theirs.class_to_idx
    assert ours.data.dtype == theirs.data.dtype
    assert ours.targets.dtype == theirs.targets.dtype
    assert np.array_equal(np.asarray(image), ours.data[0].numpy())


def test_the_sample_applies_transforms():
    sample = MNISTSample(transform=lambda image: image.size, target_transform=str)
    assert sample[0] == ((28, 28), str(int(sample.targets[0])))
