"""Small and odd classes: each ends in a defined status or a clear error, and never in another class's failure."""

import json
import math
import re
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset, TensorDataset

from tests.bank.test_bank import assert_same_classes
from tests.commands import run
from tests.conftest import CONFIG, Shapes
from tests.fitting.test_fit import Listed, assert_all_finite
from tests.growth import TENFOLD, growth
from vae_augment import VAEAugmentedDataset, VAEBank, evaluate, export, fit
from vae_augment.bank.file import serialize
from vae_augment.data.loading import load_images
from vae_augment.data.source import PROBED_ITEMS, Source
from vae_augment.exceptions import DataWarning, FitWarning
from vae_augment.fitting import stages, training
from vae_augment.fitting.fitted_class import TRIED, status_of
from vae_augment.images.conversion import kind_of
from vae_augment.model.conv_vae import ConvVAE
from vae_augment.report.contact_sheet import contact_sheet_png

TINY = replace(CONFIG, steps=4, latent_dim=2, batch_size=4)
MANY = 40  # images a class, enough for some to be held out
BARS = Shapes(300).data.reshape(3, 300, 12, 12)

ONE_CLASS = "dataset must have at least two classes to tell apart, got"
NOTHING_LEFT = "no image is left to test on: use a smaller per_class, or give test data"
TOO_FEW_LEFT = "at least two classes must have an image left to test on, in each round, got"


def quick(dataset, config=CONFIG, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)  # that a class is no good is what is tested
        return fit(dataset, config=config, progress=False, **options)


def bars(count, label=0):
    return list(BARS[label, :count])


