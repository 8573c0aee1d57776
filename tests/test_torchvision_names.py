"""Torchvision's datasets by name: each entry of the table against torchvision, and tiny copies of them on disk."""

from __future__ import annotations

import bz2
import csv
import gc
import inspect
import json
import pickle
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from scipy.io import savemat

from tests.commands import run
from vae_augment.data import KNOWN, open_data, torchvision_names
from vae_augment.exceptions import DataWarning
from vae_augment.source import Source

PARTS = [
    (name, part) for name in KNOWN for part in ("train", "test") if part == "train" or KNOWN[name].test is not None
]
WITHOUT_TEST = sorted(name for name in KNOWN if KNOWN[name].test is None)
BY_HAND = sorted(name for name in KNOWN if KNOWN[name].source or KNOWN[name].gigabytes)
GUIDE = Path(__file__).parents[1] / "docs" / "guide.md"


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """A machine without data and without a network; the folder it works in."""

    def download(*arguments):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(torchvision_names, "download", download)
    monkeypatch.delenv("VAE_AUGMENT_DATA", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- the table ----


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_the_options_of_a_part_are_the_classes_own(name, part):
    known = KNOWN[name]
    signature = inspect.signature(getattr(torchvision.datasets, known.class_name))
    bound = signature.bind("root", **known.options(part), **({} if known.source else {"download": False}))
    assert known.options(part).keys() <= bound.arguments.keys() | bound.arguments.get("kwargs", {}).keys()
    if not known.source:
        assert "download" in bound.arguments or "download" in bound.arguments["kwargs"]


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_torchvision_takes_the_options_and_finds_nothing(offline, name, part):
    known = KNOWN[name]
    opener = getattr(torchvision.datasets, known.class_name)
    with pytest.raises((RuntimeError, FileNotFoundError)):  # and no ValueError of an option
        opener(str(offline), **known.options(part), **({} if known.source else {"download": False}))


def test_the_parts_of_a_dataset_differ():
    assert [name for name in KNOWN if KNOWN[name].train == KNOWN[name].test] == []


def test_there_are_as_many_as_there_ought_to_be():
    assert len(KNOWN) >= 39
    assert all(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", name) for name in KNOWN)


def test_the_guide_lists_all_names():
    listed = re.search(r"`--data` takes a name\n\n((?:    .*\n)+)", GUIDE.read_text()).group(1)
    assert sorted(re.findall(r"[\w-]+", listed)) == sorted(KNOWN)


# ---- what is not there ----


@pytest.mark.parametrize("name", sorted(set(KNOWN) - {"mnist"}))
def test_a_dataset_that_is_not_there_is_named_and_where_its_files_go(offline, name):
    with pytest.raises(ConnectionError) as caught:
        open_data(name)
    message = str(caught.value)
    assert message.startswith(f"{name} is not on this machine and cannot be downloaded (")
    assert message.endswith(
        f" Put it in torchvision's layout ({KNOWN[name].place}) into a folder and name that as the root."
    )
    assert ("no route to host" in message) == (name not in BY_HAND)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("stanford-cars", "(torchvision has no download of it: get it from a mirror of ai.stanford.edu/~jkrause/cars/"),
        ("fer2013", "(torchvision has no download of it: get it from kaggle.com/c/challenges-in-repr"),
        (
            "lfw-people",
            "(torchvision has no download of it: get it from kaggle.com/datasets/jessicali9530/lfw-dataset)",
        ),
        ("imagenet", "(torchvision has no download of it: get it from image-net.org"),
        (
            "sun397",
            "(its 37 GB are too much to do so unasked: torchvision.datasets.SUN397('FOLDER', download=True) does)",
        ),
        (
            "places365",
            "(its 24 GB are too much to do so unasked: torchvision.datasets.Places365('FOLDER', "
            "split='train-standard', small=True, download=True) does)",
        ),
    ],
)
def test_what_is_not_downloaded_is_said_where_to_get(name, said):
    with pytest.raises(ConnectionError, match=re.escape(said)):
        open_data(name)


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_looking_for_a_dataset_makes_no_folders(offline, name, part):
    (offline / "data").mkdir()
    with pytest.raises(FileNotFoundError, match=re.escape(f"below it ({KNOWN[name].place}). Leave the root out")):
        open_data(name, part=part, root="data")
    with pytest.warns(DataWarning) if name == "mnist" else pytest.raises(ConnectionError):
        open_data(name, part=part)
    assert list(offline.rglob("*")) == [offline / "data"]


