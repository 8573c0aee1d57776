from __future__ import annotations

import errno
import hashlib
import importlib
import io
import json
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import ImageFolder

import vae_augment
from vae_augment import VAEBank
from vae_augment.exceptions import PolicyWarning
from vae_augment.exporting import BLOCK, WORTH_A_PROCESS, counts_per_class, export, parts, poor_images
from vae_augment.files.folder_names import CLASSES, folder_names
from vae_augment.files.folders import write_json
from vae_augment.images.encoding import encode_pngs


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def open_png(path):
    with Image.open(path) as image:
        image.load()
    return image


def renamed(bank, names):
    """A bank of classes with these names, made of the first class's VAE."""
    rows = [0] * len(names)
    infos = tuple(replace(bank.class_infos[0], name=name, label=label) for label, name in enumerate(names))
    content = replace(
        bank.content,
        weights=bank.content.weights.pick(rows),
        stats=bank.stats.pick(rows),
        class_infos=infos,
        start=None,
    )
    return VAEBank(content)


def test_export_is_a_function_of_the_package_however_its_module_was_imported():
    importlib.import_module("vae_augment.exporting")
    assert callable(vae_augment.export)


def test_image_folder_reads_back_labels_and_images(bank, tmp_path):
    done = export(bank, tmp_path / "out", per_class=4)
    assert (done.folder, done.counts, done.total) == (tmp_path / "out", dict.fromkeys(bank.classes, 4), 12)
    read = ImageFolder(tmp_path / "out", loader=open_png)
    assert read.classes == list(bank.classes)
    assert read.class_to_idx == bank.class_to_idx
    assert read.targets == [label for label in range(3) for _ in range(4)]
    assert {(image.format, image.mode, image.size) for image, _ in read} == {("PNG", "L", (12, 12))}
    assert [path.split("/")[-1] for path, _ in read.samples[:4]] == [f"{n:06d}.png" for n in range(4)]


def test_exported_images_are_what_the_bank_draws(bank, tmp_path, monkeypatch):
    drawn = []
    sample = VAEBank.sample
    monkeypatch.setattr(VAEBank, "sample", lambda *a, **k: drawn.append(sample(*a, **k)) or drawn[-1])
    export(bank, tmp_path / "out", per_class=3)
    wanted = [image[0].numpy() for block in drawn for image in block[:3]]
    read = [np.asarray(image) for image, _ in ImageFolder(tmp_path / "out", loader=open_png)]
    assert len(read) == len(wanted) == 9
    assert all(np.array_equal(a, b) for a, b in zip(read, wanted, strict=True))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_a_png_holds_every_value(channels, mode):
    images = torch.randint(0, 256, (3, channels, 9, 17), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    files = list(encode_pngs(images))
    assert len(files) == 3
    for image, file in zip(images, files, strict=True):
        read = Image.open(io.BytesIO(bytes(file)))
        assert read.mode == mode
        assert np.array_equal(np.asarray(read).reshape(9, 17, channels), image.permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ({"per_class": 2, "count": None}, [2, 2, 2]),
        ({"per_class": None, "count": 6}, [2, 2, 2]),
        ({"per_class": None, "count": 8}, [3, 3, 2]),
        ({"per_class": None, "count": 1}, [1, 0, 0]),
        ({"per_class": None, "count": None}, [500, 500, 500]),
    ],
)
def test_a_count_is_split_evenly_the_remainder_to_the_first(options, counts):
    assert counts_per_class(3, **options) == counts


def test_the_manifest_says_what_was_done(bank, bank_path, tmp_path):
    export(bank, tmp_path / "out", count=8, method="gaussian", seed=5)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest == {
        "format": "png",
        "bank_sha256": hashlib.sha256(bank_path.read_bytes()).hexdigest(),
        "method": "gaussian",
        "seed": 5,
        "images": 8,
        "classes": [
            {"folder": name, "name": name, "label": label, "images": images}
            for label, (name, images) in enumerate(zip(bank.classes, (3, 3, 2), strict=True))
        ],
    }


def test_the_manifest_names_the_policys_method(bank, tmp_path):
    export(bank, tmp_path / "out", count=3)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["method"] == bank.policy.method


def test_the_same_seed_gives_the_same_bytes(bank, bank_path, tmp_path):
    export(bank, tmp_path / "a", per_class=3, seed=7)
    export(VAEBank.load(bank_path), tmp_path / "other" / "b", per_class=3, seed=7)
    assert contents(tmp_path / "a") == contents(tmp_path / "other" / "b")


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more processes than cores, perhaps
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_processes_writes_the_same_bytes(bank, tmp_path, workers):
    count = 3 * (BLOCK + 5)  # whole blocks and parts of one
    alone, together = (export(bank, tmp_path / str(n), count=count, workers=n).folder for n in (0, workers))
    assert len(contents(alone)) == count + 2
    assert contents(alone) == contents(together)


