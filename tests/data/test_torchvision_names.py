"""Torchvision's datasets by name: each entry of the table against torchvision, and tiny copies of them on disk."""

from __future__ import annotations

import bz2
import gc
import inspect
import re
import sys
from pathlib import Path

import pytest
import torchvision
from PIL import Image

from tests.commands import refused
from tests.tiny_datasets import TINY, lines, write_eurosat, write_gtsrb, write_usps
from vae_augment.data import KNOWN, open_data
from vae_augment.data.readers import torchvision_names
from vae_augment.data.source import Source
from vae_augment.exceptions import DataWarning

PARTS = [
    (name, part) for name in KNOWN for part in ("train", "test") if part == "train" or KNOWN[name].test is not None
]
WITHOUT_TEST = sorted(name for name in KNOWN if KNOWN[name].test is None)
BY_HAND = sorted(name for name in KNOWN if KNOWN[name].source or KNOWN[name].gigabytes)
GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"


pytestmark = pytest.mark.usefixtures("offline")

# ---- the table ----


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_torchvision_takes_the_options_of_a_part_and_finds_nothing(offline, name, part):
    known = KNOWN[name]
    options = known.options(part) | ({} if known.source else {"download": False})
    opener = getattr(torchvision.datasets, known.class_name)
    bound = inspect.signature(opener).bind("root", **options)
    assert options.keys() <= bound.arguments.keys() | bound.arguments.get("kwargs", {}).keys()
    with pytest.raises((RuntimeError, FileNotFoundError)):  # and no ValueError of an option
        opener(str(offline), **options)


def test_the_parts_of_a_dataset_differ():
    assert len(KNOWN) >= 39
    assert [name for name in KNOWN if KNOWN[name].train == KNOWN[name].test] == []


def test_the_guide_lists_all_names():
    listed = re.search(r"`--data` takes a name\n\n((?:    .*\n)+)", GUIDE.read_text()).group(1)
    assert sorted(re.findall(r"[\w-]+", listed)) == sorted(KNOWN)


# ---- what is not there ----


@pytest.mark.parametrize("name", sorted(set(KNOWN) - {"mnist"}))
def test_a_dataset_that_is_not_there_is_named_and_where_its_files_go(offline, name):
    with pytest.raises(ConnectionError, match="is not on this machine") as caught:
        open_data(name)
    message = str(caught.value)
    assert message.startswith(f"{name} is not on this machine and cannot be downloaded (")
    assert message.endswith(
        f" Put it in torchvision's layout ({KNOWN[name].place}) into a folder and name that as the root."
    )
    assert ("no route to host" in message) == (name not in BY_HAND)


NO_DOWNLOAD, TOO_LARGE = "(torchvision has no download of it: get it from ", " GB are too much to do so unasked: "
PLACES = "torchvision.datasets.Places365('FOLDER', split='train-standard', small=True, download=True) does)"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("stanford-cars", NO_DOWNLOAD + "a mirror of ai.stanford.edu/~jkrause/cars/"),
        ("fer2013", NO_DOWNLOAD + "kaggle.com/c/challenges-in-repr"),
        ("lfw-people", NO_DOWNLOAD + "kaggle.com/datasets/jessicali9530/lfw-dataset)"),
        ("imagenet", NO_DOWNLOAD + "image-net.org"),
        ("sun397", f"(its 37{TOO_LARGE}torchvision.datasets.SUN397('FOLDER', download=True) does)"),
        ("places365", f"(its 24{TOO_LARGE}{PLACES}"),
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
    refused = pytest.raises(ConnectionError, match="is not on this machine")
    with pytest.warns(DataWarning) if name == "mnist" else refused:
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
    said = refused("evaluate --data eurosat --test eurosat --root .")
    assert said.endswith("eurosat has no test part: evaluate without --test, which holds some of --data out.")


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
    assert re.match(rf"vae-augment: error: no USPS in data: .*{said}", refused("fit --data usps --root data"))


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
    ("name", "said"),
    [
        ("nmist", r"did you mean mnist, qmnist or kmnist\? Else name a folder of class fo"),
        ("FashionMNIST", r"did you mean fashion-mnist(,? .*)?\? Else"),
        ("cifar-10", r"did you mean cifar10 or cifar100\? Else"),
        ("oxfordpets", r"did you mean oxford-pets\? Else"),
        ("flowers", r"did you mean flowers102\? Else"),
        ("zzz", rf"name a folder of class folders, or one of {', '.join(KNOWN)}\.$"),
    ],
)
def test_of_an_unknown_name_the_nearest_are_offered_or_all(name, said):
    with pytest.raises(ValueError, match=rf"^unknown dataset '{name}': {said}"):
        open_data(name)


# ---- tiny copies on disk ----


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
