from __future__ import annotations

import pickle

import pytest
import torch
from torch.utils.data import TensorDataset

from tests.conftest import Shapes
from vae_augment import FitConfig, VAEAugmentedDataset, VAEBank, fit
from vae_augment.bank import inference
from vae_augment.bank.inference import EACH, Models
from vae_augment.bank.packed_weights import Stored, join
from vae_augment.model import conv_vae

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


def test_what_is_decoded_for_an_item_does_not_depend_on_the_others(either):
    z = latents_of(either)
    together = either.models.decode_each(z, ROWS)
    for i in range(len(ROWS)):
        assert torch.equal(either.models.decode_each(z[i : i + 1], ROWS[i : i + 1])[0], together[i])
        assert torch.equal(either.models.decode_each(z[i:], ROWS[i:]), together[i:])


def test_each_by_its_own_classs_model(either, monkeypatch):
    z, rows = latents_of(either).repeat(5, 1), ROWS.repeat(5)
    assert len(z) > EACH
    by_class = either.models.decode(z, rows)
    torch.testing.assert_close(either.models.decode_each(z, rows), by_class, rtol=0, atol=1e-5)
    few = conv_vae.FEW_CLASSES
    monkeypatch.setattr(conv_vae, "FEW_CLASSES", 0)
    torch.testing.assert_close(either.models.decode_each(z, rows), by_class, rtol=0, atol=1e-5)
    assert len(either.classes) <= few


def test_where_passes_of_other_sizes_round_otherwise_each_image_has_its_own(either, monkeypatch):
    """As on a processor that rounds a pass of four images otherwise than one of eight."""
    z, one_pass, sizes = latents_of(either), Models._decode_pass, []

    def decode_pass(models, z, rows):
        sizes.append(len(z))
        return one_pass(models, z, rows) + 1e-7 * (len(z) > least)

    models, least = Models(either.vae, either.content.weights, torch.device("cpu")), 4
    monkeypatch.setattr(Models, "_decode_pass", decode_pass)
    assert not models.rounds_alike()
    sizes.clear()
    made = models.decode_each(z, ROWS)
    torch.testing.assert_close(made, either.models.decode(z, ROWS), rtol=0, atol=1e-5)
    assert len(sizes) == len(ROWS)


@pytest.mark.parametrize("side", [8, 9, 15, 28])
def test_of_images_of_any_size_what_is_decoded_does_not_depend_on_the_others(side):
    base = TensorDataset(torch.rand(6, 1, side, side), torch.arange(6) % 2)
    bank = fit(base, config=FitConfig(steps=2, policy="none"), progress=False)
    rows = torch.arange(40) % 2
    z = torch.randn(40, bank.latent_dim, generator=torch.Generator().manual_seed(0))
    together = bank.models.decode_each(z, rows)
    for some in (slice(0, 1), slice(39, 40), slice(3, 24)):
        assert torch.equal(bank.models.decode_each(z[some], rows[some]), together[some])


def test_a_large_bank_is_expanded_as_it_is_used_and_gives_the_same(bank, monkeypatch):
    monkeypatch.setattr(inference, "EXPANDED_BYTES", 0)
    large = VAEBank(bank.content)
    assert (large.models.expanded, bank.models.expanded is None) == (None, False)
    z = latents_of(bank)
    assert torch.equal(large.models.decode(z, ROWS), bank.models.decode(z, ROWS))
    torch.testing.assert_close(large.models.decode_each(z, ROWS), bank.models.decode_each(z, ROWS), rtol=0, atol=1e-6)


def test_a_pickled_bank_is_the_same_and_holds_nothing_twice(bank):
    bank.decode(latents_of(bank), ROWS)
    again = pickle.loads(pickle.dumps(bank))
    assert len(pickle.dumps(bank)) < 1.1 * len(pickle.dumps(VAEBank(bank.content)))
    assert torch.equal(again.models.decode(latents_of(bank), ROWS), bank.models.decode(latents_of(bank), ROWS))


def test_decoding_none_gives_none(bank):
    none = torch.empty(0, dtype=torch.long)
    for decode in (bank.models.decode, bank.models.decode_each):
        assert decode(torch.empty(0, bank.latent_dim), none).shape == (0, 1, 12, 12)


def test_what_is_decoded_can_take_part_in_training(bank):
    image = VAEAugmentedDataset(Shapes(transform=lambda i: torch.ones(1)), bank, p_jitter=1.0)[0][0]
    decoded = bank.decode(latents_of(bank), ROWS)
    weight = torch.ones(1, requires_grad=True)
    (decoded * weight * image).sum().backward()
    assert weight.grad is not None


def test_on_an_accelerator_inside_a_worker_is_refused_with_two_ways_out(bank_path, monkeypatch):
    monkeypatch.setattr(inference, "get_worker_info", lambda: object())
    with pytest.raises(
        RuntimeError, match=r"cannot be on meta inside a DataLoader worker.*bank.to\('cpu'\); or jitter"
    ):
        VAEBank.load(bank_path, device="meta")
    assert VAEBank.load(bank_path).device.type == "cpu"


def test_classes_that_are_their_start_itself_are_one_model(bank):
    start = {name: tensor.half().float() for name, tensor in bank.vae.init(torch.Generator().manual_seed(1)).items()}
    apart = {name: tensor + 0.01 for name, tensor in start.items()}
    stored = join([Stored.pack(bank.vae, params, start) for params in (start, apart, start)])
    assert stored.alike().tolist() == [0, 1, 0]
    z, rows = latents_of(bank), ROWS
    made = Models(bank.vae, stored, torch.device("cpu")).decode(z, rows)
    for row in range(3):
        own = bank.vae.decode(stored.params([row]), z[rows == row][None])[0]
        torch.testing.assert_close(made[rows == row], own)


def test_every_image_is_encoded_in_order_and_its_error_known(bank):
    images = torch.from_numpy(Shapes(per_class=60).data)[:, None]  # more than a block of a class
    rows = torch.tensor(Shapes(per_class=60).targets)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    mean, logvar = bank.models.encode(images[order], rows[order])
    errors = bank.models.squared_errors(images[order], mean, rows[order])
    for row in range(3):
        x = images[rows == row].float()[None] / 255
        params = bank.content.weights.params([row])
        own, place = (
            bank.vae.encode(params, x),
            (rows[order] == row).nonzero()[:, 0][order[rows[order] == row].argsort()],
        )
        torch.testing.assert_close(mean[place], own[0][0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logvar[place], own[1][0], rtol=1e-4, atol=1e-5)
        error = (bank.vae.decode(params, own[0]) - x).square().sum((2, 3, 4))[0]
        torch.testing.assert_close(errors[place].float(), error, rtol=1e-4, atol=1e-4)