def noise(count, size=(12, 12), channels=None, seed=0):
    shape = (count, *size) if channels is None else (count, *size, channels)
    return list(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def plain(value, count=6, dtype=np.uint8, size=(12, 12)):
    return [np.full(size, value, dtype)] * count


def changed(images, change):
    return [change(image) for image in images]


def binary(count, seed=0, dtype=np.uint8, white=255):
    return [((image > 127) * white).astype(dtype) for image in noise(count, seed=seed)]


def half_constant(count, seed=0):
    return [
        np.concatenate([np.full((12, 6), 128, np.uint8), image[:, 6:]], axis=1) for image in noise(count, seed=seed)
    ]


def tensors(count, channels, seed=0):
    return [torch.from_numpy(image).permute(2, 0, 1) for image in noise(count, (12, 12), channels, seed)]


def dataset_of(classes):
    return Listed([image for images in classes for image in images], [k for k, c in enumerate(classes) for _ in c])


@dataclass(frozen=True)
class Case:
    """Classes of images, the status of each, and why `evaluate` refuses them, if it does."""

    classes: list[list[object]]
    statuses: tuple[str, ...]
    refused: str = ""


FINE = ("ok", "ok")


def both(first, second, refused=""):
    return Case([first, second], FINE, refused)


CASES = {
    # how many images
    "one class of 1": Case([bars(1)], ("few-samples",), ONE_CLASS),
    "one class of 2": Case([bars(2)], ("few-samples",), ONE_CLASS),
    "one class of 5": Case([bars(5)], ("ok",), ONE_CLASS),
    "one class of many": Case([bars(MANY)], ("ok",), ONE_CLASS),
    "two classes of 1": Case([bars(1), bars(1, 1)], ("few-samples", "few-samples"), NOTHING_LEFT),
    "1, 2 and 5": Case([bars(1), bars(2, 1), bars(5, 2)], ("few-samples", "few-samples", "ok"), TOO_FEW_LEFT),
    "1 beside 300": Case([bars(1), list(BARS[1])], ("few-samples", "ok"), TOO_FEW_LEFT),
    "many of two": both(bars(MANY), bars(MANY, 1)),
    # images that are alike
    "identical": Case([bars(1) * 6, bars(6, 1)], ("constant", "ok"), TOO_FEW_LEFT),
    "all identical": Case([bars(1) * 6, bars(1) * 6], ("constant", "constant"), TOO_FEW_LEFT),
    "identical, few": Case([bars(1) * 3, bars(6, 1)], ("few-samples", "ok"), TOO_FEW_LEFT),
    "identical, many": Case([bars(1) * MANY, bars(MANY, 1)], ("constant", "ok"), TOO_FEW_LEFT),
    "all identical, many": Case([bars(1) * MANY, bars(1) * MANY], ("constant", "constant"), TOO_FEW_LEFT),
    "black": Case([plain(0), plain(0)], ("constant", "constant"), TOO_FEW_LEFT),
    "black, many": Case([plain(0, MANY), plain(0, MANY)], ("constant", "constant"), TOO_FEW_LEFT),
    "white": Case([plain(255), plain(255)], ("constant", "constant"), TOO_FEW_LEFT),
    "one colour": Case([plain((9, 99, 199), size=(12, 12, 3)), noise(6, channels=3)], ("constant", "ok"), TOO_FEW_LEFT),
    "a level apart": Case([plain(90) + plain(91), bars(12, 1)], ("collapsed", "ok"), TOO_FEW_LEFT),
    "bytes of 0 and 1": Case([binary(6, white=1), binary(6, 1, white=1)], ("collapsed", "collapsed")),
    # what pixels hold
    "binary": both(binary(6), binary(6, 1)),
    "bool": both(binary(6, dtype=bool), binary(6, 1, dtype=bool)),
    "half the pixels constant": both(half_constant(6), half_constant(6, 1)),
    "0 to 1": both(changed(noise(6), lambda x: x / 255), changed(noise(6, seed=1), lambda x: x / 255)),
    "0 to 255 as float": both(changed(noise(6), np.float32), changed(noise(6, seed=1), np.float32)),
    "negative": both(changed(noise(6), lambda x: x / 64 - 2), changed(noise(6, seed=1), lambda x: x / 64 - 2)),
    "constant float": Case([plain(-3.5, dtype=float)] * 2, ("constant", "constant"), TOO_FEW_LEFT),
    "constant large float": Case([plain(7e4, dtype=float)] * 2, ("constant", "constant"), TOO_FEW_LEFT),
    "zeros": Case([plain(0, dtype=np.float32)] * 2, ("constant", "constant"), TOO_FEW_LEFT),
    "more than single precision holds": both(
        changed(noise(6), lambda x: x * 1e300), changed(noise(6, seed=1), lambda x: x * 1e300)
    ),
    "all that single precision holds": both(
        changed(noise(6), lambda x: ((x / 127.5 - 1) * 3.4e38).astype(np.float32)),
        changed(noise(6, seed=1), lambda x: ((x / 127.5 - 1) * 3.4e38).astype(np.float32)),
    ),
    # sizes
    "8x8": both(noise(6, (8, 8)), noise(6, (8, 8), seed=1)),
    "8x17": both(noise(6, (8, 17)), noise(6, (8, 17), seed=1)),
    "8x200": both(
        changed(bars(6), lambda x: np.resize(x, (8, 200))), changed(noise(6), lambda x: np.resize(x, (8, 200)))
    ),
    "200x8": both(
        changed(bars(6), lambda x: np.resize(x, (200, 8))), changed(noise(6), lambda x: np.resize(x, (200, 8)))
    ),
}
for whole in (np.int8, np.int16, np.int32, np.int64, np.uint16, np.uint32):
    top = np.iinfo(whole).max // (2**20 if whole is np.int64 else 1)
    CASES[f"{np.dtype(whole)} to {top}"] = both(
        *([(image / 255.0 * top).astype(whole) for image in noise(6, seed=seed)] for seed in (0, 1))
    )
for half in (np.float16, np.float64):
    CASES[np.dtype(half).name] = both(*([image.astype(half) / 255 for image in noise(6, seed=s)] for s in (0, 1)))
for count in (1, 2, 3, 4, 5, 16):
    CASES[f"{count} channels, last"] = both(noise(6, channels=count), noise(6, channels=count, seed=1))
    CASES[f"{count} channels, first"] = both(tensors(6, count), tensors(6, count, seed=1))


# ---- laws of every case ----


@pytest.fixture(scope="module")
def fitted():
    """The bank of each case, fitted once."""
    banks = {}

    def get(name):
        if name not in banks:
            banks[name] = quick(dataset_of(CASES[name].classes))
        return banks[name]

    return get


@pytest.mark.parametrize("name", CASES)
def test_a_status_and_finite_numbers_come_of_it(fitted, name, tmp_path):
    bank, case = fitted(name), CASES[name]
    assert tuple(info.status for info in bank.class_infos) == case.statuses
    assert [bool(info.note) for info in bank.class_infos] == [status != "ok" for status in case.statuses]
    assert [info.images for info in bank.class_infos] == [len(images) for images in case.classes]
    assert [info.steps for info in bank.class_infos] == [CONFIG.steps] * len(case.classes)
    assert_all_finite(bank)
    path = tmp_path / "odd.safetensors"
    bank.save(path)
    loaded = VAEBank.load(path)
    loaded.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    assert loaded.class_infos == bank.class_infos
    code, out, err = run(f"info {path}")
    assert (code, err) == (0, "")
    assert not re.search(r"\b(nan|inf)\b", out)
    assert all(f"{status}: " in out for status in case.statuses if status != "ok")
    policy = bank.policy
    assert 0 <= policy.p_generate <= policy.p_generate + policy.p_jitter <= 1


@pytest.mark.parametrize("name", CASES)
def test_the_same_seed_gives_the_same_bytes(fitted, name):
    assert serialize(quick(dataset_of(CASES[name].classes)).content) == serialize(fitted(name).content)


@pytest.mark.parametrize("name", CASES)
def test_images_can_be_drawn_moved_and_decoded(fitted, name):
    bank, classes = fitted(name), CASES[name].classes
    labels = torch.arange(len(classes)).repeat(2)
    for method in ("exemplar", "gaussian", "prior"):
        assert bank.sample(labels, method=method).shape == (len(labels), *bank.image_shape)
    data = load_images(Source(dataset_of(classes)), bank.image_shape)
    first = torch.stack([data.of(label)[0] for label in labels.tolist()])
    for keep_detail in (True, False):
        moved = bank.jitter(first, labels, scale=0.5, keep_detail=keep_detail)
        assert (moved.shape, moved.dtype) == (first.shape, torch.uint8)
    assert torch.equal(bank.jitter(first, labels, scale=0, keep_detail=True), first)
    for decoded in (bank.reconstruct(first, labels), bank.decode(torch.randn(len(labels), bank.latent_dim), labels)):
        assert bool(((decoded >= 0) & (decoded <= 1)).all())  # false for NaN too


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "shares", [{}, {"p_generate": 1.0}, {"p_jitter": 1.0}], ids=["policy", "generated", "jittered"]
)
def test_a_wrapped_dataset_gives_items_of_its_own_kind(fitted, name, shares):
    base = dataset_of([images[:5] for images in CASES[name].classes])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the bank was fitted on other data")  # on all of them
        wrapped = VAEAugmentedDataset(base, fitted(name), seed=0, **shares)
    for i, (image, label) in enumerate(wrapped.__getitems__(list(range(len(wrapped))))):
        assert kind_of(image) == kind_of(base.images[i])
        assert label == base.targets[i]
        assert np.isfinite(np.asarray(image, dtype=np.float64)).all()


