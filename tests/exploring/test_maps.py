from dataclasses import replace

import pytest
import torch

from tests.random_banks import random_bank
from vae_augment import VAEBank
from vae_augment.data.loading import load_images
from vae_augment.data.source import Source
from vae_augment.exploring.maps import codes_of, latent_map, posterior, start_codes


def groups(seed=0):
    """Two groups of 30 points each, far apart in five dimensions."""
    points = torch.randn(60, 5, generator=torch.Generator().manual_seed(seed))
    points[30:] += 20
    return points


# ---- codes ----


def test_the_codes_that_a_bank_keeps_are_those_of_its_images(bank, data):
    kept, encoded = codes_of(bank), codes_of(bank, data)
    assert torch.equal(kept.rows, encoded.rows)
    assert (kept.items, encoded.items.tolist()) == (None, list(range(30)))
    torch.testing.assert_close(kept.latents, encoded.latents, atol=2e-3, rtol=2e-3)  # kept in half precision
    torch.testing.assert_close(encoded.latents, bank.encode(data.images, data.labels)[0])


def test_few_of_each_class_are_chosen_by_the_seed(bank, data):
    first, again, other = (codes_of(bank, data, most=4, seed=seed) for seed in (0, 0, 1))
    assert first.rows.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert torch.equal(data.labels[first.items], first.rows)
    assert torch.equal(first.latents, again.latents)
    assert not torch.equal(first.items, other.items)
    assert codes_of(bank, most=4).latents.shape == (12, 4)


def test_classes_that_the_data_lacks_have_no_codes(bank, shapes):
    few = load_images(Source([shapes[12], shapes[25]]), bank.image_shape)
    assert codes_of(bank, few).rows.tolist() == [1, 2]


def test_a_bank_without_codes_asks_for_images(without_codes, data):
    with pytest.raises(ValueError, match=r"keeps no codes of images, it was fitted with exemplars=0: give the images"):
        codes_of(without_codes)
    assert len(codes_of(without_codes, data).latents) == 30


def test_codes_of_the_start_do_not_depend_on_the_class(bank, data):
    codes = start_codes(bank, data.images)
    assert codes.shape == (30, 4)
    assert not torch.equal(codes, codes_of(bank, data).latents)
    with pytest.raises(ValueError, match="has no shared start"):
        start_codes(VAEBank(replace(bank.content, start=None)), data.images)


def test_posteriors_are_the_same_on_any_number_of_threads():
    larger = random_bank((1, 28, 28), latent_dim=16, width=16)
    images = torch.randint(256, (6, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    one = posterior(larger, images, 1)
    torch.set_num_threads(2)  # of this many products of this size round otherwise
    try:
        two = posterior(larger, images, 1)
    finally:
        torch.set_num_threads(1)
    assert all(map(torch.equal, one, two))


def test_posteriors_of_no_images(bank, data):
    assert posterior(bank, data.images[:0], 1)[0].shape == (0, 4)


# ---- maps ----


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_map_keeps_groups_apart_and_is_a_function_of_codes_and_seed(method):
    points = groups()
    first, again = latent_map(points, method=method), latent_map(points, method=method)
    assert (first.dtype, first.shape) == (torch.float32, (60, 2))
    assert torch.equal(first, again)
    within = torch.cdist(first[:30], first[:30]).amax()
    assert torch.cdist(first[:30], first[30:]).amin() > 0.3 * within


def test_pca_keeps_the_directions_of_the_largest_variance():
    points = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 9.0, 3.0])
    found = latent_map(points)
    centred = points - points.mean(0)
    for axis, column in zip((1, 2), found.T, strict=True):
        assert abs(torch.corrcoef(torch.stack([centred[:, axis], column]))[0, 1]) > 0.98


@pytest.mark.parametrize("method", ["pca", "tsne"])
@pytest.mark.parametrize("count", [0, 1, 2, 4, 5, 7])
@pytest.mark.parametrize("dimensions", [1, 2, 6])
def test_maps_of_few_codes_and_of_few_dimensions(method, count, dimensions):
    points = torch.randn(count, dimensions, generator=torch.Generator().manual_seed(1))
    found = latent_map(points, method=method)
    assert found.shape == (count, 2)
    assert bool(found.isfinite().all())


def test_codes_that_are_all_the_same_lie_on_one_point():
    assert latent_map(torch.full((20, 3), 1.5), method="tsne").abs().max() == 0


def test_an_unknown_method():
    with pytest.raises(ValueError, match="method must be 'pca' or 'tsne', got 'umap'"):
        latent_map(groups(), method="umap")


@pytest.mark.parametrize("seed", [-1, 2**40])
def test_any_whole_number_is_a_seed(seed):
    assert bool(latent_map(groups(), method="tsne", seed=seed).isfinite().all())
