"""Torchvision's datasets of images with one label each, by name.

Omniglot is left out: its labels follow the order in which a file system lists folders, which differs by machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Options = dict[str, Any]


@dataclass(frozen=True)
class Known:
    """Name, place and options of a torchvision dataset.

    Args:
        class_name: name in torchvision.datasets.
        place: path or pattern below the root that exists if the data is there.
        train: options of the training part.
        test: options of the test part; None: there is none, or it has other classes or no labels.
        names: function from the opened dataset to class names in label order, if its `classes` are no texts.
        labels: function from the opened dataset to all labels, if they would otherwise be read with the images.
        source: where to get the files, if torchvision does not download them.
        gigabytes: size of a download that is too large to start unasked.
    """

    class_name: str
    place: str
    train: Options
    test: Options | None
    names: Callable[[Any], Sequence[str]] | None = None
    labels: Callable[[Any], Sequence[int]] | None = None
    source: str = ""
    gigabytes: int = 0

    def options(self, part: str) -> Options:
        """Options of the part "train" or "test"."""
        return self.train if part == "train" else self.test or {}


def _of_samples(dataset: Any) -> list[int]:
    return [label for _, label in dataset._samples]


def _of_pcam(dataset: Any) -> list[int]:
    file = dataset._base_folder / dataset._FILES[dataset._split]["targets"][0]
    with dataset.h5py.File(file) as opened:
        labels: list[int] = opened["y"][:, 0, 0, 0].tolist()
    return labels


FLAGS: tuple[Options, Options] = ({"train": True}, {"train": False})
SPLITS: tuple[Options, Options] = ({"split": "train"}, {"split": "test"})


def _emnist(split: str) -> Known:
    return Known("EMNIST", "EMNIST", {"split": split, "train": True}, {"split": split, "train": False})


def _imagenette(size: str, place: str) -> Known:
    train, test = {"split": "train", "size": size}, {"split": "val", "size": size}
    return Known(
        "Imagenette", place, train, test, names=lambda found: [some[0] for some in found.classes], labels=_of_samples
    )


def _caltech(class_name: str, place: str) -> Known:
    return Known(
        class_name, place, {}, None, names=lambda dataset: dataset.categories, labels=lambda dataset: dataset.y
    )


KNOWN = {
    # digits, letters and signs
    "mnist": Known("MNIST", "MNIST", *FLAGS),
    "fashion-mnist": Known("FashionMNIST", "FashionMNIST", *FLAGS),
    "kmnist": Known("KMNIST", "KMNIST", *FLAGS),
    "qmnist": Known("QMNIST", "QMNIST", {"what": "train"}, {"what": "test"}),
    "emnist": _emnist("balanced"),
    "emnist-byclass": _emnist("byclass"),
    "emnist-bymerge": _emnist("bymerge"),
    "emnist-letters": _emnist("letters"),
    "emnist-digits": _emnist("digits"),
    "emnist-mnist": _emnist("mnist"),
    "usps": Known("USPS", "usps*.bz2", *FLAGS),
    "semeion": Known("SEMEION", "semeion.data", {}, None),
    "svhn": Known("SVHN", "*_32x32.mat", *SPLITS),
    "gtsrb": Known("GTSRB", "gtsrb", *SPLITS, labels=_of_samples),
    "rendered-sst2": Known("RenderedSST2", "rendered-sst2", *SPLITS, labels=_of_samples),
    # small pictures
    "cifar10": Known("CIFAR10", "cifar-10-batches-py", *FLAGS),
    "cifar100": Known("CIFAR100", "cifar-100-python", *FLAGS),
    "stl10": Known("STL10", "stl10_binary", *SPLITS),
    "eurosat": Known("EuroSAT", "eurosat", {}, None),
    "pcam": Known("PCAM", "pcam", *SPLITS, labels=_of_pcam),
    "fer2013": Known(
        "FER2013",
        "fer2013/*.csv",
        *SPLITS,
        labels=_of_samples,
        source="kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge",
    ),
    # photographs
    "flowers102": Known("Flowers102", "flowers-102", *SPLITS),
    "food101": Known("Food101", "food-101", *SPLITS),
    "oxford-pets": Known("OxfordIIITPet", "oxford-iiit-pet", {"split": "trainval"}, {"split": "test"}),
    "dtd": Known("DTD", "dtd", *SPLITS),
    "fgvc-aircraft": Known("FGVCAircraft", "fgvc-aircraft-2013b", {"split": "trainval"}, {"split": "test"}),
    "stanford-cars": Known(
        "StanfordCars",
        "stanford_cars",
        *SPLITS,
        labels=_of_samples,
        source="a mirror of ai.stanford.edu/~jkrause/cars/car_dataset.html, which is gone",
    ),
    "caltech101": _caltech("Caltech101", "caltech101/101_ObjectCategories"),
    "caltech256": _caltech("Caltech256", "caltech256/256_ObjectCategories"),
    "lfw-people": Known(  # its parts hold different people
        "LFWPeople",
        "lfw-py",
        {"split": "10fold"},
        None,
        names=lambda dataset: list(dataset.class_to_idx),
        source="kaggle.com/datasets/jessicali9530/lfw-dataset",
    ),
    "country211": Known("Country211", "country211", *SPLITS),
    "clevr-count": Known(  # the number of objects
        "CLEVRClassification", "clevr", {"split": "train"}, {"split": "val"}, gigabytes=18
    ),
    "sun397": Known("SUN397", "SUN397", {}, None, gigabytes=37),
    "places365": Known(
        "Places365",
        "categories_places365.txt",
        {"split": "train-standard", "small": True},
        {"split": "val", "small": True},
        gigabytes=24,
    ),
    "inaturalist": Known(
        "INaturalist",
        "2021_*",
        {"version": "2021_train_mini"},
        {"version": "2021_valid"},
        names=lambda dataset: dataset.all_categories,
        labels=lambda dataset: [label for label, _ in dataset.index],
        gigabytes=42,
    ),
    "imagenette": _imagenette("full", "imagenette2"),
    "imagenette-320": _imagenette("320px", "imagenette2-320"),
    "imagenette-160": _imagenette("160px", "imagenette2-160"),
    "imagenet": Known(
        "ImageNet",
        "meta.bin",
        {"split": "train"},
        {"split": "val"},
        names=lambda dataset: [  # two classes are called "crane"
            f"{wnid} {names[0]}" for wnid, names in zip(dataset.wnids, dataset.classes, strict=True)
        ],
        source="image-net.org, have torchvision.datasets.ImageNet unpack it",
    ),
}
