from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import ToTensor

from tests.commands import contents, refused, run
from tests.conftest import Shapes
from vae_augment import VAEAugmentedDataset, augment
from vae_augment.data import open_data
from vae_augment.exporting.augmented_images import MOST


@pytest.fixture
def moving(bank):
    """A bank whose policy serves every kind of item, moved."""
    return bank.with_policy(p_generate=0.3, p_jitter=0.4, scale=0.8, keep_detail=True, moves="elastic")


def save_shapes(root, per_class=10, ending="png"):
    for number, (image, label) in enumerate(Shapes(per_class=per_class)):
        path = root / Shapes.classes[label] / f"{number:02d}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)


@pytest.fixture
def photos(tmp_path):
    """The shapes in class folders, and beside them one in colour and one of another size."""
    root = tmp_path / "photos"
    save_shapes(root, ending="jpg")
    Image.new("L", (20, 16), 90).save(root / "down" / "00.png")
    return root


def listed(folder):
    """The manifest's files, by path: item and kind."""
    manifest = json.loads((Path(folder) / "manifest.json").read_text())
    return {
        f"{entry['folder']}/{file}": (item, kind)
        for entry in manifest["classes"]
        for file, item, kind in zip(entry["files"], entry["items"], entry["kinds"], strict=True)
    }


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("seed", [0, 7])
def test_copies_are_what_the_wrapper_serves_in_its_epochs(moving, shapes, tmp_path, seed, workers):
    done = augment(shapes, moving, tmp_path / "out", copies=3, seed=seed, workers=workers)
    assert (done.total, done.counts) == (90, dict.fromkeys(Shapes.classes, 30))
    wrapper = VAEAugmentedDataset(shapes, moving, seed=seed, return_source=True)
    names, kinds = listed(tmp_path / "out"), ("real", "jittered", "generated")
    assert len(names) == 90
    for epoch in range(3):
        wrapper.set_epoch(epoch)
        for item, (image, label, source) in enumerate(wrapper):
            path = f"{Shapes.classes[label]}/{item:06d}-aug{epoch}.png"
            assert names[path] == (item, kinds[source])
            assert np.array_equal(pixels(tmp_path / "out" / path), np.asarray(image))


def test_the_datasets_transforms_are_left_to_those_who_train(moving, tmp_path):
    augment(Shapes(), moving, tmp_path / "plain", copies=1)
    augment(Shapes(transform=ToTensor(), target_transform=str), moving, tmp_path / "out", copies=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "plain")


def test_image_folder_reads_copies_and_originals(moving, photos, tmp_path):
    dataset = open_data(photos).dataset
    augment(dataset, moving, tmp_path / "out", copies=2, real=True)
    read = ImageFolder(tmp_path / "out")
    assert (len(read), read.classes, read.class_to_idx) == (93, dataset.classes, ImageFolder(photos).class_to_idx)
    for path in photos.rglob("*.*"):
        same = tmp_path / "out" / path.relative_to(photos)
        assert same.read_bytes() == path.read_bytes()
        assert os.path.samefile(same, path)  # takes no space
    down = {path.name for path in (tmp_path / "out" / "down").iterdir()}
    assert {"00.png", "00-aug0.png", "00-aug1.png", "10.jpg", "10-aug0.png"} <= down
    assert pixels(tmp_path / "out" / "down" / "00-aug1.png").shape == (16, 20)


