from __future__ import annotations

import math
from dataclasses import fields, replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_augment import VAEBank
from vae_augment.bank.draws import GENERATED, JITTERED, REAL, UNLABELLED, Draws, draw_batch, shares_of

LATENT, WIDTH = 4, 3  # of the latents, and of a move
STILL = SimpleNamespace(latent_dim=LATENT, policy=SimpleNamespace(mover=None))  # what draws need to know of a bank
BANK = SimpleNamespace(latent_dim=LATENT, policy=SimpleNamespace(mover=SimpleNamespace(width=WIDTH)))


def alike(count, p_generate=0.3, p_jitter=0.2, p_unlabelled=0.1):
    return torch.tensor([[p_generate, p_jitter, p_unlabelled]]).expand(count, 3)


def seeded(indices, *, seed=0, epoch=0):
    return draw_batch(BANK, indices, alike(len(indices)), seed=seed, epoch=epoch)


def equal(a, b):
    return all(torch.equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(Draws))


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(indices=st.lists(st.integers(0, 2**40), min_size=1, max_size=12), seed=st.integers(-(2**70), 2**70))
def test_a_seeded_draw_is_a_function_of_seed_epoch_and_index(indices, seed):
    together = seeded(indices, seed=seed)
    for position, index in enumerate(indices):
        assert equal(together.pick(torch.tensor([position])), seeded([index], seed=seed))


def test_seeds_epochs_and_indices_draw_apart():
    draws = [seeded([3]), seeded([4]), seeded([3], seed=1), seeded([3], epoch=1), seeded([3], seed=1, epoch=1)]
    assert len({tuple(d.noise[0].tolist()) for d in draws}) == len(draws)
    assert len({tuple(d.moves[0].tolist()) for d in draws}) == len(draws)


def test_a_seeded_draw_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    seeded(range(5))
    assert torch.equal(torch.get_rng_state(), before)


def fresh(count):
    torch.manual_seed(0)
    return draw_batch(BANK, range(count), alike(count), seed=None)


@pytest.mark.parametrize("draw", [fresh, lambda count: seeded(range(count))], ids=["fresh", "seeded"])
def test_shares_and_noise_are_as_asked(draw):
    count = 4000
    draws = draw(count)
    for kind, share in ((GENERATED, 0.3), (JITTERED, 0.2), (UNLABELLED, 0.1), (REAL, 0.4)):
        error = 4 * math.sqrt(share * (1 - share) / count)
        assert (draws.kind == kind).float().mean().item() == pytest.approx(share, abs=error)
    assert draws.noise.shape == (count, LATENT)
    assert draws.noise.mean().item() == pytest.approx(0, abs=4 / math.sqrt(count * LATENT))
    assert draws.noise.std().item() == pytest.approx(1, abs=4 / math.sqrt(2 * count * LATENT))
    assert draws.moves.shape == (count, WIDTH)
    assert 0 <= draws.moves.min() <= draws.moves.max() < 1
    assert draws.moves.mean(0).tolist() == pytest.approx([0.5] * WIDTH, abs=4 * 0.29 / math.sqrt(count))
    independent = torch.cat([draws.moves, draws.noise, draws.chosen[:, None]], dim=1).T.corrcoef().fill_diagonal_(0)
    assert independent.abs().max() < 4.5 / math.sqrt(count)
    assert 0 <= draws.chosen.min() <= draws.chosen.max() < 1
    assert draws.chosen[draws.kind == GENERATED].mean().item() == pytest.approx(0.5, abs=4 * 0.29 / math.sqrt(1000))


@pytest.mark.parametrize(
    ("shares", "kind"), [((0, 0, 0), REAL), ((1, 0, 0), GENERATED), ((0, 1, 0), JITTERED), ((0, 0, 1), UNLABELLED)]
)
def test_a_share_of_one_is_always(shares, kind):
    draws = draw_batch(BANK, range(200), alike(200, *shares), seed=0)
    assert set(draws.kind.tolist()) == {kind}


def test_fresh_draws_follow_the_global_generator():
    first, again = fresh(6), fresh(6)
    assert equal(first, again)
    assert not equal(draw_batch(BANK, range(6), alike(6), seed=None), again)


def test_no_moves_draw_nothing_for_them():
    for seed in (0, None):
        assert draw_batch(STILL, [1, 2], alike(2), seed=seed).moves.shape == (2, 0)


def test_nothing_is_drawn_where_all_items_stay_real():
    before = torch.get_rng_state()
    assert draw_batch(BANK, range(3), alike(3, 0, 0, 0), seed=None).kind.tolist() == [REAL] * 3
    assert torch.equal(torch.get_rng_state(), before)


def test_a_class_that_failed_is_served_no_items_of_its_vae(bank):
    infos = (replace(bank.class_infos[0], status="failed"), *bank.class_infos[1:])
    failed, wanted = VAEBank(replace(bank.content, class_infos=infos)), torch.tensor([0.25, 0.5, 0.125])
    shares = shares_of(failed, torch.tensor([1, 0, 2, 0]), wanted)
    assert shares.tolist() == [[0.25, 0.5, 0.125], [0, 0, 0.125]] * 2
