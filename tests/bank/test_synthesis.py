from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.conftest import MOVES_TRIED
from vae_augment.bank import synthesis
from vae_augment.bank.draws import GENERATED, JITTERED, draw_batch
from vae_augment.bank.synthesis import Synthesis
from vae_augment.data.source import Source
from vae_augment.images.moves import MOVES
from vae_augment.model.devices import single_thread

PIXELS = [
    torch.full((1, 12, 12), 200, dtype=torch.uint8),
    torch.rand(3, 30, 17, generator=torch.Generator().manual_seed(0)),
    torch.full((4, 9, 40), 90, dtype=torch.uint8),
    torch.rand(1, 12, 12, generator=torch.Generator().manual_seed(1)),
]
ROWS = torch.tensor([2, 0, 0, 1])


def draws_of(bank, *kinds):
    """Numbers that are the same for banks with other moves, as far as these need them."""
    widest = bank.with_policy(moves="elastic-flipped")
    draws = draw_batch(widest, range(len(kinds)), torch.tensor([[0.5, 0.5, 0.0]]).expand(len(kinds), 3), seed=0)
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


def made_of(bank, draws, items=range(4), *, scale=None, synthesis=None):
    synthesis = synthesis or Synthesis(bank, SOURCE, ROWS)
    mover = bank.policy.mover
    draws = replace(draws, moves=draws.moves[:, : 0 if mover is None else mover.width])
    return [item[0] for item in synthesis.items(torch.tensor(list(items)), draws, scale=scale)]


@pytest.mark.parametrize("moves", MOVES_TRIED)
@pytest.mark.parametrize("keep_detail", [False, True])
@pytest.mark.parametrize("kinds", [(JITTERED,) * 4, (GENERATED,) * 4, (GENERATED, JITTERED, GENERATED, JITTERED)])
def test_each_image_keeps_its_kind_and_does_not_depend_on_its_batch(bank, moves, keep_detail, kinds):
    bank, draws = bank.with_policy(keep_detail=keep_detail, moves=moves), draws_of(bank, *kinds)
    made = made_of(bank, draws)
    assert [(image.shape, image.dtype) for image in made] == [(p.shape, p.dtype) for p in PIXELS]
    for i, image in enumerate(made):
        assert torch.equal(made_of(bank, draws.pick(torch.tensor([i])), [i])[0], image)


@pytest.mark.parametrize("moves", MOVES_TRIED)
def test_a_smoothed_difference_does_not_depend_on_the_batch(bank, moves):
    bank, draws = bank.with_policy(keep_detail=True, smooth=True, moves=moves), draws_of(bank, *[JITTERED] * 4)
    made = made_of(bank, draws)
    for i, image in enumerate(made):
        assert torch.equal(made_of(bank, draws.pick(torch.tensor([i])), [i])[0], image)
    assert not any(map(torch.equal, made, made_of(bank.with_policy(smooth=False), draws)))


@pytest.mark.parametrize("soon_read", [0, 100])
@pytest.mark.parametrize("keep_detail", [False, True])
def test_what_is_known_already_changes_nothing(still, keep_detail, soon_read, monkeypatch):
    monkeypatch.setattr(synthesis, "SOON_READ", soon_read)  # codes worked out alone, or with their neighbours'
    bank = still.with_policy(keep_detail=keep_detail)
    draws, made = draws_of(bank, *[JITTERED] * 4), Synthesis(bank, SOURCE, ROWS)
    first = made_of(bank, draws, synthesis=made)
    assert all(map(torch.equal, first, made_of(bank, draws, synthesis=made)))


def test_scale_zero_with_detail_kept_gives_the_image_back(still):
    made = made_of(still.with_policy(keep_detail=True), draws_of(still, *[JITTERED] * 4), scale=0)
    assert all(torch.equal(a, p) for a, p in zip(made, PIXELS, strict=True))


@pytest.mark.parametrize("keep_detail", [False, True])
def test_white_images_of_any_size_are_served(still, keep_detail):
    """Resizing makes of white what is a little more than white."""
    bank = still.with_policy(keep_detail=keep_detail)
    whites = [torch.full((3, side, side + 5), 255, dtype=torch.uint8) for side in range(8, 60)]
    white = Synthesis(bank, Source(Listed(whites)), torch.zeros(len(whites), dtype=torch.long))
    items = torch.arange(len(whites))
    made = white.items(items, draws_of(bank, *[JITTERED] * len(whites)), scale=0)
    assert [image.shape for image, _ in made] == [image.shape for image in whites]
    if keep_detail:
        assert all(torch.equal(image, white) for (image, _), white in zip(made, whites, strict=True))


