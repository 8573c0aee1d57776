from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.conftest import CONFIG, Shapes
from vae_augment import VAEBank, fit
from vae_augment.bank.packed_weights import LARGEST, Stored, flatten, halved, join, sizes, unflatten
from vae_augment.model.conv_vae import ConvVAE
from vae_augment.model.vae import stack

SHAPE = ConvVAE((1, 12, 12), 4, width=8)


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def weights(classes=3, seed=0):
    return stack([SHAPE.init(gen(100 * seed + k)) for k in range(classes)])


def near(start, classes=3, seed=0, by=0.01):
    """Weights of classes that were tuned from a start."""
    return {n: t + by * torch.randn(classes, *t.shape[1:], generator=gen(seed)) for n, t in start.items()}


@pytest.fixture
def start():
    return halved(SHAPE, SHAPE.init(gen(7)))


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_flattening_keeps_order_and_bits():
    params = weights()
    flat = flatten(SHAPE, params)
    assert flat.shape == (3, sum(sizes(SHAPE)))
    assert equal(unflatten(SHAPE, flat), params)


def test_differences_are_kept_to_half_a_step(start):
    params = near(start)
    stored = Stored.pack(SHAPE, params, start)
    assert (stored.tuned, stored.values.dtype, stored.values.element_size()) == (True, torch.int8, 1)
    assert stored.values.abs().max() <= LARGEST
    back = stored.params()
    for i, (name, tensor) in enumerate(params.items()):
        largest = (tensor - start[name]).abs().reshape(3, -1).amax(1)
        assert torch.allclose(stored.steps[:, list(SHAPE.shapes).index(name)], largest / LARGEST), i
        error = (back[name] - tensor).abs().reshape(3, -1).amax(1)
        assert (error <= largest / LARGEST * 0.51 + 1e-7).all(), name


@pytest.mark.parametrize("tuned", [True, False])
def test_components_are_kept_once_for_all_classes_of_a_start(tuned):
    vae = ConvVAE((3, 12, 12), 4, width=8, components=3)
    first = {n: t + torch.randn(t.shape, generator=gen(1)) for n, t in vae.init(gen(0)).items()}
    start = halved(vae, first)
    params = near(start)
    for name in vae.fixed:
        params[name] = start[name].expand(3, *start[name].shape[1:])
    stored = Stored.pack(vae, params, start if tuned else None)
    shared = sum(tensor.numel() for name, tensor in start.items() if name in vae.fixed)
    assert stored.values.shape[1] == sum(sizes(vae)) - (shared if tuned else 0)
    back = stored.pick([2, 0]).params()
    for name, tensor in params.items():
        torch.testing.assert_close(back[name], tensor[[2, 0]], rtol=1e-3, atol=2e-3)
        assert name not in vae.fixed or torch.equal(back[name], tensor[[2, 0]]), name
    both = join([stored, Stored.pack(vae, {n: t[:1] for n, t in params.items()}, start)])
    assert torch.equal(both.params()["decoder.components.weight"][3], start["decoder.components.weight"][0])


def test_a_class_that_is_the_start_itself_is_kept_exactly(start):
    stored = Stored.pack(SHAPE, {n: t.expand(2, *t.shape[1:]) for n, t in start.items()}, start)
    assert not stored.values.any()
    assert equal(stored.params([1]), start)


def test_without_a_start_weights_are_kept_in_half_precision():
    params = weights()
    stored = Stored.pack(SHAPE, params, None)
    assert (stored.tuned, stored.values.dtype, len(stored.bases)) == (False, torch.float16, 0)
    assert equal(stored.params(), halved(SHAPE, params))
    assert torch.equal(Stored.pack(SHAPE, stored.params(), None).values, stored.values)  # rounded once


def test_a_weight_too_large_for_half_precision_is_the_largest():
    params = {name: tensor + 1e6 for name, tensor in weights(1).items()}
    assert flatten(SHAPE, Stored.pack(SHAPE, params, None).params()).unique().tolist() == [65504.0]


@pytest.mark.parametrize("tuned", [True, False])
def test_classes_are_picked_and_joined_with_every_bit(start, tuned):
    stored = Stored.pack(SHAPE, near(start, 4), start if tuned else None)
    assert len(stored.pick([2, 0])) == 2
    for row, wanted in enumerate([2, 0]):
        assert equal(stored.pick([2, 0]).params([row]), stored.params([wanted]))
    joined = join([stored.pick([3]), stored.pick([0, 1])])
    assert torch.equal(joined.values, stored.values[[3, 0, 1]])
    assert equal(joined.params(), stored.params([3, 0, 1]))
    assert len(joined.bases) == int(tuned)


def test_classes_of_two_starts_keep_every_bit_and_the_first_start_comes_first(start):
    other = halved(SHAPE, SHAPE.init(gen(8)))
    a, b = Stored.pack(SHAPE, near(start, 2), start), Stored.pack(SHAPE, near(other, 3), other)
    both = join([a, b, a])
    assert (len(both), len(both.bases)) == (7, 2)
    assert both.base.tolist() == [0, 0, 1, 1, 1, 0, 0]
    assert equal(both.params(), stack([a.params(), b.params(), a.params()]))
    assert equal(both.start(), start)
    assert equal(unflatten(SHAPE, both.bases[1:].float()), other)


def test_differences_beside_whole_weights_become_whole(start):
    a, b = Stored.pack(SHAPE, near(start, 2), start), Stored.pack(SHAPE, weights(1), None)
    both = join([a, b])
    assert (both.tuned, len(both), len(both.bases)) == (False, 3, 1)
    assert equal(both.params([2]), b.params())
    for name, tensor in a.params().items():
        assert torch.allclose(both.params([0, 1])[name], tensor, atol=1e-3)


@pytest.mark.parametrize("other", [replace(CONFIG, sharing="none"), CONFIG])
def test_a_bank_of_two_fits_survives_its_file(bank, tmp_path, other):
    added = fit(Shapes(seed=3), config=other, seed=4, progress=False).subset(["down"])
    merged = VAEBank.merge(bank.subset(["across"]), added)
    merged.save(tmp_path / "bank")
    loaded = VAEBank.load(tmp_path / "bank")
    assert loaded.sha256 == merged.sha256
    assert equal(loaded.content.weights.params(), merged.content.weights.params())
    assert equal(loaded.content.start.params, bank.content.start.params)
    one = VAEBank.load(tmp_path / "bank", ["down"])
    assert equal(one.content.weights.params(), merged.content.weights.params([1]))
