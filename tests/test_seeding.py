from __future__ import annotations

import numpy as np
import pytest
import torch

from vae_augment import VAEAugmentedDataset, evaluate, export, fit
from vae_augment.seeding import check_seed, derive, draw_items, generator


@pytest.mark.parametrize("seed", [1.5, "x", True, None])
def test_a_seed_is_a_whole_number(shapes, bank, tmp_path, seed):
    calls = [
        lambda: fit(shapes, seed=seed, progress=False),
        lambda: evaluate(shapes, seed=seed, progress=False),
        lambda: export(bank, tmp_path / "out", seed=seed),
    ]
    if seed is not None:  # which a wrapper takes for none
        calls.append(lambda: VAEAugmentedDataset(shapes, bank, seed=seed))
    for call in calls:
        with pytest.raises(TypeError, match=f"seed must be a whole number, got {seed!r}"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_any_whole_number_is_a_seed():
    for seed in (-1, 0, 2**80, np.int64(3)):
        check_seed(seed)
        assert 0 <= derive(seed, "a") < 2**63


def test_streams_of_other_names_differ():
    first, again, other = (torch.rand(4, generator=generator(0, name)) for name in ("a", "a", "b"))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_items_of_a_label_are_drawn_in_an_order_that_the_generator_gives():
    labels = torch.tensor([1, 0]).repeat(50)
    first, again, other = (draw_items(labels, 1, generator(seed)) for seed in (0, 0, 1))
    assert sorted(first.tolist()) == list(range(0, 100, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(draw_items(labels, 1, generator(0), 2), first[:2])
    assert draw_items(labels, 7, generator(0), 2).tolist() == []