def test_a_root_that_is_no_folder_is_an_error(offline):
    Path("file").write_text("")
    for root in ("file", "nowhere", "file/below"):
        with pytest.raises(FileNotFoundError, match=f"no CIFAR10 in {root}: expected torchvision's layout"):
            open_data("cifar10", root=root)


@pytest.mark.parametrize("name", WITHOUT_TEST)
def test_a_dataset_without_a_test_part_says_so(name):
    with pytest.raises(ValueError, match=rf"^{name} has no test part: evaluate without --test, which holds some of "):
        open_data(name, part="test")


def test_evaluate_says_so_too(offline):
    write_eurosat(offline)
    code, out, err = run("evaluate --data eurosat --test eurosat --root .")
    assert (code, out) == (2, "")
    assert err == (
        "vae-augment: error: eurosat has no test part: evaluate without --test, which holds some of --data out.\n"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "EOFError: Compressed file ended"),
        (b"BZh9 nonsense", "Invalid data stream"),
        (bz2.compress(b"1 1:0 2:0"), "ValueError: cannot reshape array of size 2"),
        (bz2.compress(b"x" + b" 1:0" * 256), "ValueError: invalid literal for int"),
        (bz2.compress(b"1" + b" 1:0" * 256)[:-5], "EOFError: Compressed file ended"),
    ],
    ids=["empty", "nonsense", "short", "no number", "cut"],
)
def test_what_is_damaged_is_told_and_nothing_else(offline, content, reason):
    Path("usps.bz2").write_bytes(content)
    said = rf"has usps\*\.bz2, but it cannot be opened: ({reason})"
    with pytest.raises(FileNotFoundError, match=f"no USPS in .: expected torchvision's layout.*{said}"):
        open_data("usps", root=".")
    Path("data").mkdir()
    Path("usps.bz2").rename("data/usps.bz2")
    with pytest.raises(ConnectionError, match=rf"usps is not on.*\(no route to host; data {said}.*\)\. Put it"):
        open_data("usps")
    code, out, err = run("fit --data usps --root data")
    assert (code, out) == (2, "")
    assert re.match(rf"vae-augment: error: no USPS in data: .*{said}", err)
    assert err.count("\n") == 1


def test_torchvisions_hint_at_its_own_option_is_left_out(offline):
    (offline / "MNIST").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"has MNIST, but it cannot be opened: Dataset not found\. Leave the root"
    ):
        open_data("mnist", root=".")


def test_a_damaged_copy_does_not_hide_a_whole_one(offline):
    (offline / "data").mkdir()
    (offline / "data" / "usps.bz2").write_bytes(b"")
    write_usps(offline / "torch" / "datasets")
    assert len(open_data("usps").dataset) == 2


# ---- names that there are not ----


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("nmist", "mnist or .*"),
        ("FashionMNIST", "fashion-mnist( or .*)?"),
        ("cifar-10", "cifar10 or cifar100"),
        ("oxfordpets", "oxford-pets"),
        ("flowers", "flowers102"),
    ],
)
def test_the_nearest_names_are_offered(name, near):
    with pytest.raises(
        ValueError, match=rf"^unknown dataset '{name}': did you mean {near}\? Else name a folder of class fo"
    ):
        open_data(name)


