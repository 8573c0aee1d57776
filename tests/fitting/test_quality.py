import json
import math
from dataclasses import fields, replace

import numpy as np
import pytest
import scipy.linalg
import torch

from tests.conftest import CONFIG, Shapes
from vae_augment import VAEBank, fit
from vae_augment.fitting.classifier import SmallCNN, new_classifier, train_classifier
from vae_augment.fitting.quality import LEAST_GENERATED, Quality, frechet_distance, measure_quality, neighbourhoods
from vae_augment.images.tensors import to_float

CPU = torch.device("cpu")
FIGURES = Quality(0.1, 0.09, 12.5, 0.9, 0.8, 1.02, 0.95, 3.5, 1.5, 0.2, 0.21, 3, 1000, 1000)


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def shapes(per_class, seed):
    """Noisy Shapes, no two alike: uint8 [N, 1, 12, 12] and labels."""
    data = Shapes(per_class=per_class, seed=seed)
    noise = torch.randint(0, 40, (len(data), 12, 12), generator=gen(seed))
    return (torch.from_numpy(data.data) + noise).clamp(max=255).to(torch.uint8)[:, None], torch.tensor(data.targets)


def normal(count, seed, dims=8):
    return torch.randn(count, dims, generator=gen(seed))


@pytest.fixture(scope="module")
def train():
    return shapes(30, seed=1)


@pytest.fixture(scope="module")
def held_out():
    return shapes(40, seed=2)


@pytest.fixture(scope="module")
def model(train) -> SmallCNN:
    def batches():
        while True:
            chosen = torch.randint(len(train[1]), (32,), generator=draws)
            yield to_float(train[0][chosen]), train[1][chosen]

    draws = gen()
    return train_classifier(new_classifier(None, (1, 12, 12), 3, 0, CPU), batches(), steps=40)


def untrained(image_shape, classes):
    return new_classifier(None, image_shape, classes, 0, CPU)


def bank_that_makes(monkeypatch, bank, images, labels):
    """The bank, its generator replaced by one that gives some images, in their order within each class."""

    def sample(wanted, *, generator):
        taken = dict.fromkeys(labels.tolist(), 0)
        made = torch.empty(len(wanted), *images.shape[1:], dtype=torch.uint8)
        for i, label in enumerate(wanted.tolist()):
            of_class = images[labels == label]
            made[i] = of_class[taken[label] % len(of_class)]
            taken[label] += 1
        return made

    monkeypatch.setattr(bank, "sample", sample)
    return bank


# ---- Frechet distance ----


def test_the_frechet_distance_of_two_normal_distributions_is_the_known_one():
    # of normal distributions with diagonal covariances: squared differences of means and of standard deviations
    a = normal(100_000, 0, 2) * torch.tensor([1.0, 3.0]) + torch.tensor([2.0, 0.0])
    b = normal(100_000, 1, 2) * torch.tensor([2.0, 0.5]) + torch.tensor([0.0, 1.0])
    assert frechet_distance(a, b) == pytest.approx(2**2 + 1**2 + 1**2 + 2.5**2, rel=0.02)


def test_the_frechet_distance_is_that_of_the_matrix_root():
    mix = torch.randn(8, 8, generator=gen(3))
    a, b = normal(60, 0), normal(40, 1) @ mix + 1
    cov_a, cov_b = np.cov(a.double().numpy().T), np.cov(b.double().numpy().T)
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    means = (a.double().mean(0) - b.double().mean(0)).square().sum().item()
    assert frechet_distance(a, b) == pytest.approx(means + np.trace(cov_a + cov_b - 2 * root), rel=1e-9)


@pytest.mark.parametrize("count", [1, 2, 5, 100])
def test_the_frechet_distance_of_a_set_to_itself_is_0_even_where_its_covariance_is_singular(count):
    x = normal(count, 0)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + 2) == pytest.approx(8 * 2**2, rel=1e-5)


def test_the_frechet_distance_is_symmetric_and_takes_sets_of_different_size():
    a, b = normal(5, 0), 3 * normal(70, 1)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


# ---- precision, recall, density, coverage ----


def test_the_neighbourhoods_of_toy_points_are_the_ones_worked_out_by_hand():
    real = torch.tensor([[0.0], [1.0], [3.0], [10.0]])  # radii 1, 1, 2, 7 for k = 1
    fake = torch.tensor([[0.5], [1.5], [4.5], [40.0]])  # radii 1, 1, 3, 35.5
    found = neighbourhoods(real, fake, k=1)
    # balls of real ones: [-1, 1], [0, 2], [1, 5], [3, 17]; 0.5 is in two, 1.5 in two, 4.5 in two, 40 in none
    assert found.precision == 3 / 4
    assert found.density == 6 / 4
    assert found.coverage == 1.0
    # balls of generated ones: [-0.5, 1.5], [0.5, 2.5], [1.5, 7.5], [4.5, 75.5]
    assert found.recall == 1.0
    assert neighbourhoods(real, fake + 100, k=1) == (0, 0, 0, 0)


