from __future__ import annotations

import copy
import pickle

import pytest
import torch

from vae_augment.codes import MOST_BYTES, Codes

ITEMS = torch.tensor([4, 0])


def test_a_code_is_known_once_it_was_put_in():
    codes = Codes(5, 3)
    assert codes.get(ITEMS).isnan().all()
    codes.put(torch.tensor([4]), torch.ones(1, 3))
    assert codes.get(ITEMS)[0].tolist() == [1, 1, 1]
    assert codes.get(ITEMS)[1].isnan().all()


def test_a_code_that_is_half_written_is_not_known():
    codes = Codes(5, 3)
    codes.put(ITEMS, torch.tensor([[1.0, torch.nan, 2.0], [3.0, 4.0, 5.0]]))
    assert codes.get(ITEMS).isnan().tolist() == [[True] * 3, [False] * 3]


@pytest.mark.parametrize("codes", [Codes(5, 3, kept=False), Codes(MOST_BYTES, 1)], ids=["asked not to", "too many"])
def test_what_is_not_kept_is_never_known(codes):
    codes.put(ITEMS, torch.ones(2, codes.get(ITEMS).shape[1]))
    assert codes.get(ITEMS).isnan().all()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda codes: pickle.loads(pickle.dumps(codes))])
def test_a_copy_is_in_shared_memory_too(copied):
    codes = copied(Codes(5, 3))
    assert codes._table.is_shared()
