import threading
import time

import pytest
import torch

from vae_augment.fitting.side_by_side import side_by_side


def squared(number, check):
    check()
    time.sleep(0.001 * (number % 3))
    return number**2, torch.get_num_threads(), threading.get_ident()


@pytest.mark.parametrize("all_threads", [1, 4, 16])
@pytest.mark.parametrize("count", [0, 1, 8])
def test_results_are_in_the_order_of_the_items_and_no_more_work_than_threads_is_done_at_once(
    threads, all_threads, count
):
    threads(all_threads)
    found = side_by_side(squared, range(count))
    assert [result for result, _, _ in found] == [n**2 for n in range(count)]
    assert {each for _, each, _ in found} <= {1}
    assert len({thread for _, _, thread in found}) <= all_threads
    assert torch.get_num_threads() == all_threads


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_the_first_error_ends_the_others_and_is_raised(threads, error):
    threads(2)
    begun = []

    def work(number, check):
        begun.append(number)
        if number == 1:
            raise error("number 1")
        while True:
            check()
            time.sleep(0.001)

    with pytest.raises(error, match="number 1"):
        side_by_side(work, range(20))
    assert len(begun) < 5
    assert torch.get_num_threads() == 2