def test_sets_of_one_distribution_get_what_theory_says():
    found = [neighbourhoods(normal(400, seed), normal(400, seed + 50)) for seed in range(4)]
    precision, recall, density, coverage = np.mean(found, axis=0)
    assert density == pytest.approx(1, abs=0.06)
    assert coverage == pytest.approx(1 - 2**-5, abs=0.02)
    assert precision == pytest.approx(recall, abs=0.03)


def test_a_generator_of_one_kind_of_image_is_precise_but_covers_little():
    found = neighbourhoods(normal(200, 0), 0.05 * normal(200, 1))
    assert found.precision == 1
    assert found.recall < 0.05
    assert found.coverage < 0.6


@pytest.mark.parametrize("count", [2, 3, 9])
def test_equal_features_and_tiny_sets_give_finite_figures(count):
    same = torch.ones(count, 4)
    assert neighbourhoods(same, same) == (1, 1, pytest.approx(count / (count - 1)), 1)
    assert neighbourhoods(same, same + 1) == (0, 0, 0, 0)


# ---- figures of a bank ----


def test_reconstruction_and_kl_are_those_of_the_images(bank, model, train, held_out):
    quality = measure_quality(bank, model, train, held_out)
    error = to_float(held_out[0]) - bank.reconstruct(*held_out)
    mean, logvar = bank.encode(*held_out)
    kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).sum(1).mean()
    assert quality.rmse == pytest.approx(error.square().mean().sqrt().item(), rel=1e-5)
    assert quality.kl == pytest.approx(kl.item(), rel=1e-5)
    assert quality.train_rmse != quality.rmse


def test_copies_of_training_images_are_counted(monkeypatch, bank, model, train, held_out):
    quality = measure_quality(bank_that_makes(monkeypatch, bank, *train), model, train, held_out)
    assert quality.near_duplicates == quality.generated == 240
    assert quality.copy_distance == 0 < quality.real_distance


def test_copies_among_other_images_are_counted(monkeypatch, bank, model, train, held_out):
    fresh, labels = shapes(80, seed=5)
    copied = torch.arange(len(fresh)) % 80 < 25
    fresh[copied] = train[0][torch.arange(90) % 30 < 25]
    quality = measure_quality(bank_that_makes(monkeypatch, bank, fresh, labels), model, train, held_out)
    assert 75 <= quality.near_duplicates <= 85


def test_copies_are_counted_where_real_images_repeat_too(monkeypatch, bank, model, train, held_out):
    images, labels = held_out[0].clone(), held_out[1]
    images[::10] = torch.stack([train[0][train[1] == label][0] for label in labels[::10]])
    quality = measure_quality(bank_that_makes(monkeypatch, bank, *train), model, train, (images, labels))
    assert quality.near_duplicates == quality.generated == 240


def test_copies_of_another_class_are_not_near(monkeypatch, bank, model, train, held_out):
    images, labels = train
    quality = measure_quality(bank_that_makes(monkeypatch, bank, images, (labels + 1) % 3), model, train, held_out)
    assert quality.near_duplicates == 0
    assert quality.copy_distance > quality.real_distance


def test_copies_are_found_among_more_training_images_than_are_used_otherwise(monkeypatch, bank, model, held_out):
    many = shapes(300, seed=6)
    quality = measure_quality(bank_that_makes(monkeypatch, bank, *many), model, many, held_out, most=50)
    assert quality.near_duplicates == quality.generated
    assert quality.held_out == 50


def test_new_real_images_are_as_good_as_real_and_noise_is_not(monkeypatch, bank, model, train, held_out):
    real = measure_quality(bank_that_makes(monkeypatch, bank, *shapes(80, seed=7)), model, train, held_out)
    assert min(real.precision, real.recall, real.coverage, real.density) > 0.85
    assert real.copy_distance == pytest.approx(real.real_distance, rel=0.2)
    assert real.near_duplicates < 10
    noise = torch.randint(0, 256, (240, 1, 12, 12), generator=gen(), dtype=torch.uint8)
    labels = torch.arange(240) % 3
    bad = measure_quality(bank_that_makes(monkeypatch, bank, noise, labels), model, train, held_out)
    assert max(bad.precision, bad.recall, bad.coverage, bad.density) < 0.2
    assert bad.frechet > 20 * max(real.frechet, real.frechet_real)
    assert bad.frechet_real == real.frechet_real
    assert bad.rmse == real.rmse