def test_images_do_not_depend_on_the_threads(bank, tmp_path, monkeypatch):
    threads = torch.get_num_threads()
    for n in (1, 3):
        torch.set_num_threads(n)
        try:
            export(bank, tmp_path / str(n), count=30, workers=0)
            assert torch.get_num_threads() == n
        finally:
            torch.set_num_threads(threads)
    assert contents(tmp_path / "1") == contents(tmp_path / "3")


@pytest.mark.parametrize(
    ("asked", "blocks", "started"),
    [(None, 1, 0), (None, 2 * WORTH_A_PROCESS - 1, 0), (None, 2 * WORTH_A_PROCESS, 2), (None, 1000, 4), (0, 1000, 0),
     (1, 1000, 0), (2, 1, 0), (9, 1000, 9), (100_000, 3, 3)],
)  # fmt: skip
def test_processes_are_started_where_there_is_work_for_them(monkeypatch, asked, blocks, started):
    monkeypatch.setattr(parts.os, "sched_getaffinity", lambda pid: range(4), raising=False)
    assert parts.processes(asked, blocks, WORTH_A_PROCESS) == started


def test_shards_are_together_the_whole(bank, tmp_path):
    counts = {"per_class": 2 * BLOCK + 5}
    export(bank, tmp_path / "whole", **counts)
    for number in (1, 3, 0, 2):
        export(bank, tmp_path / "parts", **counts, shard=(number, 4))
    whole, together = contents(tmp_path / "whole"), contents(tmp_path / "parts")
    del whole["manifest.json"]
    shares = [json.loads(together.pop(f"manifest-{number}-of-4.json"))["images"] for number in range(4)]
    assert together == whole
    assert (sum(shares), min(shares)) == (3 * counts["per_class"], BLOCK + 5)
    (tmp_path / "parts" / "across" / "000300.png").unlink()
    for number in range(4):
        export(bank, tmp_path / "parts", **counts, shard=(number, 4), resume=True)
        assert (tmp_path / "parts" / "across" / "000300.png").exists() == (number > 0)  # block 1 is shard 1's


def test_tar_files_hold_what_folders_do(bank, tmp_path):
    counts = {"count": 2 * 3 * BLOCK - 4}
    export(bank, tmp_path / "folders", **counts)
    export(bank, tmp_path / "out", **counts, format="webdataset")
    wanted = contents(tmp_path / "folders")
    found = {}
    for path in sorted(tmp_path.glob("out/*.tar")):
        with tarfile.open(path) as tar:
            members = {member.name: tar.extractfile(member).read() for member in tar}
        for name, told in members.items():
            if name.endswith(".json"):
                known, key = json.loads(told), name[:-5]
                assert int(members[f"{key}.cls"]) == known["label"]
                found[f"{known['class']}/{known['number']:06d}.png"] = members[f"{key}.png"]
    assert found == {name: content for name, content in wanted.items() if name.endswith(".png")}
    for number in range(2):
        export(bank, tmp_path / "parts", **counts, format="webdataset", shard=(number, 2))
    tars, parts_of = (
        {name: content for name, content in contents(tmp_path / folder).items() if name.endswith(".tar")}
        for folder in ("out", "parts")
    )
    assert (len(tars), parts_of) == (2, tars)
    with pytest.raises(FileExistsError, match="holds images of counts"):
        export(bank, tmp_path / "out", count=7, format="webdataset", resume=True)


def test_poor_images_are_told_of(bank, tmp_path):
    with pytest.warns(PolicyWarning, match=r"precision 0.20, below 0.5.*vae-augment augment"):
        export(bank.with_data(quality={"precision": 0.2}), tmp_path / "out", per_class=1)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_full_disk_is_told_as_such(bank, tmp_path, monkeypatch, workers):
    def full(folder, name, content):
        raise OSError(errno.ENOSPC, "No space left on device", f"{folder}/{name}")

    monkeypatch.setattr("vae_augment.exporting.write_quickly", full)
    with pytest.raises(OSError, match=r"^\[Errno 28\] No space left on device: '.*000000.png'$") as caught:
        export(bank, tmp_path / "out", per_class=2, workers=workers)
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("option", [{"seed": 8}, {"method": "prior"}])
def test_another_seed_or_method_gives_other_images(bank, tmp_path, option):
    export(bank, tmp_path / "a", per_class=3, seed=7)
    export(bank, tmp_path / "b", per_class=3, **{"seed": 7} | option)
    a, b = (
        {name: content for name, content in contents(tmp_path / folder).items() if name.endswith(".png")}
        for folder in "ab"
    )
    assert a.keys() == b.keys()
    assert all(a[name] != b[name] for name in a)


def test_an_image_does_not_depend_on_the_count_or_the_other_classes(bank, tmp_path):
    few, many, one = (
        export(b, tmp_path / name, per_class=n).folder
        for name, b, n in (("few", bank, 2), ("many", bank, 300), ("one", bank.subset(["down"]), 2))
    )
    assert contents(few / "down") == {k: v for k, v in contents(many / "down").items() if k < "000002"}
    assert contents(one / "down") == contents(few / "down")
    assert len(set(contents(many / "down").values())) == 300


