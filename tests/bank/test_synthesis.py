from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_augment.bank.draws import REAL, Draws, draw_fresh, draw_seeded, no_draws
from vae_augment.bank.item_cache import Cache
from vae_augment.bank.synthesis import GENERATED, JITTERED, synthesise
from vae_augment.data.source import Source
from vae_augment.images.moves import MOVES
from vae_augment.model.devices import single_thread

LATENT, WIDTH = 4, 3  # of the latents, and of a move


def shares_of(count, p_generate=0.3, p_jitter=0.2):
    return torch.tensor([[p_generate, p_jitter]]).expand(count, 2)


def seeded(indices, *, seed=0, epoch=0):
    return draw_seeded(indices, LATENT, shares_of(len(indices)), WIDTH, seed=seed, epoch=epoch)


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
    return draw_fresh(count, LATENT, shares_of(count), WIDTH)


@pytest.mark.parametrize("draw", [fresh, lambda count: seeded(range(count))], ids=["fresh", "seeded"])
def test_shares_and_noise_are_as_asked(draw):
    count = 4000
    draws = draw(count)
    for kind, share in ((GENERATED, 0.3), (JITTERED, 0.2), (REAL, 0.5)):
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


@pytest.mark.parametrize(("shares", "kind"), [((0, 0), REAL), ((1, 0), GENERATED), ((0, 1), JITTERED)])
def test_a_share_of_one_is_always(shares, kind):
    draws = draw_seeded(range(200), LATENT, shares_of(200, *shares), seed=0, epoch=0)
    assert set(draws.kind.tolist()) == {kind}


def test_fresh_draws_follow_the_global_generator():
    first, again = fresh(6), fresh(6)
    assert equal(first, again)
    assert not equal(draw_fresh(6, LATENT, shares_of(6), WIDTH), again)


def test_no_moves_draw_nothing_for_them():
    assert draw_seeded([1, 2], LATENT, shares_of(2), seed=0, epoch=0).moves.shape == (2, 0)
    assert draw_fresh(2, LATENT, shares_of(2)).moves.shape == (2, 0)
    assert no_draws(3).kind.tolist() == [REAL] * 3


PIXELS = [
    torch.full((1, 12, 12), 200, dtype=torch.uint8),
    torch.rand(3, 30, 17, generator=torch.Generator().manual_seed(0)),
    torch.full((4, 9, 40), 90, dtype=torch.uint8),
    torch.rand(1, 12, 12, generator=torch.Generator().manual_seed(1)),
]
ROWS = torch.tensor([2, 0, 0, 1])


def draws_of(*kinds):
    widest = max(moves.width for moves in MOVES.values() if moves is not None)
    count = len(kinds)
    draws = draw_seeded(range(count), LATENT, shares_of(count), widest, seed=0, epoch=0)
    return replace(draws, kind=torch.tensor(kinds))


@pytest.fixture
def still(bank):
    """The bank with a policy that jitters and moves nothing."""
    return bank.with_policy(moves="none")


class Listed:
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], index


SOURCE = Source(Listed(PIXELS))


def made_of(bank, draws, items=range(4), *, scale=None, cache=None):
    items = torch.tensor(list(items))
    cache = cache or Cache(bank, ROWS)
    mover = bank.policy.mover
    draws = replace(draws, moves=draws.moves[:, : 0 if mover is None else mover.width])
    return [item[0] for item in synthesise(bank, SOURCE, cache, items, ROWS[items], draws, scale=scale)]


@pytest.mark.parametrize("moves", MOVES)
@pytest.mark.parametrize("keep_detail", [False, True])
@pytest.mark.parametrize("kinds", [(JITTERED,) * 4, (GENERATED,) * 4, (GENERATED, JITTERED, GENERATED, JITTERED)])
def test_each_image_keeps_its_kind_and_does_not_depend_on_its_batch(bank, moves, keep_detail, kinds):
    bank, draws = bank.with_policy(keep_detail=keep_detail, moves=moves), draws_of(*kinds)
    made = made_of(bank, draws)
    assert [(image.shape, image.dtype) for image in made] == [(p.shape, p.dtype) for p in PIXELS]
    for i, image in enumerate(made):
        assert torch.equal(made_of(bank, draws.pick(torch.tensor([i])), [i])[0], image)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("keep_detail", [False, True])
def test_what_is_known_already_changes_nothing(still, keep_detail, together):
    bank, draws = still.with_policy(keep_detail=keep_detail), draws_of(*[JITTERED] * 4)
    cache = Cache(bank, ROWS, together=together)
    first = made_of(bank, draws, cache=cache)
    assert not cache.codes.get(torch.arange(4)).isnan().any()
    assert cache.reconstructions.get(torch.arange(4)).isnan().any() == (not keep_detail)
    assert all(map(torch.equal, first, made_of(bank, draws, cache=cache)))


