"""Trainings that do not depend on each other, side by side on the threads of one processor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from threading import Event
from typing import Literal, TypeVar

import torch

from vae_augment.model.devices import single_thread

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(
    work: Callable[[T, Callable[[], None]], R], items: Sequence[T], *, threads: Literal[1] | None = 1
) -> list[R]:
    """Do a piece of work for each of some items, as many at once as torch has threads for.

    Args:
        work: gets an item, and a function to call now and then: it raises if the work for another item has failed, or
            all of it was stopped.
        items: one for each piece of work.
        threads: 1 for each, so that the results do not depend on how many there are. None: an equal share of all.

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

    if not items:
        return []
    at_once = min(torch.get_num_threads(), len(items))
    each = threads or torch.get_num_threads() // at_once
    if at_once == 1:
        with single_thread() if each == 1 else nullcontext():
            return [work(item, stop_if_ended) for item in items]
    with (
        single_thread(),  # this one waits
        ThreadPoolExecutor(at_once, initializer=torch.set_num_threads, initargs=(each,)) as pool,
    ):
        try:
            return list(pool.map(done, items))
        except BaseException as error:
            raise (errors[0] if errors else error) from None  # not that of work which the first ended
        finally:
            ended.set()
