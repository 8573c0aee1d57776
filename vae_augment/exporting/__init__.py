"""A bank as files: generated images, latents and reconstructions; and augmented copies of a dataset's images."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.bank.matching import check_bank
from vae_augment.exceptions import PolicyWarning, warn
from vae_augment.exporting.augmenting import augment
from vae_augment.exporting.folder import ENDING, Export, image_name, whole_images, write_export
from vae_augment.exporting.parts import ALONE, Parts, Shard, check_workers
from vae_augment.exporting.tars import TAR, is_whole_tar, tar_names, written_tar
from vae_augment.files.folder_names import folder_names
from vae_augment.files.writing import write_quickly
from vae_augment.images.encoding import check_png, encode_pngs
from vae_augment.model.samplers import check_method
from vae_augment.processes import own_defaults
from vae_augment.seeding import check_seed, generator

__all__ = ["augment", "counts_per_class", "export"]

PER_CLASS = 500  # by default
MOST_IMAGES = 10**9  # per class, or in all
BLOCK = 256  # images drawn from one random stream, so that any block can be made by itself
BLOCKS_IN_A_TAR = 4
POOR = 0.5  # precision of generated images
COPIES = 0.25  # near-duplicates among them
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
    shard: tuple[int, int] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_start: Callable[[int], object] = lambda count: None,
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
        format: "png"; or "webdataset", tar files of PNGs of some classes in random order, as the webdataset library
            reads them.
        workers: processes that draw, encode and write; 0: this one. None: one per core where there is work for all.
            With a bank on a GPU this process does it.
        shard: (i, N) writes the i-th of N parts alone, i from 0 to N - 1. N such runs, at the same time or not, write
            the whole into one folder, and a manifest each.
        resume: continue an export of the same bank, method and seed that was ended, or had fewer images, but in tar
            files. Whole files are kept. Where there is no export, begin one.
        overwrite: remove an earlier export first, whatever it was of; files that are not an export's are left.
        on_start: called with the number of images that this run will have written, before it writes one.
        on_images: called with the number of images just written, or found there.

    Raises:
        ValueError: an option out of range, or images that PNG cannot hold.
        FileExistsError: the folder holds something else, is a file, or is being filled by another process; something
            that must be written is a link there; or an image that no export wrote is in the place of a new one.
    """
    check_bank("bank", bank)
    if format not in ("png", TAR):
        raise ValueError(f"format must be 'png' or {TAR!r}, got {format!r}.")
    check_seed(seed)
    check_workers(workers)
    counts = counts_per_class(len(bank.classes), per_class=per_class, count=count)
    check_png(bank.image_shape[0])
    method = bank.policy.method if method is None else method
    check_method(bank.stats.counts, method)
    if resume and overwrite:
        raise ValueError("give resume or overwrite, not both.")
    if against := poor_images(bank):
        warn(
            f"{against}. Jittered and moved copies of the images themselves teach more: vae-augment augment, or "
            "vae_augment.augment().",
            PolicyWarning,
        )
    folder, run = Path(out), ALONE if shard is None else Shard(*shard)
    parts = (_Tars if format == TAR else _Folders)(bank, counts, method, seed, folder, run)
    made_by = {"format": format, "bank_sha256": bank.sha256, "method": method, "seed": seed}
    workers = workers if bank.device.type == "cpu" else 0
    told = {"on_start": on_start, "on_images": on_images}
    return write_export(parts, folder, made_by, workers=workers, resume=resume, overwrite=overwrite, shard=run, **told)


def poor_images(bank: VAEBank) -> str:
    """The reason, by a bank's own figures, not to use its generated images; "" if there is none."""
    found = bank.data.get("quality", {})
    if (precision := found.get("precision", 1.0)) < POOR:
        return f"few of the bank's generated images look like real ones (precision {precision:.2f}, below {POOR})"
    if found and found["near_duplicates"] > COPIES * found["generated"]:
        many = f"{found['near_duplicates']:,} of {found['generated']:,}"
        return f"{many} generated images lie nearer to a training image than real ones do"
    return ""


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


