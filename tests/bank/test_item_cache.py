from __future__ import annotations

import copy
import pickle

import pytest
import torch

from vae_augment.bank.item_cache import MOST_BYTES, Codes, Table
from vae_augment.data import pixel_cache

ITEMS = torch.tensor([4, 0])
ROWS = torch.tensor([1, 0, 1, 1, 0])


def test_a_code_is_known_once_it_was_put_in():
    codes = Codes(ROWS, 3)
    assert codes.get(ITEMS).isnan().all()
    codes.put(torch.tensor([4]), torch.ones(1, 3))
    assert codes.get(ITEMS)[0].tolist() == [1, 1, 1]
    assert codes.get(ITEMS)[1].isnan().all()


def test_a_code_that_is_half_written_is_not_known():
    codes = Codes(ROWS, 3)
    codes.put(ITEMS, torch.tensor([[1.0, torch.nan, 2.0], [3.0, 4.0, 5.0]]))
    assert codes.get(ITEMS).isnan().tolist() == [[True] * 3, [False] * 3]


@pytest.mark.parametrize(
    "codes",
    [Codes(ROWS, 3, kept=False), Codes(torch.zeros(MOST_BYTES, dtype=torch.long), 1)],
    ids=["asked not to", "too many"],
)
def test_what_is_not_kept_is_never_known(codes):
    codes.put(ITEMS, torch.ones(2, codes.get(ITEMS).shape[1]))
    assert codes.get(ITEMS).isnan().all()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda codes: pickle.loads(pickle.dumps(codes))])
def test_a_copy_is_in_shared_memory_too(copied):
    codes = copied(Codes(ROWS, 3))
    assert codes._rows.is_shared()


def test_neighbours_are_of_the_items_own_class_and_each_has_the_same():
    rows = torch.arange(200) % 3
    codes = Codes(rows, 2, together=True)
    for item in range(200):
        together = codes.neighbours(item, int(rows[item]))
        assert item in together.tolist()
        assert set(rows[together].tolist()) == {int(rows[item])}
        assert len(together) <= 32
        assert all(torch.equal(codes.neighbours(other, int(rows[item])), together) for other in together.tolist())
    assert Codes(rows, 2).neighbours(3, 0) is None


def test_where_shared_memory_is_short_nothing_is_kept(monkeypatch):
    monkeypatch.setattr(pixel_cache, "_free", lambda: 1000)
    assert not Table(100, 3).kept
    assert Table(20, 3).kept
