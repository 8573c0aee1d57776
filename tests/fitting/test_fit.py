import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, IterableDataset, Subset, TensorDataset

from tests.bank.test_bank import assert_same_classes
from tests.conftest import CONFIG, Shapes
from vae_augment import FitConfig, VAEBank, fit
from vae_augment.bank.file import serialize
from vae_augment.exceptions import FitWarning
from vae_augment.fitting import stages

QUICK = replace(CONFIG, steps=8)


class Listed:
    """A dataset of the given images and labels, all names and transforms left out."""

    def __init__(self, images, targets):
        self.images, self.targets = images, targets

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.targets[index]


def quick(dataset, config=QUICK, **options):
    return fit(dataset, config=config, progress=False, **options)


def refit(dataset, start, **options):
    """A fit that goes on from a bank, by the bank's own config."""
    return fit(dataset, start=start, progress=False, **options)


def noise_images(count, size=(12, 12), channels=1, seed=0):
    return torch.randint(
        256, (count, channels, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def tensors(count=4, size=(12, 12), channels=1):
    return TensorDataset(noise_images(count, size, channels), torch.zeros(count, dtype=torch.long))


def assert_all_finite(bank):
    start = bank.content.start
    parts = [*bank.content.weights.params().values(), *bank.content.stats.tensors().values()]
    parts += [] if start is None else [*start.params.values(), start.pooled]
    assert all(torch.isfinite(part).all() for part in parts)
    assert all(np.isfinite([info.rmse, info.kl]).all() for info in bank.class_infos)


# ---- what a fit gives ----


def test_names_labels_and_counts_are_the_datasets(bank):
    assert [(info.name, info.label, info.images) for info in bank.class_infos] == [
        ("across", 0, 10),
        ("down", 1, 10),
        ("slanted", 2, 10),
    ]
    assert [info.steps for info in bank.class_infos] == [CONFIG.steps] * 3
    assert_all_finite(bank)


def test_the_config_is_kept_with_its_values_filled_in(bank):
    assert bank.config == CONFIG.resolve(30)
    assert (bank.vae.width, bank.latent_dim) == (8, 4)


def test_class_names_are_taken_verbatim():
    dataset = Shapes(3)
    dataset.classes = ("0 - zero", "../a/b", " ")
    assert quick(dataset).classes == ("0 - zero", "../a/b", " ")


def test_labels_without_names_are_their_own():
    dataset = Listed(list(noise_images(6)), [5, -3, 5, 5, -3, -3])
    assert quick(dataset).class_to_idx == {"-3": -3, "5": 5}


def test_a_class_without_images_is_left_out():
    dataset = Shapes(3)
    dataset.classes = ("across", "down", "slanted", "round")
    assert quick(dataset).classes == ("across", "down", "slanted")


def test_labels_can_be_given():
    bank = quick(Shapes(4), labels=[0, 1] * 6)
    assert {info.name: info.images for info in bank.class_infos} == {"across": 6, "down": 6}
    assert quick(Shapes(4), labels=torch.tensor([0, 1] * 6)).sha256 == bank.sha256


def test_every_status_is_told_and_nothing_is_ever_not_finite():
    rng = np.random.default_rng(0)
    by_class = {
        0: [rng.integers(0, 256, (12, 12), dtype=np.uint8)],
        1: [rng.integers(0, 256, (12, 12), dtype=np.uint8) for _ in range(2)],
        2: [np.full((12, 12), 90, np.uint8)] * 6,
        3: [np.zeros((12, 12), np.uint8)] * 6,
        4: [np.zeros((12, 12), np.uint8)],
        5: list(Shapes(8).data[:8]),
    }
    items = [(image, label) for label, images in by_class.items() for image in images]
    for sharing in ("warm-start", "none"):
        bank = quick(Listed(*map(list, zip(*items, strict=True))), replace(CONFIG, sharing=sharing, steps=12))
        statuses = [info.status for info in bank.class_infos]
        assert statuses == ["few-samples", "few-samples", "constant", "constant", "few-samples", "ok"]
        assert [bool(info.note) for info in bank.class_infos] == [True] * 5 + [False]
        assert_all_finite(bank)
        for method in ("exemplar", "gaussian", "prior"):
            assert bank.sample(torch.arange(6), method=method).shape == (6, 1, 12, 12)


def test_a_class_that_fails_is_told_and_the_others_are_kept(bank, monkeypatch):
    plain = stages.train

    def train(vae, params, jobs, **options):
        trained = plain(vae, params, jobs, **options)
        return trained._replace(notes=["loss not finite at step 3" * (len(job.images) == 5) for job in jobs])

    monkeypatch.setattr(stages, "train", train)
    dataset = Subset(Shapes(), [*range(10), *range(10, 15), *range(20, 30)])
    with pytest.warns(FitWarning, match=r"class 'down' failed: loss not finite at step 3\. Lower learning_rate"):
        statuses = {info.name: (info.status, info.note) for info in quick(dataset, CONFIG).class_infos}
    assert statuses["down"][0] == "failed"
    assert statuses["down"][1].startswith("loss not finite at step 3. Lower learning_rate")
    assert statuses["across"] == statuses["slanted"] == ("ok", "")


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("sharing", ["warm-start", "none"])
def test_any_number_of_steps_is_taken_exactly(steps, sharing):
    bank = quick(Shapes(2), replace(CONFIG, steps=steps, sharing=sharing))
    assert {info.steps for info in bank.class_infos} == {steps}
    assert_all_finite(bank)


def test_fitting_touches_no_global_randomness():
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    quick(Shapes(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()


def test_the_global_seed_changes_nothing():
    hashes = set()
    for seed in (1, 2):
        torch.manual_seed(seed)
        hashes.add(quick(Shapes(2)).sha256)
    assert len(hashes) == 1


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_it_trains_where_gradients_are_switched_off(context):
    expected = serialize(quick(Shapes()).content)
    with context():
        assert serialize(quick(Shapes()).content) == expected


def test_without_sharing_there_is_no_start_and_classes_are_on_their_own():
    config = replace(CONFIG, sharing="none")
    bank = quick(Shapes(), config)
    assert bank.content.start is None
    assert [info.steps for info in bank.class_infos] == [12] * 3
    alone = quick(Subset(Shapes(), range(10)), config)
    assert_same_classes(alone, bank, ["across"])


def test_with_sharing_the_start_is_kept(bank):
    assert bank.content.start.steps == 9
    assert bank.content.start.pooled.shape == (4, 4)


def test_a_bank_without_a_policy_augments_nothing():
    bank = quick(Shapes(2), replace(QUICK, policy="none"))
    assert (bank.policy.p_generate, bank.policy.p_jitter) == (0, 0)
    assert "switched off" in bank.policy.origin


def test_a_tuned_bank_augments_and_says_why(bank):
    assert not bank.policy.off
    assert bank.policy.p_generate + bank.policy.p_jitter > 0
    assert bank.policy.origin


@pytest.mark.parametrize(("exemplars", "method", "kept"), [(0, "gaussian", 0), (3, "exemplar", 3), (99, "exemplar", 4)])
def test_the_policy_draws_as_the_bank_can(exemplars, method, kept):
    bank = quick(Shapes(4), replace(QUICK, exemplars=exemplars))
    assert bank.policy.method == method
    assert bank.content.stats.counts.tolist() == [kept] * 3
    assert len(bank.sample(torch.tensor([0, 1]))) == 2


def test_the_bank_says_what_it_was_fitted_on(bank):
    assert {key: bank.data[key] for key in ("name", "images", "seed")} == {"name": "Shapes", "images": 30, "seed": 0}
    fingerprints = {fit_on.data["fingerprint"] for fit_on in (bank, quick(Shapes()), quick(Shapes(seed=1)))}
    assert len(fingerprints) == 2


# ---- some classes ----


@pytest.mark.parametrize("classes", [["down"], [2, "across"], None])
def test_refitting_with_the_same_seed_gives_the_same_bytes(bank, classes):
    assert serialize(refit(Shapes(), bank, classes=classes).content) == serialize(bank.content)


def test_refitting_a_loaded_bank_gives_the_same_bytes(bank, bank_path):
    refitted = refit(Shapes(), VAEBank.load(bank_path), classes=["down"])
    assert serialize(refitted.content) == bank_path.read_bytes()


def test_refitting_some_classes_leaves_the_others_as_they_were(bank):
    refitted = refit(Shapes(seed=5), bank, classes=["down"], seed=1)
    assert refitted.classes == bank.classes
    assert_same_classes(refitted, bank, ["across", "slanted"])
    assert not torch.equal(refitted.content.weights.values[1], bank.content.weights.values[1])
    assert (refitted.config, refitted.policy, refitted.data) == (bank.config, bank.policy, bank.data)


def test_refitting_does_not_change_the_start(bank):
    before = serialize(bank.content)
    refit(Shapes(), bank, classes=["down"], seed=1)
    assert serialize(bank.content) == before


def test_a_class_that_the_start_lacks_is_added(bank):
    two = bank.subset(["across", "slanted"])
    three = refit(Shapes(), two, classes=["down"])
    assert three.class_to_idx == bank.class_to_idx
    assert serialize(three.content) == serialize(bank.content)


def test_a_start_keeps_its_model_under_other_steps(bank):
    refitted = refit(Shapes(), bank, config=FitConfig(steps=20), classes=["down"])
    assert refitted.vae == bank.vae
    assert refitted.class_infos[1].steps == 9 + 5  # the start's and a quarter of its own
    assert_same_classes(refitted, bank, ["across", "slanted"])


@pytest.mark.parametrize(
    ("option", "value", "kept"),
    [("latent_dim", 7, 4), ("width", 16, 8), ("image_size", 20, 12), ("sharing", "none", "'warm-start'")],
)
def test_a_config_of_another_model_than_the_starts_is_refused(bank, option, value, kept):
    with pytest.raises(ValueError, match=f"^{option} must be that of the start bank, {kept}, got {value!r}"):
        refit(Shapes(2), bank, config=FitConfig(**{option: value}))


@pytest.mark.parametrize("classes", [["slanted", "across"], [0, 2], [2, "across", 2], np.array([0, 2])])
def test_only_the_named_classes_are_fitted(bank, classes):
    some = quick(Shapes(), CONFIG, classes=classes)
    assert some.class_to_idx == {"across": 0, "slanted": 2}
    assert_same_classes(some, bank, ["across", "slanted"])


def test_a_start_of_images_of_another_size_is_used_at_its_own(bank):
    dataset = Listed(list(noise_images(6, (20, 20))), [0] * 6)
    assert refit(dataset, bank).image_shape == (1, 12, 12)


# ---- the dataset ----


def test_the_callers_dataset_is_not_changed():
    def transform(image):
        return image

    dataset = Shapes(2, transform=transform, target_transform=transform)
    attributes = dict(vars(dataset))
    pixels = dataset.data.copy()
    quick(dataset)
    assert vars(dataset) == attributes
    assert dataset.transform is transform
    assert (dataset.data == pixels).all()


@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: Subset(d, range(len(d))), lambda d: ConcatDataset([d])])
def test_the_fit_does_not_see_the_transforms(bank, wrap):
    def fail(_):
        raise AssertionError("a transform was applied")

    fitted = quick(wrap(Shapes(transform=fail, target_transform=fail)), CONFIG)
    assert_same_classes(fitted, bank, bank.classes)


@pytest.mark.parametrize(
    "convert",
    [
        np.array,
        np.asarray,
        lambda image: torch.from_numpy(np.array(image)),
        lambda image: torch.from_numpy(np.array(image))[None] / 255,
        lambda image: np.asarray(image).astype(np.float64)[:, :, None],
    ],
    ids=["array", "read-only array", "tensor", "float tensor", "0-255 array"],
)
def test_the_same_pixels_give_the_same_bank_in_any_form(bank, convert):
    plain = Shapes()
    dataset = Listed([convert(plain[i][0]) for i in range(30)], plain.targets)
    dataset.classes = plain.classes
    assert_same_classes(quick(dataset, CONFIG), bank, bank.classes)


@pytest.mark.parametrize(
    ("size", "options", "expected"),
    [
        ((40, 40), {"preset": "fast"}, (32, 32)),
        ((40, 20), {"preset": "fast"}, (32, 16)),
        ((70, 35), {}, (64, 32)),
        ((20, 12), {}, (20, 12)),
        ((20, 20), {"image_size": 10}, (10, 10)),
        ((12, 24), {"image_size": 20}, (10, 20)),
        ((12, 12), {"image_size": 24}, (24, 24)),
    ],
)
def test_the_longer_side_is_capped(size, options, expected):
    config = FitConfig(steps=2, latent_dim=2, width=8, batch_size=2, **options)
    assert quick(tensors(3, size), config).image_shape == (1, *expected)


def test_images_of_mixed_sizes_are_modelled_at_the_most_common(caplog):
    sizes = [(12, 12), (16, 20), (12, 12), (9, 30), (12, 12)]
    images = [Image.fromarray(noise_images(1, size)[0, 0].numpy()) for size in sizes]
    with caplog.at_level(logging.INFO, logger="vae_augment"):
        assert quick(Listed(images, [0] * 5)).image_shape == (1, 12, 12)
    assert "images of 3 sizes are modelled at 12x12" in caplog.text


def test_images_of_mixed_modes_are_modelled_in_the_most_common():
    images = [Image.new(mode, (12, 12), 60) for mode in ("RGB", "L", "RGB", "P", "1")]
    assert quick(Listed(images, [0] * 5)).image_shape == (3, 12, 12)


def test_colour_images_keep_their_detail():
    bank = quick(tensors(channels=3))
    assert bank.image_shape == (3, 12, 12)
    assert bank.policy.keep_detail


# ---- wrong arguments ----


class Stream(IterableDataset):
    def __iter__(self):
        yield torch.zeros(1, 12, 12), 0


@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        (tensors(0), ValueError, "dataset must hold at least one image, got an empty one"),
        (Stream(), TypeError, "IterableDataset Stream. Collect its items into a list-like dataset first"),
        (42, TypeError, r"dataset must have len\(\) and indices, got int"),
        ([torch.zeros(1, 12, 12)], TypeError, r"dataset items must be \(image, label\) pairs or dicts, got Tensor"),
        ([("a.png", 0)], TypeError, "item 0: an image must be a PIL image, numpy array or tensor, got str"),
        ([(torch.zeros(12), 0)], ValueError, r"an image must be \[H, W\] or have channels, got shape \[12\]"),
        (
            [(torch.zeros(1, 12, 12), None)],
            ValueError,
            "labels must be one per item, got none for 1 of 1 items: item 0",
        ),
        ([(torch.zeros(1, 12, 12), 0.5)], ValueError, "labels must be strings, booleans or whole numbers, got 0.5"),
        (tensors(size=(7, 12)), ValueError, "images must be at least 8x8 pixels, got 7x12"),
        (tensors(size=(12, 4)), ValueError, "images must be at least 8x8 pixels, got 12x4"),
    ],
)
def test_a_dataset_that_cannot_be_fitted_says_why(dataset, error, message):
    with pytest.raises(error, match=message):
        quick(dataset)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_pixels_that_are_not_finite_are_refused(bad):
    image = torch.full((1, 12, 12), 0.5)
    broken = image.clone()
    broken[0, 3, 3] = bad
    with pytest.raises(ValueError, match="not finite"):
        quick(Listed([image, broken], [0, 0]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["round"]}, "class 'round' has no images in the dataset; it has 'across', 'down', 'slanted'"),
        ({"classes": [7]}, "class 7 has no images in the dataset"),
        ({"classes": []}, "classes must name at least one class"),
        ({"device": "gpu"}, "device must be 'auto' or one that torch can use here, got 'gpu'"),
        ({"device": "cuda:99"}, "device must be 'auto' or one that torch can use here, got 'cuda:99'"),
        ({"labels": [0, 1]}, r"labels must be one per dataset item \(6\), got shape \[2\]"),
        ({"labels": [0.5] * 6}, r"labels must be strings, booleans or whole numbers, got 0.5 \(float\) for item 0"),
        ({"labels": ["a", "b", None] * 2}, "labels must be one per item, got none for 2 of 6 items: item 2, item 5"),
        ({"labels": ["a", "b", 1] * 2}, "labels must be all strings or all numbers, got 'a' for item 0 and 1 for"),
        ({"labels": [[0, 1]] * 6}, r"labels must be one per dataset item \(6\), got shape \[6, 2\]"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        quick(Shapes(2), **options)


def test_a_start_without_a_warm_start_is_refused():
    textbook = quick(Shapes(2), replace(QUICK, sharing="none"))
    with pytest.raises(ValueError, match="start must be a bank fitted with sharing='warm-start'"):
        refit(Shapes(2), textbook)


def test_a_start_of_other_channels_is_refused(bank):
    colour = [Image.new("RGB", (12, 12), (9 * i, 0, 0)) for i in range(8)]
    with pytest.raises(ValueError, match="images must have as many channels as the start's, 1, got 3"):
        fit(Listed(colour, [i % 2 for i in range(8)]), config=CONFIG, start=bank, progress=False)


# ---- labels that are names ----


WORDS = ("ant", "bee", "cat")


def of_names(names=WORDS, items=range(30)):
    return Listed([Shapes()[i][0] for i in items], [names[Shapes().targets[i]] for i in items])


def test_labels_that_are_given_may_be_names():
    images = of_names()
    names = [WORDS[label] for label in Shapes().targets]
    given = quick(TensorDataset(torch.from_numpy(Shapes().data)[:, None], torch.arange(30)), labels=names)
    assert given.classes == quick(images).classes == WORDS
    assert [info.images for info in given.class_infos] == [10, 10, 10]
    assert quick(images, labels=[7] * 30).class_to_idx == {"7": 7}


def test_classes_of_names_are_fitted_by_name():
    assert quick(of_names(), classes=["cat"]).class_to_idx == {"cat": 2}
    with pytest.raises(ValueError, match="class 'cow' has no images in the dataset; it has 'ant', 'bee', 'cat'"):
        quick(of_names(), classes=["cow"])


def test_a_start_and_the_names_of_a_part_meet_by_name():
    start = quick(of_names())
    part = of_names(items=[*range(10), *range(20, 30)])  # no bee
    for classes in (["cat"], ["cat", "ant"], None):
        joined = refit(part, start, classes=classes)
        assert joined.class_to_idx == start.class_to_idx
        assert_same_classes(joined, start, WORDS)  # each a function of the start, its own images and the seed


def test_names_that_a_start_lacks_follow_its_own():
    start = quick(of_names())
    joined = refit(of_names(("bat", "bee", "cow")), start, classes=["cow", "bat"])
    assert joined.class_to_idx == {"ant": 0, "bee": 1, "cat": 2, "bat": 3, "cow": 4}
    assert_same_classes(joined, start, WORDS)
    again = refit(of_names(("bat", "bee", "cow")), joined, classes=["cow"])
    assert again.class_to_idx == joined.class_to_idx


def test_parts_of_different_names_agree_on_their_numbers():
    parts = [of_names(items=range(20)), of_names(items=range(10, 30))]
    for order in (parts, parts[::-1]):
        bank = quick(ConcatDataset(order))
        assert [(info.name, info.label, info.images) for info in bank.class_infos] == [
            ("ant", 0, 10), ("bee", 1, 20), ("cat", 2, 10)
        ]  # fmt: skip
