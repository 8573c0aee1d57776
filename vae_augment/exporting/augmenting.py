"""The wrapper's images as files, for those who do not train with PyTorch's Dataset."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from vae_augment.bank import VAEBank
from vae_augment.data.untransformed import Untransformed
from vae_augment.exceptions import check_type, check_whole
from vae_augment.exporting.augmented_images import KINDS, ORIGINAL, AugmentedImages
from vae_augment.exporting.folder import Export, write_export
from vae_augment.exporting.parts import ALONE, Parts, Shard, check_workers
from vae_augment.files.folder_names import folder_names
from vae_augment.files.writing import write_quickly, written_quickly
from vae_augment.images.encoding import ENDINGS, is_whole
from vae_augment.processes import own_defaults
from vae_augment.seeding import check_seed, generator
from vae_augment.wrapper import VAEAugmentedDataset

TAR = "webdataset"
FORMATS = (*ENDINGS, TAR)
MOST_COPIES, LARGEST_SIDE = 10_000, 16_000
IN_A_TAR = 1_000
TAR_END = bytes(2 * tarfile.BLOCKSIZE)


@own_defaults()
def augment(
    dataset: Dataset[Any],
    bank: VAEBank | str | Path | None,
    out: str | Path,
    *,
    copies: int = 4,
    real: bool = False,
    format: str = "png",
    size: int | tuple[int, int] | None = None,
    seed: int = 0,
    workers: int | None = None,
    shard: tuple[int, int] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_start: Callable[[int], object] = lambda count: None,
    on_images: Callable[[int], object] = lambda count: None,
    **options: Any,
) -> Export:
    """Write what `VAEAugmentedDataset(dataset, bank, seed=seed)` serves in epochs 0 to copies - 1, bit for bit.

    Copies are OUT/<class>/<name>-aug<epoch>.png, of the images' own size, before the dataset's transforms: class
    folders as torchvision's ImageFolder, Keras' image_dataset_from_directory and ultralytics read them. manifest.json
    has the bank's hash, the seed, and for each file the item that it was made of and what became of it.

    Example:
        >>> augment(ImageFolder("photos"), "photos.safetensors", "augmented", copies=4, real=True)

    Args:
        dataset: map-style, as the wrapper takes it; `vae_augment.data.open_data` opens one by name or path.
        bank: a fitted bank, the path of one, or None, as for the wrapper.
        out: the folder, made if need be; it must be empty.
        copies: of each item, 1 to 10,000.
        real: write the images themselves too, under their own names: as hard links to their files, which take no
            space, or copies of them; encoded where they have no files, EXIF turns them, or a `size` is given.
        format: "png"; "jpg" of quality 95; "webp" without loss; or "webdataset", tar files of 1,000 PNGs in random
            order, with the label in .cls and the entries of the manifest in .json, as the webdataset library reads.
        size: resize to this height and width, one number for both; None: the images' own.
        seed: of the draws.
        workers: processes that make, encode and write; 0: this one. None: one per core where there is work for all.
        shard: (i, N) writes the i-th of N parts alone, i from 0 to N - 1. N such runs, at the same time or not, write
            the whole into one folder, and a manifest each.
        resume: continue an export of the same data, bank and options that was ended. Whole files are kept.
        overwrite: remove an earlier export first, whatever it was of; files that are not an export's are left.
        on_start: called with the number of images that this run will have written, before it writes one.
        on_images: called with the number of images just written, or found there.
        options: others of the wrapper: labels, unlabelled, p_generate, p_jitter, p_unlabelled, scale and
            sampling_strategy, which evens out the copies and not the originals.

    Raises:
        ValueError: an option out of range, or images that the format cannot hold.
        TypeError: an option of another type; and as the wrapper.
        FileExistsError: as `export`.
    """
    check_whole("copies", copies, 1, MOST_COPIES)
    check_type("real", real, bool, "True or False")
    check_seed(seed)
    check_workers(workers)
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(map(repr, FORMATS))}, got {format!r}.")
    if resume and overwrite:
        raise ValueError("give resume or overwrite, not both.")
    sides, run = _sides(size), ALONE if shard is None else Shard(*shard)
    if isinstance(bank, (str, Path)):
        bank = VAEBank.load(bank)
    wrapper = VAEAugmentedDataset(dataset, bank, seed=seed, **options)
    images = AugmentedImages(wrapper, copies, real, "png" if format == TAR else format, sides)
    _check_apart(images.source, Path(out))
    parts = (_Tars if format == TAR else _Folders)(images, Path(out), run, seed)
    made_by = {
        "format": format,
        "bank_sha256": (wrapper.bank if bank is None else bank).sha256,
        "method": "augment",
        "seed": int(seed),
        "copies": int(copies),
        "real": real,
        "size": None if sides is None else list(sides),
        "data": images.source.fingerprint(),
        "options": _digest(wrapper),
    }
    told = {"on_start": on_start, "on_images": on_images}
    return write_export(
        parts, Path(out), made_by, workers=workers, resume=resume, overwrite=overwrite, shard=run, **told
    )


def _digest(wrapper: VAEAugmentedDataset) -> str:
    """Hash of what a wrapper's options say of each item."""
    digest = hashlib.blake2b(digest_size=16)
    for table in (wrapper._shares, wrapper._origin, wrapper._scales):
        digest.update(table.numpy().tobytes())
    return digest.hexdigest()


def _check_apart(source: Untransformed, folder: Path) -> None:
    """Raise ValueError if files of the dataset lie in the folder."""
    inside = os.path.join(os.path.abspath(folder), "")
    for item in range(len(source)):
        file = source.file(item)
        if not isinstance(file, Path):
            return
        if os.path.abspath(file).startswith(inside):
            raise ValueError(f"out must be another folder than that of the data, got {folder}, which holds {file}.")