def test_training_images_as_generated_ones_are_as_far_as_frechet_real(monkeypatch, bank, model, held_out):
    train = shapes(40, seed=10)
    quality = measure_quality(bank_that_makes(monkeypatch, bank, *train), model, train, held_out)
    assert quality.frechet == pytest.approx(quality.frechet_real)


def test_both_frechet_distances_are_of_as_many_images_where_training_images_are_few(
    monkeypatch, bank, model, train, held_out
):
    few = train[0][::6], train[1][::6]  # 5 a class, where 40 are held out
    quality = measure_quality(bank_that_makes(monkeypatch, bank, *shapes(80, seed=7)), model, few, held_out)
    plenty = measure_quality(bank, model, shapes(80, seed=11), held_out)
    assert 0.5 < quality.frechet / quality.frechet_real < 2
    assert quality.frechet > 2 * plenty.frechet_real  # few images are far from any others


@pytest.mark.parametrize(("used", "generated"), [(120, 240), (1000, 240), (50, 200), (7, 203), (2, 200)])
def test_as_many_are_generated_as_are_held_out_or_a_few_sets_of_them(bank, model, train, held_out, used, generated):
    quality = measure_quality(bank, model, train, held_out, most=used)
    assert quality.held_out == min(used, 120)
    assert quality.generated == generated >= LEAST_GENERATED
    assert all(map(math.isfinite, quality.to_dict().values()))


def test_generated_images_have_the_labels_of_the_held_out_ones(monkeypatch, bank, model, train, held_out):
    asked, sample = [], bank.sample
    monkeypatch.setattr(bank, "sample", lambda labels, **options: asked.append(labels) or sample(labels, **options))
    few = held_out[0][30:60], held_out[1][30:60]  # 10 of class 0, 20 of class 1
    measure_quality(bank, model, train, few)
    assert torch.bincount(asked[0]).tolist() == [70, 140]


