import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_augment.model.geometry import LEAST_METRIC, Metric, walked
from vae_augment.model.latent import (
    LatentStats,
    active_dims,
    concatenate,
    covariance,
    describe,
    pooled_covariance,
    shrinkage_intensity,
)
from vae_augment.model.mixture import fitted
from vae_augment.model.samplers import OF_CODES, SAMPLERS, draw

L = 3


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def codes(count, seed=0, dims=L):
    """Draws of a correlated Gaussian [count, dims] with its mean off the origin."""
    mix = torch.eye(dims) + 0.5 * torch.ones(dims, dims).tril(-1)
    return torch.randn(count, dims, generator=gen(seed)) @ mix.T + torch.arange(1.0, dims + 1)


def stats_of(means):
    """Statistics with the plain covariance, all codes kept."""
    return LatentStats(means.mean(0)[None], covariance(means)[None], means[None], torch.tensor([len(means)]))


def with_posteriors(stats):
    """Statistics as a bank has them: posteriors of its networks, here all of standard deviation 0.1."""
    return replace(stats, posterior_logvar=lambda codes, row: torch.full_like(codes, 2 * math.log(0.1)))


def drawn(stats, count, method, temperature=1.0, row=0):
    rows, stats = torch.full((count,), row), with_posteriors(stats)
    noise, pick = torch.randn(count, stats.mean.shape[1], generator=gen(1)), torch.rand(count, generator=gen(2))
    return draw(stats, rows, noise, pick, method=method, temperature=temperature)


# ---- statistics ----


def test_covariance_is_the_unbiased_one_and_zero_of_one_code():
    means = codes(20)
    torch.testing.assert_close(covariance(means), torch.cov(means.T))
    assert not covariance(codes(1)).any()


def test_the_pooled_covariance_ignores_where_the_classes_are():
    a, b = codes(10), codes(30, seed=1)
    pooled = pooled_covariance([a, b + 100])
    torch.testing.assert_close(pooled, (9 * torch.cov(a.T) + 29 * torch.cov(b.T)) / 38, rtol=1e-3, atol=1e-3)


def test_the_pooled_covariance_of_single_images_is_finite():
    assert torch.equal(pooled_covariance([codes(1), codes(1, seed=1)]), torch.eye(L))


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(1, 6), st.integers(0, 99), st.sampled_from([0.0, 1e-4, 1.0, 1e3]))
def test_shrinkage_is_in_0_to_1_and_what_it_gives_can_be_drawn_from(extra, dims, seed, scale):
    means = codes(1 + extra, seed, dims) * scale
    assert 0 <= shrinkage_intensity(means, torch.eye(dims)) <= 1
    for pooled in (None, torch.eye(dims)):
        stats = describe(means, pooled, 8, gen())
        assert torch.isfinite(stats.scale_tril).all()


def test_shrinkage_falls_with_more_images():
    target = torch.eye(L) * 3
    weights = [
        sum(shrinkage_intensity(codes(count, seed), target) for seed in range(20)) / 20 for count in (6, 20, 100, 1000)
    ]
    assert weights == sorted(weights, reverse=True)
    assert weights[0] > 0.1
    assert weights[-1] < 0.01


@pytest.mark.parametrize("count", [1, 2])
def test_shrinkage_is_whole_below_three_images(count):
    assert shrinkage_intensity(codes(count), torch.eye(L)) == 1
    assert torch.equal(describe(codes(count), 2 * torch.eye(L), 8, gen()).cov[0], 2 * torch.eye(L))


def test_shrunk_covariance_lies_between_its_own_and_the_pooled_one():
    means, pooled = codes(8), torch.eye(L)
    weight = shrinkage_intensity(means, pooled)
    assert 0 < weight < 1
    torch.testing.assert_close(
        describe(means, pooled, 8, gen()).cov[0], (1 - weight) * torch.cov(means.T) + weight * pooled
    )


@pytest.mark.parametrize("pooled", [None, torch.eye(L)])
def test_one_image_is_described_with_finite_numbers(pooled):
    stats = describe(codes(1), pooled, 8, gen())
    for tensor in (stats.mean, stats.cov, stats.exemplars, stats.scale_tril):
        assert torch.isfinite(tensor).all()
    assert torch.equal(stats.exemplars[0], codes(1).half())
    for method in SAMPLERS:
        assert torch.isfinite(drawn(stats, 5, method)).all()


def test_exemplars_are_a_subsample_in_order():
    means = torch.arange(40.0)[:, None]
    first, again, other = (describe(means, None, 10, gen(s)).exemplars[0, :, 0] for s in (0, 0, 1))
    assert len(first.unique()) == 10
    assert torch.equal(first, first.sort().values)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    none = describe(means, None, 0, gen())
    assert (none.exemplars.shape, none.counts.tolist()) == ((1, 0, 1), [0])