def test_a_name_like_no_other_gets_them_all():
    message = f"^unknown dataset 'zzz': name a folder of class folders, or one of {', '.join(KNOWN)}\\.$"
    with pytest.raises(ValueError, match=message):
        open_data("zzz")


# ---- tiny copies on disk ----


def save(path, shade=0, size=(9, 9)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, shade, shade)).save(path)


def lines(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows))


def idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {"uint8": 8, ">i4": 12}[array.dtype.str if array.dtype.kind == "i" else array.dtype.name]
    path.write_bytes(bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())


def write_emnist_letters(root):
    for part in ("train", "test"):
        at = root / "EMNIST" / "raw" / f"emnist-letters-{part}"
        idx(Path(f"{at}-images-idx3-ubyte"), np.zeros((2, 28, 28), np.uint8))
        idx(Path(f"{at}-labels-idx1-ubyte"), np.array([26, 1], np.uint8))
    return [26, 1], {1: "a", 26: "z"}


def write_qmnist(root):
    for part in ("train", "test"):
        idx(root / "QMNIST" / "raw" / f"qmnist-{part}-images-idx3-ubyte", np.zeros((2, 28, 28), np.uint8))
        idx(root / "QMNIST" / "raw" / f"qmnist-{part}-labels-idx2-int", np.array([[7] * 8, [3] * 8], ">i4"))
    return [7, 3], {3: "3 - three", 7: "7 - seven"}


def write_usps(root):
    root.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(f"{label} " + " ".join(f"{i + 1}:-0.5" for i in range(256)) for label in (10, 1))
    for name in ("usps.bz2", "usps.t.bz2"):
        (root / name).write_bytes(bz2.compress(rows.encode()))
    return [9, 0], {0: "0", 9: "9"}


def write_semeion(root):
    pixels = " ".join(["1.0000"] * 256)
    lines(root / "semeion.data", *(f"{pixels} {' '.join(str(int(k == d)) for d in range(10))}" for k in (4, 0)))
    return [4, 0], {0: "0", 4: "4"}


def write_svhn(root):
    for part in ("train", "test"):
        savemat(root / f"{part}_32x32.mat", {"X": np.zeros((32, 32, 3, 3), np.uint8), "y": np.array([[10], [1], [9]])})
    return [0, 1, 9], {0: "0", 1: "1", 9: "9"}


def write_gtsrb(root):
    for k in (0, 1):
        save(root / "gtsrb" / "GTSRB" / "Training" / f"0000{k}" / "0.ppm")
        save(root / "gtsrb" / "GTSRB" / "Final_Test" / "Images" / f"{k}.ppm")
    lines(root / "gtsrb" / "GT-final_test.csv", "Filename;ClassId", "0.ppm;0", "1.ppm;1")
    return [0, 1], {0: "0", 1: "1"}


def write_rendered_sst2(root):
    for part in ("train", "test"):
        for name in ("positive", "negative"):
            save(root / "rendered-sst2" / part / name / "0.png")
    return [0, 1], {0: "negative", 1: "positive"}


def write_cifar10(root):
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]:
        (folder / name).write_bytes(pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [1]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["airplane", "automobile"]}))
    return [1], {1: "automobile"}


def write_stl10(root):
    folder = root / "stl10_binary"
    folder.mkdir()
    for name in ("train", "test", "unlabeled"):
        (folder / f"{name}_X.bin").write_bytes(bytes(2 * 3 * 96 * 96))
        (folder / f"{name}_y.bin").write_bytes(bytes([2, 1]))
    lines(folder / "class_names.txt", "airplane", "bird")
    return [1, 0], {0: "airplane", 1: "bird"}


def write_eurosat(root):
    for name in ("River", "Forest"):
        save(root / "eurosat" / "2750" / name / "1.jpg")
    return [0, 1], {0: "Forest", 1: "River"}


