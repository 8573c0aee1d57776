"""The test data of an evaluation: how they are read, and which of the dataset's classes and images they are."""

import json
from contextlib import nullcontext

import pytest
import torch
from torch.utils.data import ConcatDataset, Subset

from tests.conftest import Shapes
from tests.evaluation.test_rounds import Numbered, quick, studied
from vae_augment.exceptions import DataWarning, LeakageWarning

# one image of Shapes(9, seed=1) is by chance one of Shapes(9)
pytestmark = pytest.mark.filterwarnings("ignore:1 of the 27 test images are in dataset too")
NAMES = ("a", "b", "c")


def answers(dataset, test):
    return studied(dataset, test=test).split(0)[1].targets.tolist()


def test_a_test_set_may_lack_a_class_and_is_matched_by_name():
    dataset = Numbered({0: 9, 1: 9, 2: 9}, NAMES)
    test = Numbered({0: 3, 1: 4}, ("b", "c"), seed=1)
    assert answers(dataset, test) == [label + 1 for label in test.targets]
    result = quick(dataset, test=test, arms=["none"])
    assert result.rows[0]["recall"]["a"] is None
    assert None not in (result.rows[0]["recall"]["b"], result.rows[0]["recall"]["c"])


def test_a_test_set_may_have_its_classes_in_another_order():
    dataset, test = Numbered({0: 9, 1: 9, 2: 9}, NAMES), Numbered({0: 3, 1: 4, 2: 5}, ("c", "a", "b"), seed=1)
    assert answers(dataset, test) == [{0: 2, 1: 0, 2: 1}[label] for label in test.targets]


@pytest.mark.parametrize("names", [None, ("zero", "one", "two")])
def test_a_test_set_without_a_name_in_common_goes_by_the_label(names):
    dataset, test = Numbered({0: 9, 1: 9, 2: 9}, NAMES), Numbered({0: 3, 2: 5}, names, seed=1)
    message = "no class of test has a name of dataset's; going by the label"
    with nullcontext() if names is None else pytest.warns(DataWarning, match=message):
        assert answers(dataset, test) == test.targets


@pytest.mark.parametrize(
    ("counts", "names", "unknown"),
    [({0: 3, 1: 3}, ("a", "d"), "d"), ({0: 3, 3: 3}, None, "3"), ({-1: 3}, None, "-1")],
)
def test_a_test_set_with_another_class_is_refused(counts, names, unknown):
    with pytest.raises(ValueError, match=rf"test has a class that dataset lacks: '{unknown}'\."):
        quick(Numbered({0: 9, 1: 9, 2: 9}, NAMES), test=Numbered(counts, names))


def test_test_images_that_are_trained_on_are_warned_of_and_counted():
    dataset, test = Numbered({0: 9, 1: 9}), Numbered({0: 9, 1: 9}, seed=1)
    assert quick(dataset, test=test, arms=["none"]).setup["test_images_in_dataset"] == 0
    message = "5 of the 23 test images are in dataset too: figures look better than they are"
    with pytest.warns(LeakageWarning, match=message):
        result = quick(dataset, test=ConcatDataset([test, Subset(dataset, range(5))]), arms=["none"])
    assert json.loads(result.to_json())["setup"]["test_images_in_dataset"] == 5


def test_test_images_that_are_all_trained_on_are_refused():
    dataset = Numbered({0: 9, 1: 9})
    message = r"test must hold images that dataset does not, got 5 that are all in dataset too\."
    with pytest.raises(ValueError, match=message):
        quick(dataset, test=Subset(dataset, range(5)))