def test_items_of_one_name_keep_apart(moving, shapes, tmp_path):
    for name in ("a.png", "a.jpg", "a-aug0.png", "A.PNG"):
        for label in Shapes.classes:
            (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
            shapes[0][0].save(tmp_path / "photos" / label / name)
    augment(open_data(tmp_path / "photos").dataset, moving, tmp_path / "out", copies=2, real=True)
    names = sorted(path.name for path in (tmp_path / "out" / "down").iterdir())
    assert len({name.casefold() for name in names}) == len(names) == 12
    assert {"A.png", "a~2.jpg"} <= set(names) or {"a.png", "a~2.jpg"} <= set(names)
    assert "a-aug0.png" in names  # an item's own name, whatever the copies of others are called


def test_an_image_that_its_exif_turns_is_written_upright(moving, photos, tmp_path):
    turned = Image.new("L", (20, 16))
    turned.paste(200, (0, 0, 20, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(photos / "down" / "turned.jpg", exif=exif, quality=95)
    augment(open_data(photos).dataset, moving, tmp_path / "out", copies=1, real=True)
    assert pixels(tmp_path / "out" / "down" / "turned.jpg").shape == (20, 16)
    assert pixels(tmp_path / "out" / "down" / "turned-aug0.png").shape == (20, 16)


@pytest.mark.parametrize(("form", "exact"), [("png", True), ("webp", True), ("jpg", False)])
def test_formats(moving, shapes, tmp_path, form, exact):
    augment(shapes, moving, tmp_path / "png", copies=1)
    augment(shapes, moving, tmp_path / "out", copies=1, format=form)
    for path in (tmp_path / "out").rglob(f"*.{form}"):
        there = np.asarray(Image.open(path).convert("L")).astype(int)
        wanted = pixels(tmp_path / "png" / path.parent.name / f"{path.stem}.png").astype(int)
        assert np.abs(there - wanted).max() <= (0 if exact else 60)
    assert len(list((tmp_path / "out").rglob(f"*.{form}"))) == 30


def test_a_size(moving, photos, tmp_path):
    augment(open_data(photos).dataset, moving, tmp_path / "out", copies=1, real=True, size=(10, 14))
    shapes = {pixels(path).shape for path in (tmp_path / "out").rglob("*.png")}
    assert shapes == {(10, 14)}
    assert len(list((tmp_path / "out").rglob("*.png"))) == 62


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_images(bank, tmp_path, dtype):
    class Deep(Shapes):
        def __getitem__(self, index):
            most = 65_535 if dtype == np.uint16 else 1.0
            return (self.data[index] / 255 * most).astype(dtype), self.targets[index]

    augment(Deep(), bank.with_policy(p_generate=0.0, p_jitter=0.5), tmp_path / "out", copies=1, real=True)
    read = pixels(tmp_path / "out" / "across" / "000000.png")
    assert read.dtype == (np.uint16 if dtype == np.uint16 else np.uint8)
    assert np.array_equal(read, (Deep().data[0] / 255 * (65_535 if dtype == np.uint16 else 255)).astype(read.dtype))
    if dtype == np.uint16:
        with pytest.raises(ValueError, match="jpg files cannot hold images of 1 channels and 16 bits"):
            augment(Deep(), bank, tmp_path / "jpg", format="jpg")


def test_more_for_some_classes(moving, shapes, tmp_path):
    few = torch.utils.data.Subset(shapes, [*range(4), *range(10, 30)])
    done = augment(few, moving, tmp_path / "out", copies=2, sampling_strategy="not majority")
    assert done.counts == dict.fromkeys(Shapes.classes, 20)
    assert len(list((tmp_path / "out" / "across").iterdir())) == 20


# ---- shards, tar files ----


def test_shards_are_together_the_whole(moving, tmp_path):
    shapes = Shapes(per_class=2 * MOST)
    augment(shapes, moving, tmp_path / "whole", copies=2, real=True)
    for number in (2, 0, 1):
        done = augment(shapes, moving, tmp_path / "parts", copies=2, real=True, shard=(number, 3))
        assert done.total > 0
    whole, parts = contents(tmp_path / "whole"), contents(tmp_path / "parts")
    del whole["manifest.json"]
    manifests = [json.loads(parts.pop(f"manifest-{number}-of-3.json")) for number in range(3)]
    assert parts == whole
    assert sum(entry["images"] for manifest in manifests for entry in manifest["classes"]) == 3 * len(shapes)
    with pytest.raises(FileExistsError, match="holds images of seed 0, not 1"):
        augment(shapes, moving, tmp_path / "parts", copies=2, real=True, shard=(1, 3), seed=1, overwrite=True)


def test_a_shard_is_removed_alone(moving, tmp_path):
    shapes = Shapes(per_class=2 * MOST)
    for number in (0, 1):
        augment(shapes, moving, tmp_path / "out", copies=1, shard=(number, 2))
    before = contents(tmp_path / "out")
    augment(shapes, moving, tmp_path / "out", copies=1, shard=(1, 2), overwrite=True)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("others", [["made/thesis.txt"], ["made/down/mine.png"], ["made/manifest.json"]])
def test_a_shard_goes_into_no_folder_of_something_else(moving, shapes, tmp_path, others):
    for path in others:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match="made is not empty"):
        augment(shapes, moving, tmp_path / "made", shard=(0, 2))
    assert contents(tmp_path) == before


@pytest.fixture
def small_tars(monkeypatch):
    monkeypatch.setattr("vae_augment.exporting.augmenting.IN_A_TAR", 25)


def test_tar_files_hold_what_folders_do(moving, photos, tmp_path, small_tars):
    dataset = open_data(photos).dataset
    done = augment(dataset, moving, tmp_path / "out", copies=2, real=True, format="webdataset")
    assert sorted(path.name for path in tmp_path.glob("out/*.tar")) == [f"00000{n}.tar" for n in range(4)]
    augment(dataset, moving, tmp_path / "folders", copies=2, real=True)
    wanted = sorted(path.read_bytes() for path in (tmp_path / "folders").glob("*/*"))
    found, labels = [], []
    for path in sorted(tmp_path.glob("out/*.tar")):
        with tarfile.open(path) as tar:
            members = [(member.name, tar.extractfile(member).read()) for member in tar]
        for image, label, told in zip(members[::3], members[1::3], members[2::3], strict=True):
            assert len({name.split(".")[0] for name, _ in (image, label, told)}) == 1
            known = json.loads(told[1])
            assert int(label[1]) == known["label"] == dataset.class_to_idx[known["class"]]
            found.append(image[1])
            labels.append(known["label"])
    assert sorted(found) == wanted
    assert len(found) == done.total == 93
    assert labels != sorted(labels)  # mixed


def test_tar_files_in_shards_and_resumed(moving, shapes, tmp_path, small_tars):
    augment(shapes, moving, tmp_path / "whole", copies=4, format="webdataset")
    for number in range(3):
        augment(shapes, moving, tmp_path / "parts", copies=4, format="webdataset", shard=(number, 3))
    tars = {name: content for name, content in contents(tmp_path / "whole").items() if name.endswith(".tar")}
    assert len(tars) == 5
    assert {name: content for name, content in contents(tmp_path / "parts").items() if name.endswith(".tar")} == tars
    (tmp_path / "whole" / "000001.tar").unlink()
    (tmp_path / "whole" / "000002.tar").write_bytes(tars["000002.tar"][:700])
    seen = []
    augment(shapes, moving, tmp_path / "whole", copies=4, format="webdataset", resume=True, on_images=seen.append)
    assert seen == [70, 25, 25]
    assert {name: content for name, content in contents(tmp_path / "whole").items() if name.endswith(".tar")} == tars


# ---- ended, resumed, refused ----


def test_what_was_cut_short_is_made_again(moving, shapes, tmp_path):
    augment(shapes, moving, tmp_path / "out", copies=2)
    whole = contents(tmp_path / "out")
    paths = sorted((tmp_path / "out").rglob("*.png"))
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:-5])
    seen = []
    augment(shapes, moving, tmp_path / "out", copies=2, resume=True, on_images=seen.append)
    assert (seen[0], sum(seen)) == (58, 60)
    assert contents(tmp_path / "out") == whole
    with pytest.raises(FileExistsError, match="holds images of copies 2, not 3"):
        augment(shapes, moving, tmp_path / "out", copies=3, resume=True)