def write_fer2013(root):
    path = root / "fer2013" / "fer2013.csv"
    path.parent.mkdir()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["emotion", "pixels", "Usage"])
        for label, usage in ((6, "Training"), (0, "Training"), (6, "PublicTest"), (0, "PrivateTest")):
            writer.writerow([label, " ".join(["7"] * 48 * 48), usage])
    return [6, 0], {0: "0", 6: "6"}


def write_flowers102(root):
    folder = root / "flowers-102"
    for n in range(1, 7):
        save(folder / "jpg" / f"image_{n:05d}.jpg")
    savemat(folder / "setid.mat", {"trnid": [[1, 2]], "valid": [[3, 4]], "tstid": [[5, 6]]})
    savemat(folder / "imagelabels.mat", {"labels": [[102, 1] * 3]})
    named = hasattr(torchvision.datasets.Flowers102, "classes")
    return [101, 0], {0: "pink primrose", 101: "blackberry lily"} if named else {0: "0", 101: "101"}


def write_food101(root):
    for part in ("train", "test"):
        of = {"waffles": [f"waffles/{part}"], "ramen": [f"ramen/{part}"]}
        lines(root / "food-101" / "meta" / f"{part}.json", json.dumps(of))
        for name in of:
            save(root / "food-101" / "images" / name / f"{part}.jpg")
    return [1, 0], {0: "ramen", 1: "waffles"}


def write_oxford_pets(root):
    folder = root / "oxford-iiit-pet"
    rows = ["Abyssinian_1 1 1 1", "american_bulldog_12 2 2 1"]
    for part in ("trainval", "test"):
        lines(folder / "annotations" / f"{part}.txt", *rows)
    for row in rows:
        save(folder / "images" / f"{row.split()[0]}.jpg", size=(9, 12))
    return [0, 1], {0: "Abyssinian", 1: "American Bulldog"}


def write_dtd(root):
    for part in ("train", "test"):
        lines(root / "dtd" / "dtd" / "labels" / f"{part}1.txt", "zigzagged/0.jpg", "banded/0.jpg")
    for name in ("zigzagged", "banded"):
        save(root / "dtd" / "dtd" / "images" / name / "0.jpg")
    return [1, 0], {0: "banded", 1: "zigzagged"}


def write_aircraft(root):
    data = root / "fgvc-aircraft-2013b" / "data"
    lines(data / "variants.txt", "707-320", "A300 B4")
    for part in ("trainval", "test"):
        lines(data / f"images_variant_{part}.txt", "0000001 A300 B4", "0000002 707-320")
    for n in (1, 2):
        save(data / "images" / f"000000{n}.jpg")
    return [1, 0], {0: "707-320", 1: "A300 B4"}


def write_cars(root):
    folder = root / "stanford_cars"
    kind = [("fname", object), ("class", object)]
    annotations = np.array([("1.jpg", 2), ("2.jpg", 1)], dtype=kind)
    (folder / "devkit").mkdir(parents=True)
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": np.array(["Acura TL 2012", "smart fortwo"], object)})
    for name, images in (
        ("devkit/cars_train_annos.mat", "cars_train"),
        ("cars_test_annos_withlabels.mat", "cars_test"),
    ):
        savemat(folder / name, {"annotations": annotations})
        for n in (1, 2):
            save(folder / images / f"{n}.jpg")
    return [1, 0], {0: "Acura TL 2012", 1: "smart fortwo"}


def write_caltech101(root):
    for name in ("BACKGROUND_Google", "ant", "yin_yang"):
        save(root / "caltech101" / "101_ObjectCategories" / name / "image_0001.jpg")
    return [0, 1], {0: "ant", 1: "yin_yang"}


def write_caltech256(root):
    for k, name in enumerate(("001.ak47", "002.flag"), 1):
        save(root / "caltech256" / "256_ObjectCategories" / name / f"{k:03d}_0001.jpg")
    return [0, 1], {0: "001.ak47", 1: "002.flag"}


