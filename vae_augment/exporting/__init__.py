"""A bank as files: PNG folders that torchvision's ImageFolder reads, latents and reconstructions."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from numbers import Integral
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vae_augment.bank import VAEBank
from vae_augment.bank.matching import check_bank
from vae_augment.exporting.folder import Export, filled, image_name, whole_images
from vae_augment.files.folder_names import folder_names
from vae_augment.files.writing import write_quickly
from vae_augment.images.png import check_png, encode_pngs
from vae_augment.model.devices import single_thread
from vae_augment.model.samplers import check_method
from vae_augment.processes import end_with, own_defaults
from vae_augment.seeding import check_seed, generator

PER_CLASS = 500  # by default
MOST_IMAGES = 10**9  # per class, or in all
BLOCK = 256  # images drawn from one random stream, so that any block can be made by itself
WORTH_A_PROCESS = 8  # blocks: about 0.2 s of small images


@own_defaults()
def export(
    bank: VAEBank,
    out: str | Path,
    *,
    per_class: int | None = None,
    count: int | None = None,
    method: str | None = None,
    seed: int = 0,
    format: str = "png",
    workers: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_images: Callable[[int], object] = lambda count: None,
) -> Export:
    """Generate images into OUT/<class>/<number>.png, with classes.json and manifest.json beside the class folders.

    The same bank, seed and method give the same bytes, whatever `workers` is; image n of a class does not depend on
    how many there are.

    Example:
        >>> export(bank, "synthetic", per_class=500)

    Args:
        bank: a fitted bank of images with 1, 3 or 4 channels.
        out: the folder, made if need be; it must be empty.
        per_class: images a class; by default 500.
        count: instead, images in all, split evenly, the remainder to the first classes.
        method: the sampler; None: the policy's.
        seed: of the draws.
        format: "png".
        workers: processes that draw, encode and write; 0: this one. None: one per core where there is work for all.
            With a bank on a GPU this process does it.
        resume: continue an export of the same bank, method and seed that was ended, or had fewer images. Whole files
            are kept. Where there is no export, begin one.
        overwrite: remove an earlier export first, whatever it was of; files that are not an export's are left.
        on_images: called with the number of images just written, or found there.

    Raises:
        ValueError: an option out of range, or images that PNG cannot hold.
        FileExistsError: the folder holds something else, is a file, or is being filled by another process; something
            that must be written is a link there; or an image that no export wrote is in the place of a new one.
    """
    check_bank("bank", bank)
    if format != "png":
        raise ValueError(f"format must be 'png', got {format!r}.")
    check_seed(seed)
    if workers is not None and not (isinstance(workers, Integral) and workers >= 0):
        raise ValueError(f"workers must be a whole number of at least 0, got {workers!r}.")
    counts = counts_per_class(len(bank.classes), per_class=per_class, count=count)
    check_png(bank.image_shape[0])
    method = bank.policy.method if method is None else method
    check_method(bank.stats.counts, method)
    if resume and overwrite:
        raise ValueError("give resume or overwrite, not both.")
    names = folder_names(bank.classes)
    folder = Path(out)
    manifest = {
        "format": format,
        "bank_sha256": bank.sha256,
        "method": method,
        "seed": seed,
        "images": sum(counts),
        "classes": [
            {"folder": name, "name": info.name, "label": info.label, "images": n}
            for name, info, n in zip(names, bank.class_infos, counts, strict=True)
        ],
    }
    with filled(folder, manifest, resume=resume, overwrite=overwrite), single_thread():  # as in a worker
        blocks = _Blocks(bank, [folder / name for name in names], counts, method, seed)
        on_images(sum(counts) - blocks.images)
        started, watch = _processes(workers, bank, len(blocks)), partial(_end_with, os.getpid())
        for written in DataLoader(blocks, batch_size=None, num_workers=started, worker_init_fn=watch):
            if isinstance(written, OSError):
                raise written
            on_images(written)
    return Export(folder, dict(zip(bank.classes, counts, strict=True)))


def _end_with(parent: int, worker: int) -> None:
    """End a worker with its parent: no worker of a killed export may write beside the one that resumes it."""
    end_with(parent)


def counts_per_class(classes: int, *, per_class: int | None, count: int | None) -> list[int]:
    """The number of images of each class: `per_class`, or `count` in all, the remainder to the first classes."""
    if per_class is not None and count is not None:
        raise ValueError("give per_class or count, not both.")
    for name, value in (("per_class", per_class), ("count", count)):
        if value is not None and not (isinstance(value, Integral) and 1 <= value <= MOST_IMAGES):
            raise ValueError(f"{name} must be a whole number from 1 to {MOST_IMAGES:,}, got {value!r}.")
    if count is None:
        return [per_class or PER_CLASS] * classes
    each, rest = divmod(count, classes)
    return [each + (row < rest) for row in range(classes)]


def _processes(workers: int | None, bank: VAEBank, blocks: int) -> int:
    """The number of processes to start, never more than there are blocks; 0 where this one is enough."""
    if bank.device.type != "cpu":
        return 0
    if workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = min(cores, blocks // WORTH_A_PROCESS)
    workers = min(workers, blocks)
    return workers if workers > 1 else 0


class _Blocks(Dataset[int | OSError]):
    """The images of an export, a block of a class at a time: reading an item makes and writes its images.

    An item is the number of images written, or the OSError that prevented it: a DataLoader would turn an error that a
    worker raises into the text of a traceback.
    """

    def __init__(
        self, bank: VAEBank, folders: Sequence[Path], counts: Sequence[int], method: str | None, seed: int
    ) -> None:
        self._bank, self._folders, self._method, self._seed = bank, folders, method, seed
        self._counts, held = counts, map(whole_images, folders)
        self._whole = [{n for n in whole if n < count} for count, whole in zip(counts, held, strict=True)]
        # for each class, the first number of each block that lacks images
        self._firsts = [_unfinished(count, whole) for count, whole in zip(counts, self._whole, strict=True)]
        self._ends = list(accumulate(map(len, self._firsts)))
        self.images = sum(counts) - sum(map(len, self._whole))  # to be made

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> int | OSError:
        row = bisect_right(self._ends, index)
        first = self._firsts[row][index - self._ends[row]]  # the index counts from the end of the row
        numbers = range(first, min(first + BLOCK, self._counts[row]))
        missing = [number for number in numbers if number not in self._whole[row]]
        folder = str(self._folders[row])
        try:
            images = self._draw(row, first)[[number - first for number in missing]]
            for number, content in zip(missing, encode_pngs(images), strict=True):
                write_quickly(folder, image_name(number), content)
        except OSError as error:
            return error
        return len(missing)

    def _draw(self, row: int, first: int) -> Tensor:
        """Images of one class, uint8 [BLOCK, C, H, W]: a whole block, because a shorter one would round differently."""
        label = self._bank.class_infos[row].label
        random = generator(self._seed, "generate", label, first)
        return self._bank.sample(torch.full((BLOCK,), label), method=self._method, generator=random).cpu()


def _unfinished(count: int, whole: set[int]) -> Sequence[int]:
    """The first number of each block of `count` images that are not all whole."""
    firsts, there = range(0, count, BLOCK), Counter(number // BLOCK * BLOCK for number in whole)
    return [first for first in firsts if there[first] < min(BLOCK, count - first)] if whole else firsts