def floats(seed, low, high):
    """Shapes with these values of black and white, one image of which has both."""
    data = Shapes(9, seed=seed)
    pixels = torch.from_numpy(data.data).float()[:, None] / 255
    pixels[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    return list(zip(pixels * (high - low) + low, data.targets, strict=True))


def read(dataset, test):
    return studied(dataset, test=test).split(0)[1].images[:, 0].int()


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0), (0.0, 4095.0), (-2.1, 2.6)])
@pytest.mark.parametrize("outlier", [None, 1.4, 9.0, -3.0])
def test_test_images_are_read_in_the_datasets_range_whatever_their_extremes(low, high, outlier):
    wanted, test = floats(1, 0.0, 255.0), floats(1, low, high)
    if outlier is not None:
        test[3][0][0, 5, 5] = low + outlier * (high - low)
        wanted[3][0][0, 5, 5] = 255 * min(max(outlier, 0), 1)
    shown = torch.stack([image[0] for image, _ in wanted]).round().int()
    assert (read(floats(0, low, high), test) - shown).abs().max() <= 1


@pytest.mark.parametrize(
    ("ours", "theirs"), [((0, 1), (0, 255)), ((0, 255), (0, 1)), ((-2.1, 2.6), (0, 255)), ((0, 65535), (0, 1))]
)
def test_test_images_of_another_scale_are_refused(ours, theirs):
    message = (
        rf"test must hold values on the scale of dataset's, {ours[0]} to {ours[1]}, got {theirs[0]} to {theirs[1]}\."
    )
    with pytest.raises(ValueError, match=message):
        studied(floats(0, *ours), test=floats(1, *theirs))


@pytest.mark.parametrize("outlier", [0.5, 1.4, 300.0])
@pytest.mark.parametrize("high", [1.0, 255.0])
def test_floats_are_read_beside_bytes_by_what_most_of_them_hold(high, outlier):
    test = floats(1, 0.0, high)
    plain = read(Shapes(9), test)
    test[3][0][0, 5, 5] = outlier
    changed = (read(Shapes(9), test) != plain).nonzero().tolist()
    assert changed in ([], [[3, 5, 5]])
    assert plain.max() == 255


def test_standardised_floats_are_read_beside_bytes_from_their_least_to_their_most():
    wanted = torch.stack([image[0] for image, _ in floats(1, 0, 255)]).round().int()
    assert (read(Shapes(9), floats(1, -1.0, 1.0)) - wanted).abs().max() <= 1


def test_bytes_are_read_beside_floats_as_they_are():
    assert torch.equal(read(floats(0, 0, 1), Shapes(9, seed=1)), torch.from_numpy(Shapes(9, seed=1).data).int())


# ---- labels that are names ----


def named(counts, names, seed=0):
    """Items labelled with names."""
    numbered = Numbered(counts, seed=seed)
    return [(numbered[i][0], names[numbered[i][1]]) for i in range(len(numbered))]


def test_test_data_of_names_are_matched_by_name():
    dataset, test = named({0: 9, 1: 9, 2: 9}, NAMES), named({0: 3, 1: 4}, ("c", "b"), seed=1)
    wanted = [NAMES.index(name) for _, name in test]
    assert answers(dataset, test) == wanted
    assert answers(Numbered({0: 9, 1: 9, 2: 9}, NAMES), test) == wanted
    assert answers(dataset, Numbered({0: 3, 1: 4}, ("c", "b"), seed=1)) == wanted


@pytest.mark.parametrize(
    ("dataset", "test", "unknown"),
    [
        (named({0: 9, 1: 9}, NAMES), named({0: 3, 1: 3}, ("a", "d"), seed=1), "d"),
        (named({0: 9, 1: 9}, NAMES), named({0: 3}, ("d",), seed=1), "d"),
        (named({0: 9, 1: 9}, NAMES), Numbered({0: 3, 1: 3}, ("d", "e"), seed=1), "d"),
        (named({0: 9, 1: 9}, NAMES), Numbered({0: 3, 1: 3}, seed=1), "0"),
        (Numbered({0: 9, 1: 9}), named({0: 3}, ("a",), seed=1), "a"),
    ],
)
def test_names_are_never_matched_by_number(dataset, test, unknown):
    with pytest.raises(ValueError, match=rf"test has a class that dataset lacks: '{unknown}'\."):
        quick(dataset, test=test)