def test_dimensions_that_vary_are_active():
    means = torch.zeros(50, 5)
    means[:, [0, 3]] = torch.randn(50, 2, generator=gen())
    means[:, 4] = 7
    assert active_dims(means) == 2
    assert active_dims(means[:1]) == 0


def test_concatenating_pads_the_exemplars_and_keeps_the_counts():
    few, many = stats_of(codes(2)), stats_of(codes(5, seed=1))
    both = concatenate([few, many])
    assert both.counts.tolist() == [2, 5]
    assert both.exemplars.shape == (2, 5, L)
    assert torch.equal(both.exemplars[0, :2], codes(2))
    assert not both.exemplars[0, 2:].any()
    for row, part in enumerate((few, many)):
        assert torch.equal(both.pick([row]).mean, part.mean)
        assert torch.equal(both.pick([row]).cov, part.cov)


# ---- samplers ----


@pytest.mark.parametrize(("method", "count"), [("exemplar", 6), ("exemplar", 200), ("gaussian", 6), ("mixture", 200)])
def test_draws_have_the_mean_and_covariance_of_the_class(method, count):
    means = codes(count)
    cov = torch.cov(means.T, correction=0)  # codes repeat, so theirs is the population's
    z = drawn(replace(stats_of(means), cov=cov[None]), 40_000, method)
    torch.testing.assert_close(z.mean(0), means.mean(0), rtol=0, atol=0.04)
    torch.testing.assert_close(torch.cov(z.T), cov, rtol=0.05, atol=0.04)


def test_prior_draws_are_the_noise_itself():
    noise = torch.randn(4, L, generator=gen(1))
    z = draw(stats_of(codes(5)), torch.zeros(4).long(), noise, torch.rand(4), method="prior", temperature=0.5)
    assert torch.equal(z, 0.5 * noise)


def test_at_temperature_0_exemplar_repeats_training_codes():
    means = codes(10)
    z = drawn(stats_of(means), 100, "exemplar", temperature=0.0)
    nearest = (z[:, None] - means).norm(dim=2).min(1)
    assert nearest.values.max() < 1e-5
    assert len(nearest.indices.unique()) == 10


def test_gaussian_gives_the_mean_at_temperature_0_and_exemplar_turns_into_it_as_that_rises():
    stats = stats_of(codes(10))
    torch.testing.assert_close(drawn(stats, 4, "gaussian", temperature=0.0), codes(10).mean(0).expand(4, L))
    torch.testing.assert_close(drawn(stats, 9, "exemplar", 50.0), drawn(stats, 9, "gaussian"))


def test_a_pick_just_below_1_is_the_last_exemplar_whatever_the_count():
    most = 300
    counts = torch.arange(1, most + 1)
    numbered = torch.arange(float(most)).expand(most, most)[:, :, None]
    stats = LatentStats(torch.zeros(most, 1), torch.zeros(most, 1, 1), numbered, counts)
    pick = torch.full((most,), 1 - 2**-24)
    z = draw(stats, torch.arange(most), torch.zeros(most, 1), pick, method="exemplar", temperature=0.0)
    assert torch.equal(z[:, 0], counts - 1.0)


@pytest.mark.parametrize("method", SAMPLERS)
def test_rows_choose_the_class_and_do_not_mix(method):
    both = with_posteriors(concatenate([stats_of(codes(4)), stats_of(codes(7, seed=1) + 50)]))
    rows = torch.tensor([1, 0, 1])
    noise, pick = torch.randn(3, L, generator=gen(1)), torch.rand(3, generator=gen(2))
    together = draw(both, rows, noise, pick, method=method, temperature=1.0)
    for i, row in enumerate(rows.tolist()):
        alone = draw(
            with_posteriors(both.pick([row])),
            torch.tensor([0]),
            noise[i : i + 1],
            pick[i : i + 1],
            method=method,
            temperature=1.0,
        )
        torch.testing.assert_close(together[i : i + 1], alone)


def test_spread_colours_noise_by_the_covariance():
    noise = torch.randn(40_000, L, generator=gen(1))
    spread = stats_of(codes(50)).spread(torch.zeros(40_000).long(), noise)
    torch.testing.assert_close(torch.cov(spread.T), torch.cov(codes(50).T), rtol=0.05, atol=0.05)


def test_an_unknown_method_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"^method must be one of .*'exemplar', 'gaussian', 'prior', .*got 'smote'\.$"):
        drawn(stats_of(codes(5)), 1, "smote")