class _Generated(Parts):
    """Generated images, drawn in blocks of a class: an image is a function of the bank, its class and its number.

    Args:
        bank: draws the images.
        counts: images of each class, of all runs together.
        method: the sampler.
        seed: of the draws.
        folder: to write to.
        shard: the parts that this run writes.
    """

    def __init__(
        self, bank: VAEBank, counts: Sequence[int], method: str, seed: int, folder: Path, shard: Shard
    ) -> None:
        self._bank, self._counts, self._method, self._seed = bank, counts, method, seed
        self._folder, self._shard = folder, shard
        self._offsets = [0, *accumulate(-(-count // BLOCK) for count in counts)]  # blocks before those of each class

    counts: list[int]  # images of each class that this run writes
    missing = 0  # those of them that are not there; set by `look_for_whole_ones`
    worth_a_process = WORTH_A_PROCESS

    def _numbers(self, row: int, first: int) -> range:
        """Numbers of a block's images."""
        return range(first, min(first + BLOCK, self._counts[row]))

    def _drawn(self, row: int, first: int) -> Tensor:
        """Images of one class, uint8 [BLOCK, C, H, W]: a whole block, because a shorter one would round differently."""
        label = self._bank.class_infos[row].label
        random = generator(self._seed, "generate", label, first)
        return self._bank.sample(torch.full((BLOCK,), label), method=self._method, generator=random).cpu()

    def _classes(self) -> list[dict[str, Any]]:
        infos = zip(self._bank.class_infos, self.counts, strict=True)
        return [{"name": info.name, "label": info.label, "images": count} for info, count in infos]


class _Folders(_Generated):
    """Numbered images in class folders, a block at a time."""

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        i, runs = self._shard.number, self._shard.of
        # for each class, the first number of each block of this run, whatever the counts are
        self._firsts: list[Sequence[int]] = [
            range((i - row) % runs * BLOCK, count, runs * BLOCK) for row, count in enumerate(self._counts)
        ]
        # all blocks are full but the last of a class
        ends = [firsts[-1] + BLOCK if firsts else 0 for firsts in self._firsts]
        self.counts = [
            len(firsts) * BLOCK - max(0, end - count)
            for firsts, end, count in zip(self._firsts, ends, self._counts, strict=True)
        ]
        self._inner = folder_names(self._bank.classes)
        self._whole: list[set[int]] = [set() for _ in self._counts]

    def listed(self) -> dict[str, Any]:
        classes = [{"folder": inner, **entry} for inner, entry in zip(self._inner, self._classes(), strict=True)]
        if self._shard.of > 1:  # numbers have gaps
            for row, entry in enumerate(classes):
                numbers = (number for first in self._firsts[row] for number in self._numbers(row, first))
                entry["files"] = [image_name(number) for number in numbers]
        return {"classes": classes}

    def look_for_whole_ones(self) -> None:
        for row, inner in enumerate(self._inner):
            there = {number for number in whole_images(self._folder / inner) if self._is_ours(row, number)}
            self._whole[row], in_block = there, Counter(number // BLOCK * BLOCK for number in there)
            if there:
                firsts = self._firsts[row]
                self._firsts[row] = [n for n in firsts if in_block[n] < len(self._numbers(row, n))]
        self.missing = sum(self.counts) - sum(map(len, self._whole))
        self._ends = list(accumulate(map(len, self._firsts)))

    def _is_ours(self, row: int, number: int) -> bool:
        return number < self._counts[row] and self._shard.holds(row + number // BLOCK)

    def __len__(self) -> int:
        return self._ends[-1]

    def write(self, index: int) -> int:
        row = bisect_right(self._ends, index)
        first = self._firsts[row][index - self._ends[row]]  # the index counts from the end of the row
        missing = [number for number in self._numbers(row, first) if number not in self._whole[row]]
        folder = str(self._folder / self._inner[row])
        images = self._drawn(row, first)[[number - first for number in missing]]
        for number, content in zip(missing, encode_pngs(images), strict=True):
            write_quickly(folder, image_name(number), content)
        return len(missing)


class _Tars(_Generated):
    """Images in tar files, each of some blocks of random classes, in random order."""

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        order = torch.randperm(self._offsets[-1], generator=generator(self._seed, "tars")).split(BLOCKS_IN_A_TAR)
        self._parts = [blocks.tolist() for number, blocks in enumerate(order) if self._shard.holds(number)]
        self._names = tar_names(len(order), self._shard)
        self.counts = [0] * len(self._counts)
        for row, first in (self._place(block) for blocks in self._parts for block in blocks):
            self.counts[row] += len(self._numbers(row, first))

    def _place(self, block: int) -> tuple[int, int]:
        """Class position, and number of the first image, of a block."""
        row = bisect_right(self._offsets, block) - 1
        return row, (block - self._offsets[row]) * BLOCK

    def listed(self) -> dict[str, Any]:
        return {"files": self._names, "counts": list(self._counts), "classes": self._classes()}

    def look_for_whole_ones(self) -> None:
        left = [(n, p) for n, p in zip(self._names, self._parts, strict=True) if not is_whole_tar(self._folder / n)]
        self._names, self._parts = [name for name, _ in left], [part for _, part in left]
        self.missing = sum(len(self._numbers(*self._place(block))) for _, part in left for block in part)

    def __len__(self) -> int:
        return len(self._parts)

    def write(self, index: int) -> int:
        blocks = [(block, *self._place(block)) for block in self._parts[index]]
        images = [self._drawn(row, first)[: len(self._numbers(row, first))] for _, row, first in blocks]
        members = [
            (block, row, first + n) for block, row, first in blocks for n in range(len(self._numbers(row, first)))
        ]
        order = torch.randperm(len(members), generator=generator(self._seed, "tar", blocks[0][0]))
        with written_tar(self._folder, self._names[index]) as add:
            for place, content in zip(order.tolist(), encode_pngs(torch.cat(images)[order]), strict=True):
                block, row, number = members[place]
                info = self._bank.class_infos[row]
                told = {"class": info.name, "label": info.label, "kind": "generated", "number": number}
                add(block * BLOCK + number % BLOCK, ENDING, bytes(content), told)
        return len(members)