@pytest.mark.parametrize("name", CASES)
def test_an_evaluation_works_or_says_why_not(name):
    case = CASES[name]
    base, options = dataset_of(case.classes), {"seeds": 1, "steps": 1, "config": TINY, "progress": False}
    if case.refused:
        with pytest.raises(ValueError, match=re.escape(case.refused)):
            evaluate(base, arms=("none", "ours"), **options)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        result = evaluate(base, arms=("none", "ours"), **options)
    assert "nan" not in str(result)
    json.dumps(json.loads(result.to_json()), allow_nan=False)


# ---- what cannot be fitted ----


@pytest.mark.parametrize("size", [(7, 7), (7, 200), (200, 7), (4, 12)])
def test_images_below_8x8_are_refused(size):
    with pytest.raises(ValueError, match=f"images must be at least 8x8 pixels, got {size[0]}x{size[1]}"):
        quick(dataset_of([noise(2, size)]))


@pytest.mark.parametrize(
    ("size", "options", "shape"),
    [
        ((8, 200), {}, (8, 64)),
        ((2000, 8), {}, (64, 8)),
        ((8, 200), {"image_size": 128}, (8, 128)),
        ((9, 64), {}, (9, 64)),
    ],
)
def test_long_narrow_images_keep_the_least_that_a_model_needs(size, options, shape):
    assert quick(dataset_of([noise(2, size)]), replace(TINY, **options)).image_shape == (1, *shape)


