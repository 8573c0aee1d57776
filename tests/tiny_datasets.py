"""Tiny copies of torchvision's datasets on disk, each as torchvision looks for it.

A writer gives the labels of all items and the names of the labels that occur.
"""

from __future__ import annotations

import bz2
import csv
import json
import pickle
import re
import struct
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from scipy.io import savemat


def save(root, pattern, size=(9, 9)):
    """A black image at each path that a pattern like "{train,test}/cat/0.png" stands for."""
    choices = [part.split(",") for part in re.split(r"[{}]", pattern)]
    for parts in product(*choices):
        path = root / "".join(parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(path)


def of_folders(pattern, *classes):
    """A writer of class folders: each has a label of its own, in the order of `classes`."""

    def write(root):
        save(root, pattern)
        return [*range(len(classes))], dict(enumerate(classes))

    return write


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
    save(root, "gtsrb/GTSRB/Training/{00000,00001}/0.ppm")
    save(root, "gtsrb/GTSRB/Final_Test/Images/{0,1}.ppm")
    lines(root / "gtsrb" / "GT-final_test.csv", "Filename;ClassId", "0.ppm;0", "1.ppm;1")
    return [0, 1], {0: "0", 1: "1"}


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


write_eurosat = of_folders("eurosat/2750/{River,Forest}/1.jpg", "Forest", "River")


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
    save(folder, "jpg/image_0000{1,2,3,4,5,6}.jpg")
    savemat(folder / "setid.mat", {"trnid": [[1, 2]], "valid": [[3, 4]], "tstid": [[5, 6]]})
    savemat(folder / "imagelabels.mat", {"labels": [[102, 1] * 3]})
    named = hasattr(torchvision.datasets.Flowers102, "classes")
    return [101, 0], {0: "pink primrose", 101: "blackberry lily"} if named else {0: "0", 101: "101"}


def write_food101(root):
    for part in ("train", "test"):
        of = {"waffles": [f"waffles/{part}"], "ramen": [f"ramen/{part}"]}
        lines(root / "food-101" / "meta" / f"{part}.json", json.dumps(of))
    save(root, "food-101/images/{waffles,ramen}/{train,test}.jpg")
    return [1, 0], {0: "ramen", 1: "waffles"}


def write_oxford_pets(root):
    folder = root / "oxford-iiit-pet"
    for part in ("trainval", "test"):
        lines(folder / "annotations" / f"{part}.txt", "Abyssinian_1 1 1 1", "american_bulldog_12 2 2 1")
    save(folder, "images/{Abyssinian_1,american_bulldog_12}.jpg", size=(9, 12))
    return [0, 1], {0: "Abyssinian", 1: "American Bulldog"}


def write_dtd(root):
    for part in ("train", "test"):
        lines(root / "dtd" / "dtd" / "labels" / f"{part}1.txt", "zigzagged/0.jpg", "banded/0.jpg")
    save(root, "dtd/dtd/images/{zigzagged,banded}/0.jpg")
    return [1, 0], {0: "banded", 1: "zigzagged"}


def write_aircraft(root):
    data = root / "fgvc-aircraft-2013b" / "data"
    lines(data / "variants.txt", "707-320", "A300 B4")
    for part in ("trainval", "test"):
        lines(data / f"images_variant_{part}.txt", "0000001 A300 B4", "0000002 707-320")
    save(data, "images/000000{1,2}.jpg")
    return [1, 0], {0: "707-320", 1: "A300 B4"}


def write_cars(root):
    folder = root / "stanford_cars"
    annotations = np.array([("1.jpg", 2), ("2.jpg", 1)], dtype=[("fname", object), ("class", object)])
    save(folder, "{cars_train,cars_test}/{1,2}.jpg")
    (folder / "devkit").mkdir()
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": np.array(["Acura TL 2012", "smart fortwo"], object)})
    for name in ("devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat"):
        savemat(folder / name, {"annotations": annotations})
    return [1, 0], {0: "Acura TL 2012", 1: "smart fortwo"}


def write_lfw(root):
    folder = root / "lfw-py"
    lines(folder / "lfw-funneled.tgz")
    lines(folder / "lfw-names.txt", "Ada_L 1", "Bo_D 1")
    lines(folder / "people.txt", "2", "1", "Bo_D\t1", "1", "Ada_L\t1")
    save(folder, "lfw_funneled/Ada_L/Ada_L_0001.jpg")
    save(folder, "lfw_funneled/Bo_D/Bo_D_0001.jpg")
    return [1, 0], {0: "Ada_L", 1: "Bo_D"}


def write_clevr(root):
    folder = root / "clevr" / "CLEVR_v1.0"
    scenes = [{"image_filename": f"{n}.png", "objects": [0] * n} for n in (10, 3)]
    for part in ("train", "val"):
        lines(folder / "scenes" / f"CLEVR_{part}_scenes.json", json.dumps({"scenes": scenes}))
    save(folder, "images/{train,val}/{10,3}.png")
    return [10, 3], {3: "3", 10: "10"}


def write_sun397(root):
    lines(root / "SUN397" / "ClassName.txt", "/a/abbey", "/c/cabin/outdoor")
    save(root, "SUN397/c/cabin/outdoor/sun_1.jpg")
    return [1], {1: "cabin/outdoor"}


def write_places365(root):
    lines(root / "categories_places365.txt", "/a/airfield 0", "/b/barn 1")
    lines(root / "places365_train_standard.txt", "/b/barn/1.jpg 1", "/a/airfield/1.jpg 0")
    lines(root / "places365_val.txt", "1.jpg 1", "2.jpg 0")
    save(root, "data_256_standard/{b/barn,a/airfield}/1.jpg")
    save(root, "val_256/{1,2}.jpg")
    return [1, 0], {0: "/a/airfield", 1: "/b/barn"}


def write_imagenet(root):
    wnids = {"n02012849": ("crane",), "n03126707": ("crane",), "n01440764": ("tench", "Tinca tinca")}
    torch.save((wnids, []), root / "meta.bin")
    save(root, f"{{train,val}}/{{{','.join(wnids)}}}/0.jpeg")
    return [0, 1, 2], {0: "n01440764 tench", 1: "n02012849 crane", 2: "n03126707 crane"}


def write_pcam(root):
    h5py = pytest.importorskip("h5py")
    (root / "pcam").mkdir()
    for part in ("train", "test"):
        for kind, array in {"x": np.zeros((2, 96, 96, 3), np.uint8), "y": np.array([1, 0]).reshape(2, 1, 1, 1)}.items():
            with h5py.File(root / "pcam" / f"camelyonpatch_level_2_split_{part}_{kind}.h5", "w") as file:
                file[kind] = array
    return [1, 0], {0: "0", 1: "1"}


WORMS = [f"0000{n}_Animalia_Annelida_Clitellata_Haplotaxida_Lumbricidae_Lumbricus_{s}" for n, s in enumerate("ab")]
TINY = {
    "emnist-letters": write_emnist_letters,
    "qmnist": write_qmnist,
    "usps": write_usps,
    "semeion": write_semeion,
    "svhn": write_svhn,
    "gtsrb": write_gtsrb,
    "rendered-sst2": of_folders("rendered-sst2/{train,test}/{positive,negative}/0.png", "negative", "positive"),
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
    "caltech101": of_folders(
        "caltech101/101_ObjectCategories/{BACKGROUND_Google,ant,yin_yang}/image_0001.jpg", "ant", "yin_yang"
    ),
    "caltech256": of_folders(
        "caltech256/256_ObjectCategories/{001.ak47/001_0001,002.flag/002_0001}.jpg", "001.ak47", "002.flag"
    ),
    "lfw-people": write_lfw,
    "country211": of_folders("country211/{train,test}/{AD,ZW}/0.jpg", "AD", "ZW"),
    "clevr-count": write_clevr,
    "sun397": write_sun397,
    "places365": write_places365,
    "inaturalist": of_folders(f"{{2021_train_mini,2021_valid}}/{{{','.join(WORMS)}}}/0.jpg", *WORMS),
    "imagenette-160": of_folders(
        "imagenette2-160/{train,val}/{n01440764,n02102040}/0.JPEG", "tench", "English springer"
    ),
    "imagenet": write_imagenet,
}
