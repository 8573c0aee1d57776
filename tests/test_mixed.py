from __future__ import annotations

import pickle

import pytest
import torch

from tests.conftest import Shapes
from vae_augment import FitConfig, VAEAugmentedDataset, VAEBank, fit, mixed
from vae_augment.mixed import LARGEST_PASS, decode_mixed
from vae_augment.mixing import SERVE_BLOCK

ROWS = torch.tensor([2, 0, 0, 1, 2, 2, 2, 2, 2, 0, 2, 2, 2, 2, 2, 2, 2, 2, 2])


def latents_of(bank):
    return torch.randn(len(ROWS), bank.latent_dim, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def wide():
    """A bank of the default's width, whose passes a processor may round alike; the usual one's are too narrow."""
    return fit(Shapes(), config=FitConfig(steps=4, image_size=32), progress=False)


@pytest.fixture(params=["narrow", "wide"])
def either(request, bank, wide):
    return bank if request.param == "narrow" else wide


def test_passes_of_other_sizes_are_used_only_where_they_give_the_same_bits(either):
    z = latents_of(either)
    together = either.decode_rows(z, ROWS, block=SERVE_BLOCK)
    for i in range(len(ROWS)):
        alone = either.decode_rows(z[i : i + 1], ROWS[i : i + 1], block=SERVE_BLOCK)
        assert torch.equal(alone[0], together[i])
    assert 1 <= either._weights.largest_pass(either.vae, SERVE_BLOCK) <= LARGEST_PASS


def test_where_no_other_pass_rounds_alike_blocks_have_one_size(bank, monkeypatch):
    weights, sizes = bank._weights, set()
    monkeypatch.setattr(weights, "_largest", 1)
    whole = type(bank.vae).decode
    monkeypatch.setattr(type(bank.vae), "decode", lambda vae, p, z: sizes.add(z.shape[1]) or whole(vae, p, z))
    bank.decode_rows(latents_of(bank), ROWS, block=SERVE_BLOCK)
    assert sizes == {SERVE_BLOCK}


def test_a_large_bank_is_expanded_as_it_is_used_and_gives_the_same(bank, monkeypatch):
    monkeypatch.setattr(mixed, "EXPANDED_BYTES", 0)
    large = VAEBank(bank.content)
    assert (large._weights.expanded, bank._weights.expanded is None) == (None, False)
    z = latents_of(bank)
    for block in (None, SERVE_BLOCK):
        assert torch.equal(large.decode_rows(z, ROWS, block=block), bank.decode_rows(z, ROWS, block=block))


def test_a_pickled_bank_is_the_same_and_holds_nothing_twice(bank):
    bank.decode(latents_of(bank), ROWS)
    again = pickle.loads(pickle.dumps(bank))
    assert (len(bank._weights._views), again._weights._views) == (3, {})
    assert torch.equal(again.decode_rows(latents_of(bank), ROWS), bank.decode_rows(latents_of(bank), ROWS))


def test_decoding_none_gives_none(bank):
    none = torch.empty(0, dtype=torch.long)
    assert decode_mixed(bank.vae, bank._weights, torch.empty(0, bank.latent_dim), none, 4).shape == (0, 1, 12, 12)


def test_what_is_decoded_can_take_part_in_training(bank):
    image = VAEAugmentedDataset(Shapes(transform=lambda i: torch.ones(1)), bank, p_jitter=1.0)[0][0]
    decoded = bank.decode(latents_of(bank), ROWS)
    weight = torch.ones(1, requires_grad=True)
    (decoded * weight * image).sum().backward()
    assert weight.grad is not None


def test_on_an_accelerator_inside_a_worker_is_refused_with_two_ways_out(bank_path, monkeypatch):
    monkeypatch.setattr(mixed, "get_worker_info", lambda: object())
    with pytest.raises(
        RuntimeError, match=r"cannot be on meta inside a DataLoader worker.*bank.to\('cpu'\); or jitter"
    ):
        VAEBank.load(bank_path, device="meta")
    assert VAEBank.load(bank_path).device.type == "cpu"