def write_lfw(root):
    folder = root / "lfw-py"
    lines(folder / "lfw-funneled.tgz")
    lines(folder / "lfw-names.txt", "Ada_L 1", "Bo_D 1")
    lines(folder / "people.txt", "2", "1", "Bo_D\t1", "1", "Ada_L\t1")
    for name in ("Ada_L", "Bo_D"):
        save(folder / "lfw_funneled" / name / f"{name}_0001.jpg")
    return [1, 0], {0: "Ada_L", 1: "Bo_D"}


def write_country211(root):
    for part in ("train", "test"):
        for name in ("AD", "ZW"):
            save(root / "country211" / part / name / "0.jpg")
    return [0, 1], {0: "AD", 1: "ZW"}


def write_clevr(root):
    folder = root / "clevr" / "CLEVR_v1.0"
    for part in ("train", "val"):
        scenes = [{"image_filename": f"{n}.png", "objects": [0] * n} for n in (10, 3)]
        lines(folder / "scenes" / f"CLEVR_{part}_scenes.json", json.dumps({"scenes": scenes}))
        for n in (10, 3):
            save(folder / "images" / part / f"{n}.png")
    return [10, 3], {3: "3", 10: "10"}


def write_sun397(root):
    lines(root / "SUN397" / "ClassName.txt", "/a/abbey", "/c/cabin/outdoor")
    save(root / "SUN397" / "c" / "cabin" / "outdoor" / "sun_1.jpg")
    return [1], {1: "cabin/outdoor"}


def write_places365(root):
    lines(root / "categories_places365.txt", "/a/airfield 0", "/b/barn 1")
    lines(root / "places365_train_standard.txt", "/b/barn/1.jpg 1", "/a/airfield/1.jpg 0")
    lines(root / "places365_val.txt", "1.jpg 1", "2.jpg 0")
    for path in (
        "data_256_standard/b/barn/1.jpg",
        "data_256_standard/a/airfield/1.jpg",
        "val_256/1.jpg",
        "val_256/2.jpg",
    ):
        save(root / path)
    return [1, 0], {0: "/a/airfield", 1: "/b/barn"}


def write_inaturalist(root):
    names = [f"0000{n}_Animalia_Annelida_Clitellata_Haplotaxida_Lumbricidae_Lumbricus_{s}" for n, s in enumerate("ab")]
    for version in ("2021_train_mini", "2021_valid"):
        for name in names:
            save(root / version / name / "0.jpg")
    return [0, 1], dict(enumerate(names))


def write_imagenette(root):
    for part in ("train", "val"):
        for wnid in ("n01440764", "n02102040"):
            save(root / "imagenette2-160" / part / wnid / "0.jpeg")
            (root / "imagenette2-160" / part / wnid / "0.jpeg").rename(
                root / "imagenette2-160" / part / wnid / "0.JPEG"
            )
    return [0, 1], {0: "tench", 1: "English springer"}


def write_imagenet(root):
    wnids = {"n02012849": ("crane",), "n03126707": ("crane",), "n01440764": ("tench", "Tinca tinca")}
    torch.save((wnids, []), root / "meta.bin")
    for part in ("train", "val"):
        for wnid in wnids:
            save(root / part / wnid / "0.jpeg")
    return [0, 1, 2], {0: "n01440764 tench", 1: "n02012849 crane", 2: "n03126707 crane"}


def write_pcam(root):
    h5py = pytest.importorskip("h5py")
    (root / "pcam").mkdir()
    for part in ("train", "test"):
        for kind, array in {"x": np.zeros((2, 96, 96, 3), np.uint8), "y": np.array([1, 0]).reshape(2, 1, 1, 1)}.items():
            with h5py.File(root / "pcam" / f"camelyonpatch_level_2_split_{part}_{kind}.h5", "w") as file:
                file[kind] = array
    return [1, 0], {0: "0", 1: "1"}


