"""A large bank is in memory once, however many workers use it."""

import sys

import pytest

from tests.benchmarks.memory import measure

LIMIT = 1.2  # of the bank's own size


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="proportional set sizes are Linux's")
@pytest.mark.timeout(400)  # of three processes, each with a torch of its own
@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_workers_take_a_large_bank_once(start_method, tmp_path):
    taken = measure(3000, start_method, tmp_path, workers=2)
    assert taken["bank, MB"] > 200
    assert taken["ratio"] <= LIMIT