@pytest.mark.parametrize("temperature", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("method", SAMPLERS)
def test_a_bad_temperature_is_named(method, temperature):
    with pytest.raises(ValueError, match=f"^temperature must be a finite number of at least 0, got {temperature}"):
        drawn(stats_of(codes(5)), 1, method, temperature)


@pytest.mark.parametrize("method", OF_CODES)
def test_samplers_of_codes_say_what_to_use_without(method):
    stats = concatenate([stats_of(codes(5)), describe(codes(5), None, 0, gen())])
    assert drawn(stats, 2, method, row=0).shape == (2, L)
    with pytest.raises(ValueError, match=rf"method='{method}' needs .*exemplars > 0; use method='gaussian'"):
        drawn(stats, 2, method, row=1)


@pytest.mark.parametrize("method", SAMPLERS)
def test_a_draw_is_a_function_of_its_own_randomness(method):
    stats, count = with_posteriors(stats_of(codes(30))), 9
    noise, pick = torch.randn(count, L, generator=gen(1)), torch.rand(count, generator=gen(2))
    rows = torch.zeros(count, dtype=torch.long)
    whole = draw(stats, rows, noise, pick, method=method, temperature=1.0)
    again = draw(replace(stats), rows, noise, pick, method=method, temperature=1.0)  # nothing kept from the first
    assert torch.equal(whole, again)
    for i in range(count):
        one = slice(i, i + 1)
        torch.testing.assert_close(
            draw(stats, rows[one], noise[one], pick[one], method=method, temperature=1.0), whole[one]
        )


def test_anybodys_sampler_can_be_added_to_the_table(monkeypatch):
    monkeypatch.setitem(SAMPLERS, "means", lambda stats, rows, noise, pick, temperature: stats.mean[rows])
    torch.testing.assert_close(drawn(stats_of(codes(5)), 2, "means"), codes(5).mean(0).expand(2, L))


def heaps(count=60, apart=20.0):
    """Codes in two heaps, of which the second is twice as large."""
    second = torch.arange(count) % 3 > 0
    return torch.randn(count, L, generator=gen()) + apart * second[:, None]


def test_a_mixture_finds_the_heaps_that_a_gaussian_fills_the_space_between():
    means = heaps()
    made = {method: drawn(stats_of(means), 3_000, method).mean(1) for method in ("mixture", "gaussian")}
    between = {method: ((z > 4) & (z < 16)).float().mean().item() for method, z in made.items()}
    assert between["mixture"] < 0.01 < 0.3 < between["gaussian"]
    assert (made["mixture"] > 10).float().mean().item() == pytest.approx(2 / 3, abs=0.03)


def test_a_mixture_of_few_codes_is_one_gaussian():
    stats = stats_of(codes(5))
    assert len(fitted(stats, 0).ends) == 1
    assert torch.isfinite(fitted(stats_of(codes(1)), 0).std).all()


def test_the_gradient_of_the_volume_is_what_autograd_finds():
    metric = Metric(codes(8).double(), torch.rand(8, L, generator=gen(3)).double() + 0.5, 2.0)
    z = (codes(4, seed=5) + 0.3).double().requires_grad_()
    volume, gradient = metric.log_volume(z)
    torch.testing.assert_close(torch.autograd.grad(volume.sum(), z)[0], gradient)
    dense = torch.stack(
        [
            (metric.precision * (-((p - metric.codes) ** 2 * metric.precision).sum(1) / 4).exp()[:, None]).sum(0)
            for p in z
        ]
    )
    torch.testing.assert_close(volume, (dense + LEAST_METRIC).log().sum(1) / 2)


def test_a_walk_about_one_code_has_the_spread_of_its_kernel():
    """About a single code the density is a Gaussian of its posterior's spread, times reach over the root of L."""
    metric = Metric(torch.zeros(1, L), torch.full((1, L), 4.0), math.sqrt(L))
    noise = torch.randn(2_000, 1, L, generator=gen(1))
    ends = torch.cat([walked(metric, torch.zeros(1, L), n, n[:, 0]) for n in noise])
    assert ends.std(0).mean().item() == pytest.approx(0.5, rel=0.15)


def test_walks_stay_near_codes_and_move_away_from_them():
    means = heaps()
    z = drawn(stats_of(means), 100, "geometry")
    nearest = torch.cdist(z, means).amin(1)
    assert 0.05 < nearest.median() < 2
    torch.testing.assert_close(
        torch.cdist(drawn(stats_of(means), 100, "geometry", temperature=0.0), means).amin(1),
        torch.zeros(100),
        atol=2e-2,
        rtol=0,
    )


def test_walks_need_a_banks_networks():
    stats = stats_of(codes(5))
    with pytest.raises(ValueError, match=r"needs a bank's networks: draw by bank\.sample"):
        draw(stats, torch.tensor([0]), torch.zeros(1, L), torch.zeros(1), method="geometry", temperature=1.0)