def test_images_larger_than_the_banks_keep_their_detail_whatever_the_policy(still):
    made = made_of(still.with_policy(keep_detail=False), draws_of(still, *[JITTERED] * 4), scale=0)
    assert [torch.equal(a, p) for a, p in zip(made, PIXELS, strict=True)] == [False, True, True, False]


def moved_alone(image, draws, place, moves):
    """An image moved by the policy's moves, in its own kind."""
    x = image.float() / 255 if image.dtype == torch.uint8 else image
    moved = moves.apply(x[None], draws.moves[place : place + 1, : moves.width])[0]
    return (moved * 255).round().to(torch.uint8) if image.dtype == torch.uint8 else moved


@pytest.mark.parametrize("moves", [name for name in MOVES_TRIED if name not in ("none", "mirrored")])
@pytest.mark.parametrize("keep_detail", [False, True])
def test_the_policys_moves_come_after_the_jitter(bank, moves, keep_detail):
    bank, draws = bank.with_policy(keep_detail=keep_detail, moves=moves), draws_of(bank, *[JITTERED] * 4)
    jittered = made_of(bank.with_policy(moves="none"), draws)
    made = made_of(bank, draws)
    for place, (image, before) in enumerate(zip(made, jittered, strict=True)):
        wanted = moved_alone(before, draws, place, MOVES[moves])
        if image.dtype == torch.uint8:  # rounded once, and twice
            if MOVES[moves].equalize:  # which makes much of a level more or less
                continue
            image, wanted = image.float() / 255, wanted.float() / 255
        # a difference that is larger than the bank's is not made as large before it is moved
        assert (image - wanted).abs().mean() < (0.01 if keep_detail else 0.003)
    assert not any(torch.equal(a, b) for a, b in zip(made, jittered, strict=True))


@pytest.mark.parametrize("moves", [name for name in MOVES_TRIED if name != "none"])
def test_without_jitter_images_are_moved_alone(bank, moves):
    bank, draws = bank.with_policy(keep_detail=True, moves=moves), draws_of(bank, *[JITTERED] * 4)
    for place, (image, pixels) in enumerate(zip(made_of(bank, draws, scale=0), PIXELS, strict=True)):
        torch.testing.assert_close(image, moved_alone(pixels, draws, place, MOVES[moves]), rtol=0, atol=1e-5)


def test_generated_images_are_moved_as_jittered_ones_are(bank):
    draws = draws_of(bank, *[GENERATED] * 4)
    plain, made = (made_of(bank.with_policy(moves=moves), draws) for moves in ("none", "elastic"))
    for place, (image, unmoved) in enumerate(zip(made, plain, strict=True)):
        wanted = moved_alone(unmoved, draws, place, MOVES["elastic"])
        assert (image.float() - wanted.float()).abs().mean() < 0.01 * wanted.float().max()
        assert not torch.equal(image, unmoved)


def test_what_is_known_of_an_image_serves_each_of_its_moves(bank):
    bank = bank.with_policy(keep_detail=True, moves="elastic")
    made, draws = Synthesis(bank, SOURCE, ROWS), draws_of(bank, *[JITTERED] * 4)
    first = made_of(bank, draws, synthesis=made)
    assert all(map(torch.equal, first, made_of(bank, draws, synthesis=made)))


def test_an_item_that_is_twice_in_a_batch_is_moved_twice(bank):
    draws = draws_of(bank, *[JITTERED] * 4)
    made = made_of(bank.with_policy(moves="elastic"), draws, [3, 3, 0, 0])
    assert not torch.equal(made[0], made[1])
    for place, item in enumerate([3, 3, 0, 0]):
        alone = made_of(bank.with_policy(moves="elastic"), draws.pick(torch.tensor([place])), [item])
        assert torch.equal(alone[0], made[place])


@pytest.mark.parametrize(("kind", "moves"), [(JITTERED, True), (GENERATED, False)])
def test_scale_is_of_the_jitter_alone(bank, kind, moves):
    small, large = (made_of(bank, draws_of(bank, *[kind] * 4), scale=scale) for scale in (0.1, 2.0))
    assert [not torch.equal(a, b) for a, b in zip(small, large, strict=True)] == [moves] * 4


def test_the_policys_scale_is_the_default(bank):
    draws = draws_of(bank, *[JITTERED] * 4)
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
