"""The tiny bank, with a policy that does not move images, and one that does."""

from __future__ import annotations

import pytest


@pytest.fixture
def bank(bank):
    return bank.with_policy(moves="none")


@pytest.fixture
def bank_path(bank, tmp_path_factory):
    path = tmp_path_factory.mktemp("still") / "shapes.safetensors"
    bank.save(path)
    return path


@pytest.fixture
def moving(bank):
    return bank.with_policy(moves="elastic", keep_detail=True, p_generate=0.0, p_jitter=1.0)