HOSTILE = {
    "separators": ["a/b", "a\\b", "c:d"],
    "dots": ["..", ".", "a.", ".hidden"],
    "reserved": ["CON", "nul.txt", "z"],
    "other letters": ["猫", "🐈", "é"],
    "the manifest's": ["classes.json", "manifest.json"],
    "eleven numbers": [str(n) for n in range(11)],
    "FashionMNIST": ["T-shirt/top", "Trouser", "Pullover"],
    "percent": ["100%", "%2F"],
    "300 characters": ["x" * 300, "x" * 301, "😀" * 300, "/" * 300],
    "equal but for case": ["Cat", "cat", "CAT"],
    "equal but for how accents are written": ["caf\u00e9", "cafe\u0301"],
    "lines, writing direction and escapes": ["a\nb", "a\u202eb", "\x1b[2J", "$\\alpha"],
}


@pytest.mark.parametrize("names", HOSTILE.values(), ids=HOSTILE)
def test_any_class_name_is_read_back_in_label_order(bank, tmp_path, names):
    export(renamed(bank, names), tmp_path / "out", per_class=1)
    read = ImageFolder(tmp_path / "out")
    written = json.loads((tmp_path / "out" / "classes.json").read_text())
    assert [written[folder] for folder in read.classes] == names
    assert read.targets == list(range(len(names)))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=90), min_size=1, unique=True))
def test_the_file_of_classes_gives_any_names_back(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("out") / CLASSES
    folders = folder_names(names)
    write_json(path, dict(zip(folders, names, strict=True)))
    assert list(json.loads(path.read_bytes()).items()) == list(zip(folders, names, strict=True))


@pytest.mark.parametrize("names", [["Cat", "cat"], ["x" * 300, "x" * 301]])
def test_shortened_folders_are_known_again(bank, tmp_path, names):
    odd, out = renamed(bank, names), tmp_path / "out"
    export(odd, out, per_class=4)
    whole = contents(out)
    for path in list(out.glob("*/000002.png")):
        path.unlink()
    export(odd, out, per_class=4, resume=True)
    assert contents(out) == whole
    export(odd, out, per_class=1, overwrite=True)
    assert len(contents(out)) == 2 + 2
    assert json.loads((out / "classes.json").read_text()).keys() == {
        path.name for path in out.iterdir() if path.is_dir()
    }


def test_a_class_without_a_name_is_refused(bank, tmp_path):
    with pytest.raises(ValueError, match="class name must not be empty"):
        export(renamed(bank, ["cat", ""]), tmp_path / "out", per_class=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "jpeg"}, "format must be .*'png'.*, got 'jpeg'"),
        ({"per_class": 1, "count": 3}, "give per_class or count, not both"),
        ({"per_class": 0}, "per_class must be a whole number from 1 to 1,000,000,000, got 0"),
        ({"count": -1}, "count must be a whole number from 1 to 1,000,000,000, got -1"),
        (
            {"count": 10**30},
            "count must be a whole number from 1 to 1,000,000,000, got 1000000000000000000000000000000",
        ),
        ({"per_class": 1.5}, "per_class must be a whole number from 1 to 1,000,000,000, got 1.5"),
        ({"workers": -1}, "workers must be a whole number of at least 0, got -1"),
        ({"workers": 1.5}, "workers must be a whole number of at least 0, got 1.5"),
        ({"per_class": 1, "method": "magic"}, "method must be one of 'exemplar', .*, got 'magic'"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(bank, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        export(bank, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_images_that_png_cannot_hold_are_refused(bank, tmp_path):
    two_channels = VAEBank(replace(bank.content, vae=replace(bank.vae, image_shape=(2, 12, 12))))
    with pytest.raises(ValueError, match="PNG holds images of 1, 3 or 4 channels, the bank's have 2"):
        export(two_channels, tmp_path / "out")


def test_a_folder_that_holds_something_is_refused_and_left(bank, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="is not empty: name another folder, or empty it first"):
        export(bank, tmp_path, per_class=1)
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}
    with pytest.raises(FileExistsError, match="must be a folder, it is a file"):
        export(bank, tmp_path / "thesis.txt", per_class=1)


def test_an_empty_folder_is_used(bank, tmp_path):
    assert export(bank, tmp_path, count=3).total == len(ImageFolder(tmp_path)) == 3


def test_progress_is_told(bank, tmp_path):
    told = []
    export(bank, tmp_path / "out", count=8, on_images=told.append)
    assert sum(told) == 8


def test_fewer_images_than_classes_leave_no_empty_folder(bank, tmp_path):
    export(bank, tmp_path / "out", count=2)
    assert ImageFolder(tmp_path / "out").targets == [0, 1]


def test_poor_images_are_told_by_precision_and_by_near_duplicates(bank):
    def told(**figures):
        return poor_images(bank.with_data(quality={"precision": 0.9, "near_duplicates": 2, "generated": 80} | figures))

    assert told() == told(near_duplicates=20) == poor_images(bank.with_data(quality={})) == ""
    assert "precision 0.30, below 0.5" in told(precision=0.3)
    assert told(near_duplicates=21).startswith("21 of 80 generated images lie nearer to a training image")