def test_one_seed_gives_the_same_figures_and_leaves_the_global_generator_alone(bank, model, train, held_out):
    before = torch.get_rng_state()
    first, again, other = (measure_quality(bank, model, train, held_out, seed=s, most=60) for s in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    assert first == again
    assert all(getattr(first, name) != getattr(other, name) for name in ("rmse", "kl", "frechet", "copy_distance"))


def test_arguments_are_not_changed(bank, model, train, held_out):
    copies = [tensor.clone() for tensor in (*train, *held_out)]
    measure_quality(bank, model, train, held_out, most=30)
    assert all(map(torch.equal, copies, (*train, *held_out)))


# ---- sets that are hardly there ----


def test_one_held_out_image_a_class(bank, model, train, held_out):
    chosen = torch.tensor([0, 40, 80])
    quality = measure_quality(bank, model, train, (held_out[0][chosen], held_out[1][chosen]))
    assert (quality.held_out, quality.generated) == (3, 201)


def test_one_training_image_a_class(bank, model, train, held_out):
    chosen = torch.tensor([0, 30, 60])
    quality = measure_quality(bank, model, (train[0][chosen], train[1][chosen]), held_out)
    assert quality.held_out == 120
    assert quality.frechet_real > 0


def test_a_single_training_image_and_two_held_out_ones(bank, model, train, held_out):
    quality = measure_quality(bank, model, (train[0][:1], train[1][:1]), (held_out[0][:2], held_out[1][:2]))
    assert (quality.held_out, quality.generated) == (2, 200)


def test_a_class_whose_fit_failed_counts_like_any_other(bank, model, train, held_out):
    first, *others = bank.class_infos
    infos = (replace(first, status="failed", note="loss not finite"), *others)
    failed = VAEBank(replace(bank.content, class_infos=infos))
    assert measure_quality(failed, model, train, held_out) == measure_quality(bank, model, train, held_out)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("level", [0, 128])
def test_constant_images_give_finite_figures(channels, level):
    images = np.full((12, 16, 12, channels), level, np.uint8)
    bank = fit([(image.squeeze(), k % 2) for k, image in enumerate(images)], config=CONFIG, progress=False)
    real = torch.from_numpy(images).permute(0, 3, 1, 2), torch.arange(12) % 2
    quality = measure_quality(bank, untrained((channels, 16, 12), 2), real, real)
    assert quality.real_distance == quality.frechet_real == quality.near_duplicates == 0
    assert quality.held_out == 12


def test_colour_images(monkeypatch):
    images = torch.randint(0, 256, (20, 3, 12, 12), generator=gen(), dtype=torch.uint8)
    labels = torch.arange(20) % 2
    items = list(zip(images.permute(0, 2, 3, 1).numpy(), labels.tolist(), strict=True))
    bank = fit(items, config=CONFIG, progress=False)
    other = 255 - images
    quality = measure_quality(
        bank_that_makes(monkeypatch, bank, images, labels), untrained((3, 12, 12), 2), (images, labels), (other, labels)
    )
    assert quality.near_duplicates == quality.generated == 200


def test_features_that_are_all_equal_give_finite_figures(bank, train, held_out):
    model = untrained((1, 12, 12), 3)
    for parameter in model.parameters():
        parameter.data.zero_()
    quality = measure_quality(bank, model, train, held_out)
    assert quality.frechet == quality.frechet_real == 0
    assert quality.precision == quality.recall == quality.coverage == 1
    assert quality.density == pytest.approx(120 / 119)


def test_a_thousand_images_are_measured_whole(bank, model):
    assert measure_quality(bank, model, shapes(340, seed=8), shapes(340, seed=9)).generated == 1000


# ---- what is refused ----


def test_too_few_held_out_images_are_refused(bank, model, train, held_out):
    with pytest.raises(ValueError, match=r"held_out images must be at least 2, got 1000, 1\.$"):
        measure_quality(bank, model, train, (held_out[0][:1], held_out[1][:1]))
    with pytest.raises(ValueError, match=r"^most and the number of held_out images must be at least 2, got 1, 120\.$"):
        measure_quality(bank, model, train, held_out, most=1)


def test_a_class_without_training_images_is_named(bank, model, train, held_out):
    some = train[1] != 1
    with pytest.raises(ValueError, match=r"^held_out must be of classes that train has images of, got label 1\."):
        measure_quality(bank, model, (train[0][some], train[1][some]), held_out)


def test_a_class_that_the_bank_lacks_is_named(bank, model, train, held_out):
    with pytest.raises(ValueError, match=r"^labels must be among the bank's \[0, 2\], got 1\.$"):
        measure_quality(bank.subset([0, 2]), model, train, held_out)


def test_images_and_labels_that_do_not_fit_are_named(bank, model, train, held_out):
    images, labels = held_out
    with pytest.raises(TypeError, match=r"^held_out images must be uint8, got torch\.float32\.$"):
        measure_quality(bank, model, train, (to_float(images), labels))
    with pytest.raises(ValueError, match=r"^train images must be \['N', 1, 12, 12\], got \[90, 1, 12, 11\]\.$"):
        measure_quality(bank, model, (train[0][..., 1:], train[1]), held_out)
    with pytest.raises(ValueError, match=r"^held_out labels must be int64 \[120\], got torch\.int64 \[119\]\.$"):
        measure_quality(bank, model, train, (images, labels[1:]))
    with pytest.raises(ValueError, match=r"^train labels must be int64 \[90\], got torch\.float32 \[90\]\.$"):
        measure_quality(bank, model, (train[0], train[1].float()), held_out)


def test_a_model_that_diverged_is_named(bank, train, held_out):
    model = untrained((1, 12, 12), 3)
    next(model.parameters()).data.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"^model must give finite features, got some that are not"):
        measure_quality(bank, model, train, held_out)


# ---- the figures as data ----


def test_figures_survive_json(bank, model, train, held_out):
    for quality in (FIGURES, measure_quality(bank, model, train, held_out)):
        assert Quality.from_dict(json.loads(json.dumps(quality.to_dict(), allow_nan=False))) == quality
        assert all(type(value).__name__ == field.type for value, field in figures(quality))


def figures(quality):
    return [(getattr(quality, field.name), field) for field in fields(Quality)]


@pytest.mark.parametrize(("name", "value"), [("rmse", "0.1"), ("frechet", True), ("generated", 1.0)])
def test_what_is_no_number_is_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name} of quality must be a (whole )?number, got "):
        Quality.from_dict({**FIGURES.to_dict(), name: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1, -0.1, 10**400])
def test_numbers_that_are_not_finite_or_below_0_are_refused(value):
    with pytest.raises(ValueError, match=r"^kl must be finite and at least 0, got "):
        Quality.from_dict({**FIGURES.to_dict(), "kl": value})


def test_lacking_and_unknown_figures_are_refused():
    values = FIGURES.to_dict()
    with pytest.raises(ValueError, match=r"^quality has an unknown entry 'beauty'"):
        Quality.from_dict({**values, "beauty": 1.0})
    del values["recall"]
    with pytest.raises(ValueError, match=r"^quality lacks the entry 'recall'"):
        Quality.from_dict(values)