@pytest.mark.parametrize("images", [tensors(2, 17), noise(2, (20, 20), 17)], ids=["first", "last"])
def test_more_channels_than_a_bank_holds_are_refused(images):
    with pytest.raises(ValueError, match="images must have 1 to 16 channels, got 17"):
        quick(dataset_of([images]))


def test_arrays_of_several_shapes_are_refused_with_the_shapes():
    classes = [noise(3), noise(2, (12, 14)) + noise(1, channels=3)]
    expected = (
        "one shape, got 3: 12x12 with 1 channels (3), 12x14 with 1 channels (2), 12x12 with 3 channels (1). Resize"
    )
    with pytest.raises(ValueError, match=re.escape(expected)):
        quick(dataset_of(classes))
    with pytest.raises(ValueError, match=r"got 7: .* and others\. Resize"):
        quick(dataset_of([[image for side in range(12, 19) for image in noise(1, (12, side))]]))


def test_arrays_of_several_shapes_are_taken_where_a_transform_follows_or_as_pil_images():
    class Transformed(Listed):
        transform = None

        def __getitem__(self, index):
            image, target = super().__getitem__(index)
            return image if self.transform is None else self.transform(image), target

    images = noise(4) + noise(2, (12, 14))
    arrays = Transformed(images, [0] * 6)
    arrays.transform = lambda image: image[:10, :10]
    pictures = Listed([Image.fromarray(image) for image in images], [0] * 6)
    assert quick(arrays).image_shape == quick(pictures).image_shape == (1, 12, 12)


def test_a_class_that_is_named_but_has_no_images():
    dataset = dataset_of([bars(5), bars(5, 1)])
    dataset.classes = ("across", "down", "slanted")
    assert quick(dataset).classes == ("across", "down")
    with pytest.raises(ValueError, match="class 'slanted' has no images in the dataset; it has 'across', 'down'"):
        quick(dataset, classes=["slanted"])
    with pytest.raises(ValueError, match="dataset must hold at least one image, got an empty one"):
        quick(Listed([], []))


