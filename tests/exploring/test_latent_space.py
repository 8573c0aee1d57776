import math
from dataclasses import replace

import pytest
import torch

from vae_augment import FitConfig, VAEBank, fit
from vae_augment.data.loading import load_images
from vae_augment.data.source import Source
from vae_augment.exploring.latent_space import (
    active_directions,
    change,
    copies,
    decoded,
    dimensions,
    kl_of_dimensions,
    manifold,
    plane,
    principal_directions,
    traversal,
)
from vae_augment.model.vae import kl_per_dim


def with_covariance(bank, cov):
    stats = bank.content.stats
    return VAEBank(replace(bank.content, stats=replace(stats, cov=cov.expand_as(stats.cov).contiguous())))


def with_latent_dim(latent_dim):
    from tests.conftest import Shapes

    return fit(Shapes(), config=FitConfig(steps=4, latent_dim=latent_dim, width=8, batch_size=16), progress=False)


# ---- directions ----


def test_the_axes_are_those_of_the_largest_variance_first(bank):
    known = with_covariance(bank, torch.tensor([0.5, 2.0, 0.0, 1.5]).diag())
    found = active_directions(known, 1, 3)
    assert found.names == ("z1", "z3", "z0")
    assert found.vectors.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]]
    assert found.variances.tolist() == [2.0, 1.5, 0.5]
    torch.testing.assert_close(found.shares, torch.tensor([2.0, 1.5, 0.5]) / 4)
    assert len(active_directions(known, 1).names) == 4


def test_the_principal_directions_are_eigenvectors_whose_largest_component_is_positive(bank):
    cov = bank.content.stats.cov[2]
    found = principal_directions(bank, 2)
    assert found.names == ("PC1", "PC2", "PC3", "PC4")
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.vectors.T @ found.variances.diag() @ found.vectors, cov, atol=1e-5, rtol=1e-4)
    assert found.variances.tolist() == sorted(found.variances.tolist(), reverse=True)
    assert (found.vectors.gather(1, found.vectors.abs().argmax(1, keepdim=True)) > 0).all()
    assert found.shares.sum() == pytest.approx(1)
    assert principal_directions(bank, 2, 2).vectors.shape == (2, 4)


def test_a_class_whose_codes_do_not_vary_has_directions_without_length(bank):
    still = with_covariance(bank, torch.zeros(4, 4))
    for found in (active_directions(still, 0), principal_directions(still, 0)):
        assert found.shares.tolist() == [0] * 4
        assert torch.equal(traversal(still, 0, found), still.content.stats.mean[0].expand(4, 7, 4))


def test_a_traversal_is_in_standard_deviations_from_the_mean(bank):
    known = with_covariance(bank, torch.tensor([1.0, 4.0, 9.0, 16.0]).diag())
    found = traversal(known, 0, active_directions(known, 0, 2), (-1.0, 0.0, 2.0)) - known.content.stats.mean[0]
    wanted = torch.zeros(2, 3, 4)
    wanted[0, :, 3], wanted[1, :, 2] = torch.tensor([-4.0, 0, 8]), torch.tensor([-3.0, 0, 6])
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_images_are_decoded_by_the_class_in_any_shape_of_latents(bank):
    latents = traversal(bank, 1, principal_directions(bank, 1, 3))
    images = decoded(bank, 1, latents)
    assert images.shape == (3, 7, 1, 12, 12)
    torch.testing.assert_close(images[2, 5], bank.decode(latents[2, 5][None], torch.tensor([1]))[0])


def test_what_a_direction_changes(bank):
    axes = active_directions(bank, 0)
    mean = bank.content.stats.mean[0]
    reach = axes.vectors[1] * axes.variances[1].sqrt()
    below, above = bank.decode(torch.stack([mean - reach, mean + reach]), torch.zeros(2, dtype=torch.long))
    assert change(bank, 0, axes)[1].item() == pytest.approx((above - below).abs().mean().item(), rel=1e-4)


# ---- planes ----


def test_the_manifold_of_two_dimensions_has_the_quantiles_of_the_prior():
    bank = with_latent_dim(2)
    grid = manifold(bank, 0, 5)
    assert grid.shape == (5, 5, 2)
    below = torch.special.ndtr(grid.double())
    shares = (torch.arange(5, dtype=torch.float64) + 0.5) / 5
    torch.testing.assert_close(below[..., 0], shares.expand(5, 5), atol=1e-6, rtol=0)  # to the right
    torch.testing.assert_close(below[..., 1], shares.flip(0)[:, None].expand(5, 5), atol=1e-6, rtol=0)  # upward
    assert plane(bank, 0, 3).shape == (3, 3, 2)