def test_scale_zero_with_detail_kept_gives_the_image_back(still):
    made = made_of(still.with_policy(keep_detail=True), draws_of(*[JITTERED] * 4), scale=0)
    assert all(torch.equal(a, p) for a, p in zip(made, PIXELS, strict=True))


def test_images_larger_than_the_banks_keep_their_detail_whatever_the_policy(still):
    made = made_of(still.with_policy(keep_detail=False), draws_of(*[JITTERED] * 4), scale=0)
    assert [torch.equal(a, p) for a, p in zip(made, PIXELS, strict=True)] == [False, True, True, False]


def moved_alone(image, draws, place, moves):
    """An image moved by the policy's moves, in its own kind."""
    x = image.float() / 255 if image.dtype == torch.uint8 else image
    moved = moves.apply(x[None], draws.moves[place : place + 1, : moves.width])[0]
    return (moved * 255).round().to(torch.uint8) if image.dtype == torch.uint8 else moved


@pytest.mark.parametrize("moves", [name for name in MOVES if name != "none"])
@pytest.mark.parametrize("keep_detail", [False, True])
def test_the_policys_moves_come_after_the_jitter(bank, moves, keep_detail):
    bank, draws = bank.with_policy(keep_detail=keep_detail, moves=moves), draws_of(*[JITTERED] * 4)
    jittered = made_of(bank.with_policy(moves="none"), draws)
    made = made_of(bank, draws)
    for place, (image, before) in enumerate(zip(made, jittered, strict=True)):
        wanted = moved_alone(before, draws, place, MOVES[moves])
        if image.dtype == torch.uint8:  # rounded once, and twice
            image, wanted = image.float() / 255, wanted.float() / 255
        # a difference that is larger than the bank's is not made as large before it is moved
        assert (image - wanted).abs().mean() < (0.01 if keep_detail else 0.003)
    assert not any(torch.equal(a, b) for a, b in zip(made, jittered, strict=True))


@pytest.mark.parametrize("moves", [name for name in MOVES if name != "none"])
def test_without_jitter_images_are_moved_alone(bank, moves):
    bank, draws = bank.with_policy(keep_detail=True, moves=moves), draws_of(*[JITTERED] * 4)
    for place, (image, pixels) in enumerate(zip(made_of(bank, draws, scale=0), PIXELS, strict=True)):
        torch.testing.assert_close(image, moved_alone(pixels, draws, place, MOVES[moves]), rtol=0, atol=1e-5)


def test_generated_images_are_not_moved(bank):
    draws = draws_of(*[GENERATED] * 4)
    made = [made_of(bank.with_policy(moves=moves), draws) for moves in ("none", "elastic")]
    assert all(map(torch.equal, *made))


def test_what_is_known_of_an_image_serves_each_of_its_moves(bank):
    bank = bank.with_policy(keep_detail=True, moves="elastic")
    cache = Cache(bank, ROWS, together=True)
    first = made_of(bank, draws_of(*[JITTERED] * 4), cache=cache)
    assert not cache.codes.get(torch.arange(4)).isnan().any()
    assert not cache.reconstructions.get(torch.arange(4)).isnan().any()
    assert all(map(torch.equal, first, made_of(bank, draws_of(*[JITTERED] * 4), cache=cache)))


def test_an_item_that_is_twice_in_a_batch_is_moved_twice(bank):
    draws = draws_of(*[JITTERED] * 4)
    made = made_of(bank.with_policy(moves="elastic"), draws, [3, 3, 0, 0])
    assert not torch.equal(made[0], made[1])
    for place, item in enumerate([3, 3, 0, 0]):
        alone = made_of(bank.with_policy(moves="elastic"), draws.pick(torch.tensor([place])), [item])
        assert torch.equal(alone[0], made[place])


@pytest.mark.parametrize(("kind", "moves"), [(JITTERED, True), (GENERATED, False)])
def test_scale_is_of_the_jitter_alone(bank, kind, moves):
    small, large = (made_of(bank, draws_of(*[kind] * 4), scale=scale) for scale in (0.1, 2.0))
    assert [not torch.equal(a, b) for a, b in zip(small, large, strict=True)] == [moves] * 4


def test_the_policys_scale_is_the_default(bank):
    draws = draws_of(*[JITTERED] * 4)
    given_scale, default = (
        made_of(b, draws, scale=scale) for b, scale in ((bank, 1.7), (bank.with_policy(scale=1.7), None))
    )
    assert all(torch.equal(a, b) for a, b in zip(given_scale, default, strict=True))


def test_threads_are_put_back_even_after_an_error():
    def fail():
        assert torch.get_num_threads() == 1
        raise RuntimeError("stop")

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="stop"), single_thread():
            fail()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