@pytest.mark.slow
def test_a_killed_export_is_resumed_to_the_same_bytes(moving, tmp_path):
    moving.save(tmp_path / "bank.safetensors")
    save_shapes(tmp_path / "photos", per_class=100)
    command = [sys.executable, "-m", "vae_augment", "augment", "bank.safetensors", "--data", "photos", "--copies", "8"]
    started = time.monotonic()
    subprocess.run([*command, "--out", "whole", "--real"], cwd=tmp_path, check=True, capture_output=True)
    took, whole = time.monotonic() - started, contents(tmp_path / "whole")
    trials = int(os.environ.get("FAULT_TRIALS", "1"))
    for instant in range(trials):
        process = subprocess.Popen([*command, "--out", "out", "--real", "--workers", "2"], cwd=tmp_path, stderr=-3)
        time.sleep(took * (0.6 + 0.3 * instant / trials))
        process.send_signal(signal.SIGKILL)
        process.wait()
        resumed = subprocess.run([*command, "--out", "out", "--real", "--resume"], cwd=tmp_path, capture_output=True)
        assert resumed.returncode == 0, resumed.stderr
        assert contents(tmp_path / "out") == whole
        shutil.rmtree(tmp_path / "out")


def test_the_command(moving, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    moving.save("bank.safetensors")
    code, out, _ = run("augment bank.safetensors --data photos --out made --copies 2 --real --size 10x12 --seed 3")
    assert (code, out) == (0, "93 images of 3 classes written to made.\n")
    assert pixels("made/down/00-aug1.png").shape == (12, 10)
    dataset = open_data("photos").dataset
    augment(dataset, "bank.safetensors", "again", copies=2, real=True, size=(12, 10), seed=3)
    assert contents("made") == contents("again")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--shard 2/2", "'2/2' is not i/N with i from 0 to N - 1, such as 0/4."),
        ("--shard 1", "'1' is not i/N"),
        ("--size big", "'big' is neither a side such as 224 nor WIDTHxHEIGHT such as 320x240."),
        ("--copies 0", "copies must be a whole number of at least 1 and at most 10,000, got 0."),
        ("--format gif", "'gif' is not one of 'png', 'jpg', 'webp', 'webdataset'"),
        ("--resume --overwrite", "give resume or overwrite, not both."),
        ("--sampling-strategy most", "sampling_strategy must be one of"),
        ("--workers -1", "-1 is not in the range x>=0"),
        ("--out photos/made", "photos/made lies in the data, photos. Name another folder."),
    ],
)
def test_wrong_options_are_one_line(moving, photos, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    moving.save("bank.safetensors")
    assert message in refused(f"augment bank.safetensors --data photos --out made {options}")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"copies": 1.5}, TypeError, "copies must be a whole number"),
        ({"format": "gif"}, ValueError, "format must be one of 'png', 'jpg', 'webp', 'webdataset', got 'gif'"),
        ({"size": (1, 2, 3)}, ValueError, "size must be one number, or a height and a width"),
        ({"shard": (2, 2)}, ValueError, "shard must be two whole numbers i and N with 0 <= i < N, got 2, 2"),
        ({"real": 1}, TypeError, "real must be True or False"),
        ({"colour": 1}, TypeError, "unexpected keyword argument 'colour'"),
    ],
)
def test_wrong_arguments(moving, shapes, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        augment(shapes, moving, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


# ---- the wrapper without transforms ----


def test_an_untransformed_wrapper_serves_raw_images_and_labels(moving):
    wrapper = VAEAugmentedDataset(Shapes(transform=ToTensor(), target_transform=str), moving, seed=1)
    plain = VAEAugmentedDataset(Shapes(), moving, seed=1)
    for (raw, label), (image, wanted) in zip(wrapper.untransformed(), plain, strict=True):
        assert (label, raw.mode, np.array_equal(np.asarray(raw), np.asarray(image))) == (wanted, "L", True)
    assert isinstance(wrapper[0][0], torch.Tensor)  # itself as it was
    collected = [label for _, label in DataLoader(wrapper.untransformed(), batch_size=None, num_workers=2)]
    assert collected == Shapes().targets


def test_sources_tell_what_return_source_does(moving, shapes):
    wrapper = VAEAugmentedDataset(shapes, moving, seed=5, return_source=True)
    for epoch in (0, 3):
        wrapper.set_epoch(epoch)
        assert wrapper.sources().tolist() == [source for _, _, source in wrapper]


@pytest.mark.filterwarnings("ignore:item 137 has label")
def test_an_item_whose_label_is_not_that_of_the_list_is_refused(moving, tmp_path):
    class Disputed(Shapes):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return image, 2 if index == 137 else label

    with pytest.raises(
        ValueError, match="item 137 is of class 'slanted' when it is read, and of 'down' in the dataset"
    ):
        augment(Disputed(per_class=100), moving, tmp_path / "out", copies=1)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_cannot_be_read_is_named(moving, photos, tmp_path, workers):
    path = photos / "slanted" / "29.jpg"
    dataset = open_data(photos).dataset
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"cannot read .*29.jpg.* of class 'slanted': its header is damaged"):
        augment(dataset, moving, tmp_path / "out", copies=4, workers=workers)


def test_data_is_not_written_over(moving, photos):
    before = contents(photos)
    with pytest.raises(ValueError, match="out must be another folder than that of the data"):
        augment(open_data(photos).dataset, moving, photos, overwrite=True)
    assert contents(photos) == before


def test_folders_meet_their_own_classes_by_name(moving, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    moving.save("bank.safetensors")
    assert run("augment bank.safetensors --data photos --out whole --copies 1")[0] == 0
    shutil.rmtree(photos / "across")
    moving.subset(["down", "slanted"]).save("two.safetensors")
    for bank in ("bank", "two"):
        code, _, err = run(f"augment {bank}.safetensors --data photos --out {bank} --copies 1 -q")
        assert (code, err) == (0, "")
        assert {path.name for path in Path(bank).iterdir() if path.is_dir()} == {"down", "slanted"}


@pytest.mark.slow
def test_shards_at_the_same_time(moving, tmp_path):
    moving.save(tmp_path / "bank.safetensors")
    save_shapes(tmp_path / "photos", per_class=200)
    command = [sys.executable, "-m", "vae_augment", "augment", "bank.safetensors", "--data", "photos", "--copies", "3"]
    augment(open_data(tmp_path / "photos").dataset, moving, tmp_path / "whole", copies=3)
    for again in ([], ["--overwrite"]):
        runs = [
            subprocess.Popen([*command, "--out", "parts", "--shard", f"{n}/2", *again], cwd=tmp_path, stderr=-1)
            for n in range(2)
        ]
        assert [each.communicate()[1].decode().count("error") for each in runs] == [0, 0]
        assert [each.returncode for each in runs] == [0, 0]
        whole, parts = contents(tmp_path / "whole"), contents(tmp_path / "parts")
        assert {name: parts[name] for name in parts if "manifest" not in name} == {
            name: whole[name] for name in whole if "manifest" not in name
        }


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_any_start_method_writes_the_same(moving, photos, tmp_path, method):
    moving.save(tmp_path / "bank.safetensors")
    code = (
        "import multiprocessing, sys\n"
        "from vae_augment import augment\nfrom vae_augment.data import open_data\n"
        "if __name__ == '__main__':\n"
        f"    multiprocessing.set_start_method({method!r})\n"
        "    augment(open_data('photos').dataset, 'bank.safetensors', 'out', copies=24, workers=2)\n"
    )
    (tmp_path / "script.py").write_text(code)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    augment(open_data(photos).dataset, moving, tmp_path / "whole", copies=24)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