def test_a_manifold_of_other_dimensions_is_refused(bank):
    with pytest.raises(ValueError, match="of 2 latent dimensions, the bank has 4; see plane"):
        manifold(bank, 0, 5)
    with pytest.raises(ValueError, match="a plane needs 2 latent dimensions, the bank has 1"):
        plane(with_latent_dim(1), 0, 5)


def test_a_plane_lies_around_the_mean_along_the_leading_directions(bank):
    grid = plane(bank, 1, 3)
    two = principal_directions(bank, 1, 2)
    torch.testing.assert_close(grid[1, 1], bank.content.stats.mean[1])
    along = (grid - bank.content.stats.mean[1]) @ two.vectors.T / two.variances.sqrt()  # in standard deviations
    quantile = torch.special.ndtri(torch.tensor(5 / 6)).item()
    torch.testing.assert_close(along[0, 2], torch.tensor([quantile, quantile]), atol=1e-4, rtol=0)
    torch.testing.assert_close(along[2, 0], -torch.tensor([quantile, quantile]), atol=1e-4, rtol=0)


# ---- dimensions ----


def test_divergences_are_means_over_the_images_of_a_class(bank, data, shapes):
    found = kl_of_dimensions(bank, data)
    mean, logvar = bank.encode(data.of(1), torch.ones(10, dtype=torch.long))
    torch.testing.assert_close(found[1], kl_per_dim(mean, logvar).mean(0))
    few = load_images(Source([shapes[12]]), bank.image_shape)
    assert kl_of_dimensions(bank, few).isnan().any(1).tolist() == [True, False, True]


def test_the_table_of_dimensions_says_what_the_axes_do(bank):
    known = with_covariance(bank, torch.tensor([0.5, 2.0, 0.01, 1.5]).diag())
    kl = torch.tensor([1.0, 4.0, 0.0, 3.0])
    table = dimensions(known, 0, kl)
    assert [line.dimension for line in table] == [1, 3, 0, 2]
    assert [line.active for line in table] == [True, True, True, False]
    assert [line.kl_share for line in table] == [0.5, 0.375, 0.125, 0]
    assert sum(line.share for line in table) == pytest.approx(1)
    assert all(math.isnan(line.kl) and math.isnan(line.kl_share) for line in dimensions(known, 0))


# ---- copies ----


def test_generated_images_lie_beside_the_nearest_of_their_class(bank, data):
    found = copies(bank, data, 1, images=2, neighbours=4, seed=3)
    assert found.images.shape == (2, 1, 12, 12)
    for some in (found.in_pixels, found.in_latents):
        assert some.items.shape == (2, 4)
        assert (data.labels[some.items] == 1).all()
        assert (some.distances.diff(dim=1) >= 0).all()
    image, item = found.images[1].float() / 255, found.in_pixels.items[1, 2]
    rmse = (image - data.images[item].float() / 255).square().mean().sqrt()
    assert found.in_pixels.distances[1, 2].item() == pytest.approx(rmse.item(), rel=1e-4)
    labels = torch.ones(1, dtype=torch.long)
    codes = [
        bank.encode(images, labels)[0] for images in (found.images[:1], data.images[found.in_latents.items[0, :1]])
    ]
    assert found.in_latents.distances[0, 0].item() == pytest.approx(
        (codes[0] - codes[1]).square().mean().sqrt().item(), rel=1e-3
    )


def test_copies_are_a_function_of_the_seed_and_images_that_the_bank_has_made_are_seen(bank, data):
    first, again, other = (copies(bank, data, 2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.in_latents.items, again.in_latents.items)
    assert not torch.equal(first.images, other.images)
    copied = load_images(Source([(image, 2) for image in (*first.images, *data.of(2)[:7])]), bank.image_shape)
    found = copies(bank, copied, 2, seed=0)
    assert found.in_pixels.distances[:, 0].tolist() == [0, 0, 0]
    assert found.in_latents.distances[:, 0].max() < 1e-3


def test_a_class_of_one_image_has_no_other_one(bank, shapes):
    one = load_images(Source([shapes[0]]), bank.image_shape)
    found = copies(bank, one, 0)
    assert found.in_pixels.items.tolist() == [[0]] * 3
    assert (found.real_in_pixels, found.real_in_latents) == (math.inf, math.inf)
