"""Trainings that do not depend on each other, side by side on the threads of one processor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TypeVar

import torch

from vae_augment.model.devices import single_thread

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(work: Callable[[T, Callable[[], None]], R], items: Sequence[T]) -> list[R]:
    """Do a piece of work for each of some items, each on one thread, as many at once as torch has threads.

    On one thread the results do not depend on how many threads or items there are.

    Args:
        work: gets an item, and a function to call now and then: it raises if the work for another item has failed, or
            all of it was stopped.
        items: one for each piece of work.

    Returns:
        The results, in the order of the items.
    """
    ended, errors = Event(), list[BaseException]()

    def stop_if_ended() -> None:
        if ended.is_set():
            raise RuntimeError("other work beside this has failed, or all was stopped.")

    def done(item: T) -> R:
        try:
            stop_if_ended()
            return work(item, stop_if_ended)
        except BaseException as error:
            errors.append(error)
            ended.set()
            raise

    at_once = min(torch.get_num_threads(), len(items))
    if at_once <= 1:
        with single_thread():
            return [work(item, stop_if_ended) for item in items]
    with (
        single_thread(),  # this one waits
        ThreadPoolExecutor(at_once, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        try:
            return list(pool.map(done, items))
        except BaseException as error:
            raise (errors[0] if errors else error) from None  # not that of work which the first ended
        finally:
            ended.set()