def _sides(size: Any) -> tuple[int, int] | None:
    """Height and width, or None. Raises ValueError or TypeError for anything else."""
    if size is None:
        return None
    both = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(both) != 2:
        raise ValueError(f"size must be one number, or a height and a width, got {size!r}.")
    return check_whole("size", both[0], 1, LARGEST_SIDE), check_whole("size", both[1], 1, LARGEST_SIDE)


class _Augmented(Parts):
    """Parts of an augmented export.

    Args:
        images: all of them.
        folder: to write to.
        shard: the parts that this run writes.
        seed: of the order.
    """

    def __init__(self, images: AugmentedImages, folder: Path, shard: Shard, seed: int) -> None:
        self._images, self._folder = images, folder
        self._parts = self._split(shard, seed)  # numbers of images

    @abstractmethod
    def _split(self, shard: Shard, seed: int) -> list[list[int]]:
        """Numbers of the images of each part."""

    @property
    def missing(self) -> int:
        return sum(map(len, self._parts))

    def __len__(self) -> int:
        return len(self._parts)

    def _classes(self, listed: bool) -> list[dict[str, Any]]:
        """Name, label and number of images of each class; if `listed`, their files, items and kinds too."""
        names, images = self._images.source.classes, self._images
        entries: dict[int, dict[str, Any]] = {
            label: {"name": name, "label": label, "images": 0} for label, name in sorted(names.items())
        }
        for entry, inner in zip(entries.values(), folder_names([names[label] for label in entries]), strict=True):
            entry |= {"folder": inner, "files": [], "items": [], "kinds": []} if listed else {}
        for number in (number for part in self._parts for number in part):
            entry = entries[int(images.label[number])]
            entry["images"] += 1
            if listed:
                entry["files"].append(images.files[number])
                entry["items"].append(int(images.item[number]))
                entry["kinds"].append(KINDS[images.kind[number]])
        return list(entries.values())


class _Folders(_Augmented):
    """Images in class folders, some at a time."""

    worth_a_process = 4

    def _split(self, shard: Shard, seed: int) -> list[list[int]]:
        count, size = len(self._images), self._images.together
        firsts = [first for part, first in enumerate(range(0, count, size)) if shard.holds(part)]
        return [list(range(first, min(first + size, count))) for first in firsts]

    def listed(self) -> dict[str, Any]:
        classes = self._classes(listed=True)
        self._inner = {entry["label"]: entry["folder"] for entry in classes}
        return {"classes": classes}

    def look_for_whole_ones(self) -> None:
        there: set[tuple[int, str]] = set()
        for label, inner in self._inner.items():
            with suppress(FileNotFoundError):
                there |= {(label, name) for name in os.listdir(self._folder / inner)}
        parts = ([number for number in part if not self._is_whole(number, there)] for part in self._parts)
        self._parts = [part for part in parts if part]

    def _is_whole(self, number: int, there: set[tuple[int, str]]) -> bool:
        name, label = self._images.files[number], int(self._images.label[number])
        if self._images.epoch[number] == ORIGINAL or (label, name) not in there:  # the first take no time
            return False
        return is_whole(str(self._folder / self._inner[label] / name), self._images.ending(number))

    def write(self, index: int) -> int:
        part = self._parts[index]
        for number, content in self._images.contents(part):
            folder, name = self._folder / self._inner[int(self._images.label[number])], self._images.files[number]
            if isinstance(content, Path):
                _link(content, folder / name)
            else:
                write_quickly(str(folder), name, content)
        return len(part)


def _link(file: Path, name: Path) -> None:
    """Give a file another name; or copy it, where it is a link itself or lies on another file system."""
    name.unlink(missing_ok=True)
    if not file.is_symlink():
        with suppress(OSError):
            os.link(file, name)
            return
    write_quickly(str(name.parent), name.name, file.read_bytes())


class _Tars(_Augmented):
    """Images in tar files, in random order, a file at a time."""

    worth_a_process = 1

    def _split(self, shard: Shard, seed: int) -> list[list[int]]:
        order = torch.randperm(len(self._images), generator=generator(seed, "tars")).tolist()
        parts = [order[first : first + IN_A_TAR] for first in range(0, len(order), IN_A_TAR)]
        self._names = [f"{part:06d}.tar" for part in range(len(parts)) if shard.holds(part)]
        return [part for number, part in enumerate(parts) if shard.holds(number)]

    def listed(self) -> dict[str, Any]:
        return {"files": self._names, "classes": self._classes(listed=False)}

    def look_for_whole_ones(self) -> None:
        left = [(n, p) for n, p in zip(self._names, self._parts, strict=True) if not _is_whole_tar(self._folder / n)]
        self._names, self._parts = [name for name, _ in left], [part for _, part in left]

    def write(self, index: int) -> int:
        part = self._parts[index]
        with (
            written_quickly(str(self._folder), self._names[index]) as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for first in range(0, len(part), self._images.together):
                some = part[first : first + self._images.together]
                made = dict(self._images.contents(some))
                for number in some:
                    content = made[number].read_bytes() if isinstance(made[number], Path) else bytes(made[number])
                    told = self._images.told(number)
                    _add(tar, f"{number:09d}{self._images.ending(number)}", content)
                    _add(tar, f"{number:09d}.cls", str(told["label"]).encode())
                    _add(tar, f"{number:09d}.json", json.dumps(told, ensure_ascii=False).encode())
        return len(part)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    tar.addfile(entry, io.BytesIO(content))


def _is_whole_tar(path: Path) -> bool:
    """Tell if a tar file has its end."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        file.seek(-min(len(TAR_END), path.stat().st_size), os.SEEK_END)
        return file.read() == TAR_END