TINY = {
    "emnist-letters": write_emnist_letters,
    "qmnist": write_qmnist,
    "usps": write_usps,
    "semeion": write_semeion,
    "svhn": write_svhn,
    "gtsrb": write_gtsrb,
    "rendered-sst2": write_rendered_sst2,
    "cifar10": write_cifar10,
    "stl10": write_stl10,
    "eurosat": write_eurosat,
    "pcam": write_pcam,
    "fer2013": write_fer2013,
    "flowers102": write_flowers102,
    "food101": write_food101,
    "oxford-pets": write_oxford_pets,
    "dtd": write_dtd,
    "fgvc-aircraft": write_aircraft,
    "stanford-cars": write_cars,
    "caltech101": write_caltech101,
    "caltech256": write_caltech256,
    "lfw-people": write_lfw,
    "country211": write_country211,
    "clevr-count": write_clevr,
    "sun397": write_sun397,
    "places365": write_places365,
    "inaturalist": write_inaturalist,
    "imagenette-160": write_imagenette,
    "imagenet": write_imagenet,
}


@pytest.fixture
def unchecked(monkeypatch):
    """Torchvision takes files for whole that are there."""
    for name, module in list(sys.modules.items()):
        if name.startswith("torchvision.datasets.") and hasattr(module, "check_integrity"):
            monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: Path(path).is_file())


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("name", TINY)
def test_labels_and_classes_of_a_copy_on_disk_are_read(offline, unchecked, monkeypatch, name):
    labels, classes = TINY[name](offline)
    for part in ("train", "test") if KNOWN[name].test is not None else ("train",):
        opened = open_data(name, part=part, root=offline)
        assert (opened.name, opened.source) == (name, "torchvision")
        with monkeypatch.context() as once:
            once.setattr(Image, "open", limited(Image.open, 2))  # labels are not found by reading all images
            source = Source(opened.dataset)
        expected = labels * (5 if name == "cifar10" and part == "train" else 1)
        assert (source.labels.tolist(), source.classes) == (expected, classes)
        for i, label in enumerate(expected):
            image, target = opened.dataset[i]
            assert isinstance(image, Image.Image)
            assert int(target) == label
            assert source.pixels(i, source.raw(i).image).shape[1] >= 9
    if name in ("caltech101", "caltech256", "inaturalist"):  # leave files open
        del opened, source, image
        gc.collect()


def limited(function, count):
    """A function that may be called so often, and fails then."""
    calls = []

    def call(*arguments, **options):
        calls.append(arguments)
        assert len(calls) <= count
        return function(*arguments, **options)

    return call


def test_every_class_of_the_table_is_tried_on_disk():
    tried = {KNOWN[name].class_name for name in TINY} | {"MNIST", "FashionMNIST", "KMNIST", "CIFAR100"}
    assert {known.class_name for known in KNOWN.values()} == tried


def test_a_test_part_without_labels_is_no_test_part(offline, unchecked):
    lines(offline / "fer2013" / "train.csv", "emotion,pixels", f"3,{' '.join(['7'] * 48 * 48)}")
    lines(offline / "fer2013" / "test.csv", "pixels", " ".join(["7"] * 48 * 48))
    assert open_data("fer2013", root=offline).dataset.targets == [3]
    with pytest.raises(FileNotFoundError, match=r"cannot be opened: its images have no labels\."):
        open_data("fer2013", part="test", root=offline)


def test_names_and_labels_that_another_torchvision_keeps_elsewhere_are_read(offline, monkeypatch):
    write_gtsrb(offline)
    monkeypatch.setitem(KNOWN, "gtsrb", torchvision_names.Known("GTSRB", "gtsrb", {}, {}, labels=lambda d: d.no_such))
    source = Source(open_data("gtsrb", root=offline).dataset)
    assert (source.labels.tolist(), source.classes) == ([0, 1], {0: "0", 1: "1"})
