"""The wrapper under a policy that moves jittered images, or that augments nothing."""

import pickle

import pytest
import torch
from torch.utils.data import ConcatDataset

from tests.conftest import CONFIG, Shapes
from tests.wrapper.test_dataset import (
    ALL_JITTERED,
    ALL_REAL,
    BASES,
    FLOATS,
    MIXED,
    Stored,
    Tensors,
    all_values,
    any_base,
    kind_of,
    loaded,
    resized,
    values,
)
from vae_augment import FitConfig, VAEAugmentedDataset, fit
from vae_augment.bank.draws import draw_batch
from vae_augment.exceptions import PolicyWarning
from vae_augment.images.moves import MOVES

moved_somehow = pytest.mark.parametrize("moves", ["affine", "colour", "elastic", "elastic-colour", "several"])


def wrapped(base, bank, moves="elastic-colour", *, keep_detail=True, seed=3, shares=MIXED, **options):
    policy = {"moves": moves, "keep_detail": keep_detail, "scale": options.pop("scale", 0.5)}
    return VAEAugmentedDataset(base, bank.with_policy(**policy), seed=seed, **shares, **options)


def many_sizes():
    """Images of two sizes, so that only some of a batch are alike."""
    return ConcatDataset([Stored(resized("RGB", [(12, 12), (30, 17)])), Tensors(FLOATS.expand(-1, 3, -1, -1))])


# ---- the same laws ----


@pytest.mark.parametrize("base", ["PIL", "PIL RGB of mixed sizes", "half", "Subset"])
@pytest.mark.parametrize("keep_detail", [True, False])
@moved_somehow
def test_seeded_items_are_equal_bit_for_bit_whatever_the_batch(bank, base, keep_detail, moves):
    ds = wrapped(BASES[base](), bank, moves, keep_detail=keep_detail, return_source=True)
    alone = all_values(ds)
    assert len({item[2] for item in alone}) > 1
    for size in (2, 7, len(ds)):
        batches = torch.arange(len(ds)).split(size)
        assert [item for batch in batches for item in all_values(ds.__getitems__(batch.tolist()))] == alone
    order = torch.randperm(len(ds), generator=torch.Generator().manual_seed(0)).tolist()
    assert all_values(ds.__getitems__(order)) == [alone[i] for i in order]
    assert all_values(pickle.loads(pickle.dumps(ds))) == alone


@moved_somehow
def test_seeded_items_are_equal_bit_for_bit_whatever_the_workers(bank, moves):
    ds = wrapped(Tensors(FLOATS), bank, moves)
    alone = all_values(ds)
    for workers in (1, 2):
        assert loaded(ds, 7, num_workers=workers, multiprocessing_context="fork") == alone


@any_base
@moved_somehow
def test_moved_items_keep_kind_and_label(bank, base, moves):
    ds = wrapped(base, bank, moves, shares=ALL_JITTERED)
    changed = 0
    for i in range(len(base)):
        (image, label, *_), (real, real_label, *_) = ds[i], base[i]
        assert kind_of(image) == kind_of(real)
        assert (type(label), label) == (type(real_label), real_label)
        changed += values((image,)) != values((real,))
    assert changed > 0.8 * len(base)


@moved_somehow
def test_shares_of_zero_give_the_bases_own_items_and_draw_nothing(bank, moves):
    base = Stored(resized("L", [(12, 12)]))
    for seed in (None, 3):
        ds = wrapped(base, bank, moves, shares=ALL_REAL, seed=seed)
        before = torch.get_rng_state()
        assert all(ds[i] is base[i] for i in range(len(base)))
        assert all(a is b for a, b in zip(ds.__getitems__([4, 1]), (base[4], base[1]), strict=True))
        assert torch.equal(torch.get_rng_state(), before)


@moved_somehow
def test_every_epoch_and_seed_moves_anew_and_an_epoch_comes_back(bank, moves):
    ds = wrapped(Tensors(FLOATS), bank, moves, shares=ALL_JITTERED, scale=0.0)
    epochs = []
    for epoch in (0, 1, 0):
        ds.set_epoch(epoch)
        epochs.append(all_values(ds))
    assert epochs[0] == epochs[2]
    other = all_values(wrapped(Tensors(FLOATS), bank, moves, shares=ALL_JITTERED, scale=0.0, seed=4))
    assert not any(a[0] == b[0] for a, b in zip(epochs[0], epochs[1], strict=True))
    assert not any(a[0] == b[0] for a, b in zip(epochs[0], other, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_unseeded_moves_follow_the_global_generator_and_are_fresh_each_epoch(bank, workers):
    ds = wrapped(Tensors(FLOATS), bank, shares=ALL_JITTERED, scale=0.0, seed=None)
    options = {"num_workers": workers, "multiprocessing_context": "fork"} if workers else {}
    torch.manual_seed(5)
    first, second = (loaded(ds, 10, **options) for _ in range(2))
    torch.manual_seed(5)
    assert loaded(ds, 10, **options) == first
    assert len({item[0] for item in first + second}) == 60


@moved_somehow
def test_real_items_are_not_moved(bank, moves):
    ds = wrapped(Tensors(FLOATS), bank, moves, return_source=True)
    same = [(torch.equal(image, real), source) for (image, _, source), real in zip(ds, FLOATS, strict=True)]
    assert set(same) == {(True, 0), (False, 1), (False, 2)}


def test_a_moved_image_is_the_image_moved(bank):
    """With detail kept and no jitter, only the policy's move is seen."""
    ds = wrapped(Tensors(FLOATS), bank, "affine", shares=ALL_JITTERED, scale=0.0)
    wanted = MOVES["affine"].apply(FLOATS, draw_batch(ds.bank, range(30), ds._shares, seed=ds.seed).moves)
    torch.testing.assert_close(torch.stack([image for image, _ in ds]), wanted, rtol=0, atol=1e-5)


def test_a_batch_of_several_sizes_is_as_each_alone(bank):
    ds = wrapped(many_sizes(), fit(many_sizes(), config=CONFIG, progress=False), shares=ALL_JITTERED)
    places = list(range(0, 60, 3))
    assert all_values(ds.__getitems__(places)) == all_values(ds[i] for i in places)


# ---- a policy that augments nothing ----


def test_a_policy_that_is_off_says_so_unless_the_caller_asked(bank, shapes):
    off = bank.with_policy(p_generate=0.0, p_jitter=0.0, origin="do not augment, because")
    VAEAugmentedDataset(shapes, off, p_jitter=0.0)
    VAEAugmentedDataset(shapes, off, p_generate=0.5)
    VAEAugmentedDataset(shapes, bank)
    with pytest.warns(PolicyWarning, match="serving the images as they are: do not augment, because"):
        assert all_values(VAEAugmentedDataset(shapes, off)) == all_values(shapes[i] for i in range(30))


# ---- a bank trained on copies moved by a transform of the caller's ----


def test_a_bank_of_a_callers_transform_can_be_pickled():
    config = FitConfig(steps=2, latent_dim=2, width=8, batch_size=4, invariances=lambda image: image.flip(-1))
    bank = fit(Shapes(3), config=config, progress=False)
    ds = VAEAugmentedDataset(Shapes(3), bank, seed=0, **MIXED)
    assert all_values(pickle.loads(pickle.dumps(ds))) == all_values(ds)