@pytest.mark.parametrize("dtype", [np.complex64, np.longdouble, "M8[D]", object])
def test_what_holds_no_real_numbers_is_refused(dtype):
    with pytest.raises(TypeError, match="an image must hold real numbers of at most 64 bits, got "):
        quick(dataset_of([[np.zeros((12, 12), dtype)]]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("index", [0, 1, 7, 11])
def test_an_image_that_is_not_finite_is_named_with_its_class(monkeypatch, bad, index):
    monkeypatch.setattr(stages, "train", None)  # before any training
    images = [image / 255 for image in bars(6) + bars(6, 1)]
    images[index] = images[index].copy()
    images[index][3, 3] = bad
    dataset = Listed(images, [0] * 6 + [1] * 6)
    dataset.classes = ("across", "down")
    name = dataset.classes[index // 6]
    with pytest.raises(ValueError, match=f"item {index} of class '{name}': an image holds values that are not finite"):
        quick(dataset)


def test_an_image_that_is_not_finite_is_named_where_others_are_probed(monkeypatch):
    monkeypatch.setattr(stages, "train", None)
    count = PROBED_ITEMS + 500
    probed = set(np.linspace(0, count - 1, PROBED_ITEMS).astype(int).tolist())
    index = next(i for i in range(count) if i not in probed)
    images = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    images[index, 0, 2, 2] = float("nan")
    with pytest.raises(ValueError, match=f"item {index} of class '0': an image holds values that are not finite"):
        quick(TensorDataset(images, torch.zeros(count, dtype=torch.long)))


def test_a_wrapped_image_that_is_not_finite_is_named():
    images = [image / 255 for image in bars(6)]
    bank = quick(dataset_of([images]))
    bad = dataset_of([[*images[:4], np.full((12, 12), np.nan), images[5]]])
    named = "item 4 of class '0': an image holds values that are not finite"
    with pytest.raises(ValueError, match=named):
        VAEAugmentedDataset(bad, bank)
    unmarked = bank.with_data(fingerprint=None)  # then its images are not compared with the bank's at once
    wrapped = VAEAugmentedDataset(bad, unmarked, seed=0, p_generate=0, p_jitter=1)
    with pytest.raises(ValueError, match=named):
        wrapped[4]


# ---- a value far from all others ----


def with_outlier(classes, value):
    classes = [[image.astype(np.float64) for image in images] for images in classes]
    classes[0][0][3, 3] = value
    return dataset_of(classes)


@pytest.mark.parametrize("value", [1e6, -1e6])
def test_outliers_that_leave_nothing_of_the_images_are_warned_of(value):
    dataset = with_outlier([changed(bars(12), lambda x: x / 255), changed(bars(12, 1), lambda x: x / 255)], value)
    low = re.escape(f"{min(value, 0):g}")
    with pytest.warns(DataWarning, match=f"values of the images reach from {low} to .*outliers leave nothing"):
        bank = quick(dataset)
    assert {info.status for info in bank.class_infos} <= {"collapsed", "constant"}
    assert_all_finite(bank)


@pytest.mark.parametrize("value", [1.5, 20.0])
def test_a_range_that_images_fill_is_not_warned_of(value):
    quick(with_outlier([changed(bars(12), lambda x: x / 255), changed(bars(12, 1), lambda x: x / 255)], value))


# ---- many ----


def test_a_thousand_classes_of_one_image(tmp_path):
    images = torch.from_numpy(np.stack(noise(1000, (8, 8))))[:, None]
    bank = quick(TensorDataset(images, torch.arange(1000)), replace(TINY, steps=2))
    assert {info.status for info in bank.class_infos} == {"few-samples"}
    assert len(bank.sample(torch.arange(1000))) == 1000
    bank.save(tmp_path / "bank.safetensors")
    assert len(VAEBank.load(tmp_path / "bank.safetensors", classes=[999]).classes) == 1


@pytest.mark.parametrize("counts", [(60_000,), (20_000, 7)])
def test_large_classes_are_listed_and_described_in_time_by_their_number(counts):
    images = torch.randint(256, (sum(counts), 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)]).flip(0)

    def fitted(count):
        bank = quick(TensorDataset(images[:count], labels[:count]), replace(TINY, steps=2))
        assert [info.images for info in bank.class_infos] == labels[:count].bincount().tolist()
        assert_all_finite(bank)

    assert growth(fitted, len(images) // 10) < TENFOLD


# ---- labels that are no integers ----


def labelled(labels):
    """A dataset of bars, five of each of up to three labels."""
    images = [image for k in range(len(labels)) for image in bars(5, k)]
    return Listed(images, [label for label in labels for _ in range(5)])


ODD_LABELS = {
    "names": (["b", "a", "c"], {"a": 0, "b": 1, "c": 2}),
    "NumPy's names": ([np.str_("b"), np.str_("a")], {"a": 0, "b": 1}),
    "names of numbers": (["10", "9"], {"10": 0, "9": 1}),
    "an empty name": (["", "a"], {"": 0, "a": 1}),
    "one name": (["a"], {"a": 0}),
    "odd names": (["..", "a/b", "\u00e9 \U0001f600"], {"..": 0, "a/b": 1, "\u00e9 \U0001f600": 2}),
    "truths": ([True, False], {"False": 0, "True": 1}),
    "NumPy's truths": ([np.bool(True), np.bool(False)], {"False": 0, "True": 1}),
    "whole floats": ([2.0, -1.0, 30.0], {"-1": -1, "2": 2, "30": 30}),
    "tensors of whole floats": ([torch.tensor(2.0), torch.tensor(0.0)], {"0": 0, "2": 2}),
}


@pytest.mark.parametrize(("labels", "numbers"), ODD_LABELS.values(), ids=ODD_LABELS)
def test_labels_that_are_no_integers_are_fitted_wrapped_and_evaluated(labels, numbers, tmp_path):
    base = labelled(labels)
    bank = quick(base, TINY)
    assert bank.class_to_idx == numbers
    bank.save(tmp_path / "odd.safetensors")
    loaded = VAEBank.load(tmp_path / "odd.safetensors")
    assert serialize(loaded.content) == serialize(bank.content)
    wrapped = VAEAugmentedDataset(base, loaded, seed=0, p_generate=0.5, p_jitter=0.5)
    assert [label for _, label in wrapped] == base.targets
    assert all(type(label) is type(own) for (_, label), own in zip(wrapped, base.targets, strict=True))
    if len(labels) > 1:
        result = evaluate(base, arms=("none", "ours"), seeds=1, steps=1, config=TINY, progress=False)
        assert list(result.rows[0]["recall"]) == list(numbers)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", None], "got none for 5 of 10 items: item 5, item 6, item 7, item 8, item 9. Leave these out"),
        (["a", float("nan")], "got none for 5 of 10 items"),
        ([1.0, float("nan"), 3.0], "got none for 5 of 15 items: item 5, "),
        ([0.0, 1.5], "labels must be strings, booleans or whole numbers, got 1.5 (float) for item 5"),
        ([0, "a"], "labels must be all strings or all numbers, got 0 for item 0 and 'a' for item 5"),
        ([0, b"a"], "labels must be strings, booleans or whole numbers, got b'a' (bytes) for item 5"),
    ],
)
def test_labels_that_name_no_class_are_refused_everywhere(labels, message):
    base = labelled(labels)
    refused = (lambda: quick(base), lambda: VAEAugmentedDataset(base), lambda: evaluate(base, progress=False))
    for use in refused:
        with pytest.raises(ValueError, match=re.escape(message)):
            use()


def test_items_without_a_label_can_be_left_out():
    base = labelled(["b", None, "a"])
    some = Subset(base, [i for i, label in enumerate(base.targets) if label is not None])
    assert quick(some, TINY).class_to_idx == {"a": 0, "b": 1}


# ---- steps ----


@pytest.mark.parametrize("sharing", ["warm-start", "none"])
@pytest.mark.parametrize("steps", [1, 2])
def test_steps_are_taken_however_few_the_images_and_large_the_batch(monkeypatch, sharing, steps):
    taken, train = [], stages.train

    def spy(vae, params, jobs, **options):
        trained = train(vae, params, jobs, **options)
        moved = any(not torch.equal(trained.params[name], params[name]) for name in params)
        taken.append((options["steps"], moved))
        return trained

    monkeypatch.setattr(stages, "train", spy)
    config = replace(CONFIG, sharing=sharing, steps=steps, batch_size=512, policy="none")
    bank = quick(dataset_of([bars(1), bars(3, 1)]), config)
    assert {info.steps for info in bank.class_infos} == {steps}
    assert all(moved == (count > 0) for count, moved in taken)
    shared = taken[0][0] if sharing == "warm-start" else 0
    assert [count for count, _ in taken[-2:]] == [steps - shared] * 2


# ---- a class that diverges ----


@pytest.fixture
def spoiled(monkeypatch):
    """From now on training sees images that are not numbers where a job has so many images."""
    plain, counts = training._batch, set()

    def batch(job, *arguments):
        images = plain(job, *arguments)
        return images * float("nan") if len(job.images) in counts else images

    monkeypatch.setattr(training, "_batch", batch)
    return counts


def uneven():
    """Three classes; the second has 9 images, the others 10."""
    return Subset(Shapes(), [*range(10), *range(10, 19), *range(20, 30)])


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("sharing", ["warm-start", "none"])
def test_a_class_that_diverges_fails_alone(monkeypatch, spoiled, at_once, sharing):
    monkeypatch.setitem(stages.CLASSES_AT_ONCE, "cpu", at_once)
    config = replace(CONFIG, sharing=sharing, steps=20)
    healthy = quick(uneven(), config)
    spoiled.add(9)
    bank = quick(uneven(), config)
    statuses = {info.name: info.status for info in bank.class_infos}
    assert statuses == {"across": "ok", "down": "failed", "slanted": "ok"}
    figures = r"\(reconstruction nan, KL nan nats, largest \|log-variance\| nan\)"
    note = (
        rf"(no loss was finite up to step 4 {figures}|loss not finite at step 10 {figures}, nor in the 10 steps before)"
    )
    assert re.match(rf"{note}\. Lower", bank.class_infos[1].note)
    assert_same_classes(bank, healthy, ["across", "slanted"])
    assert_all_finite(bank)


def test_a_note_says_what_went_wrong(monkeypatch):
    plain = ConvVAE.loss

    def loss(self, *arguments):
        parts = plain(self, *arguments)
        return parts._replace(reconstruction=parts.reconstruction * math.inf)

    monkeypatch.setattr(ConvVAE, "loss", loss)
    note = quick(dataset_of([bars(6)]), replace(CONFIG, sharing="none")).class_infos[0].note
    found = re.search(r"step \d+ .*\(reconstruction inf, KL (\S+) nats, largest \|log-variance\| (\S+)\)", note)
    assert all(0 < float(figure) < 10 for figure in found.groups())


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_class_that_no_step_was_taken_for_has_failed(spoiled, steps):
    spoiled.add(9)
    bank = quick(uneven(), replace(CONFIG, sharing="none", steps=steps))
    down = bank.class_infos[1]
    assert (down.status, bank.class_infos[0].status) == ("failed", "ok")
    assert down.note.startswith(f"no loss was finite up to step {steps - 1} (reconstruction nan, ")


def test_a_warm_start_that_diverges_leaves_classes_to_their_own_steps(spoiled):
    config = replace(CONFIG, steps=40)
    spoiled.add(29)
    bank = quick(uneven(), config)
    spoiled.clear()
    assert_all_finite(bank)
    assert {info.status for info in bank.class_infos} == {"ok"}
    refitted = quick(uneven(), config, classes=["down"], start=bank)
    assert serialize(refitted.content) == serialize(bank.content)


def test_every_class_may_fail(spoiled, tmp_path):
    spoiled.update((9, 10, 29))
    bank = quick(uneven())
    assert [info.status for info in bank.class_infos] == ["failed"] * 3
    assert_all_finite(bank)
    wrapped = VAEAugmentedDataset(uneven(), bank, seed=0, p_generate=0.5, p_jitter=0.5, return_source=True)
    assert {source for _, _, source in wrapped} == {0}


def test_a_failed_class_is_served_as_it_is_and_can_be_drawn(spoiled, tmp_path):
    spoiled.add(9)
    base = uneven()
    bank = quick(base)
    wrapped = VAEAugmentedDataset(base, bank, seed=0, p_generate=0.5, p_jitter=0.5, return_source=True)
    for label, sources in ((0, {1, 2}), (1, {0}), (2, {1, 2})):
        assert {source for _, target, source in wrapped if target == label} == sources
    more = VAEAugmentedDataset(base, bank, seed=0, sampling_strategy={1: 12}, return_source=True)
    assert [more[i][1] for i in range(29, 32)] == [1] * 3
    labels = torch.tensor([1, 1])
    assert bank.sample(labels).shape == (2, 1, 12, 12)
    assert bank.jitter(torch.zeros(2, 1, 12, 12), labels).shape == (2, 1, 12, 12)
    assert export(bank, tmp_path / "made", per_class=2).counts == {"across": 2, "down": 2, "slanted": 2}
    assert contact_sheet_png(bank, load_images(Source(base), bank.image_shape)).startswith(b"\x89PNG")
    bank.save(tmp_path / "bank.safetensors")
    code, out, _ = run(f"info {tmp_path / 'bank.safetensors'}")
    assert code == 0
    assert "failed: no loss was finite up to step 2 (reconstruction nan, " in out


def test_a_bank_with_a_failed_class_is_evaluated(spoiled):
    spoiled.add(9)
    bank, options = quick(uneven()), {"seeds": 1, "steps": 1, "progress": False}
    result = evaluate(uneven(), bank=bank, test=Shapes(5, seed=3), arms=("none", "ours"), **options)
    assert "nan" not in str(result)


@pytest.mark.filterwarnings("default:class .* failed")
def test_a_fit_with_a_failed_class_writes_its_bank_and_exits_with_1(here, spoiled):
    (here / "bars" / "down" / "4.png").unlink()
    spoiled.add(2)
    code, out, err = run("fit --data bars --preset fast")
    assert code == 1
    assert re.search(r"\ndown .* failed: (no loss was finite up to|loss not finite at) step ", out)
    assert "vae-augment: error: class 'down' failed: " in err
    assert VAEBank.load(here / "bars.safetensors").class_infos[1].status == "failed"
    assert (here / "bars.png").exists()
    code, _, _ = run("generate bars.safetensors --out made --per-class 2")
    assert code == 0


@pytest.mark.parametrize("sharing", ["warm-start", "none"])
@pytest.mark.parametrize("latent_dim", [4, 64])
@pytest.mark.parametrize("counts", [(1, 2, 3), (8, 8, 8)])
def test_the_highest_rate_ends_in_a_status_and_images_can_be_drawn(sharing, latent_dim, counts):
    config = replace(CONFIG, sharing=sharing, latent_dim=latent_dim, learning_rate=1.0, steps=40, policy="none")
    bank = quick(dataset_of([bars(count, label) for label, count in enumerate(counts)]), config)
    assert_all_finite(bank)
    serialize(bank.content)
    for method in ("exemplar", "gaussian", "prior"):
        assert bank.sample(torch.arange(3), method=method).shape == (3, 1, 12, 12)


# ---- collapse ----


@pytest.fixture
def blind(monkeypatch):
    """From now on decoders are blind to the latents."""
    plain = ConvVAE.decode
    monkeypatch.setattr(ConvVAE, "decode", lambda self, params, z: plain(self, params, z * 0))


def test_a_decoder_that_ignores_the_latents_is_told(blind):
    bank = quick(dataset_of([bars(8), bars(8, 1)]))
    assert [info.status for info in bank.class_infos] == ["collapsed"] * 2
    assert all(re.search("Lower learning_rate|Train for more steps", info.note) for info in bank.class_infos)
    assert_all_finite(bank)


def test_a_posterior_that_is_the_prior_is_told(blind):
    """With nothing to gain from the codes, the KL divergence draws them to the prior."""
    config = replace(CONFIG, steps=300, learning_rate=1e-2, policy="none", sharing="none")
    info = quick(dataset_of([bars(8)]), config).class_infos[0]
    assert (info.active, info.status) == (0, "collapsed")
    assert info.kl < 0.1
    assert info.note == "no latent dimension is in use. Train for more steps, or with sharing='warm-start'"


def test_the_highest_rate_collapses():
    """Its decoder gives one image only, though the means of the codes differ."""
    bank = quick(Shapes(), replace(CONFIG, learning_rate=1.0, steps=60))
    assert [info.status for info in bank.class_infos] == ["collapsed"] * 3
    assert min(info.active for info in bank.class_infos) > 0
    assert bank.class_infos[0].note.startswith("all codes are decoded to one image. Lower learning_rate")


def test_few_and_constant_images_are_told_as_such_and_not_as_collapsed(blind):
    bank = quick(dataset_of([bars(4), plain(90), bars(8, 1)]))
    assert [info.status for info in bank.class_infos] == ["few-samples", "constant", "collapsed"]


def test_images_too_faint_to_learn_are_told():
    notes = [info.note for info in quick(dataset_of([plain(90) + plain(91), bars(12)])).class_infos]
    assert notes == ["images differ by 0.5 of 255 levels, too little to learn. Stretch their values", ""]


def test_images_that_begin_alike_are_not_taken_for_collapsed():
    begin = bars(1) * TRIED
    assert quick(dataset_of([begin + bars(TRIED)])).class_infos[0].status == "ok"


# ---- blurred images ----


@pytest.mark.parametrize(("side", "status"), [(40, "blurred"), (32, "ok")])
def test_images_that_lose_their_detail_are_blurred(side, status):
    images = torch.randint(256, (12, 1, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[:, :, : side // 2] //= torch.arange(1, 13, dtype=torch.uint8)[:, None, None, None]
    few = images.float().div(255)

    def smooth(places):
        return torch.nn.functional.avg_pool2d(few[places], 5, stride=1, padding=2)

    assert status_of(images, smooth, 3, "")[0] == status
    assert status_of(images, lambda places: few[places], 3, "") == ("ok", "")
    plain = torch.arange(0, 240, 20, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, side, side)
    assert status_of(plain, lambda places: plain[places] / 255, 3, "") == ("ok", "")
