"""A folder of generated PNGs that torchvision's ImageFolder reads back with the bank's labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.files import CLASSES, MANIFEST, atomic_write, folder_names
from vae_augment.latent import check_method
from vae_augment.seeding import generator

PER_CLASS = 500  # by default
BLOCK = 256  # images drawn from one random stream, so that any part can be made apart from the others
PNG_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Export:
    """What was written.

    Args:
        folder: where to.
        counts: images of each class name.
    """

    folder: Path
    counts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def export(
    bank: VAEBank,
    out: str | Path,
    *,
    per_class: int | None = None,
    count: int | None = None,
    method: str | None = None,
    seed: int = 0,
    format: str = "png",
    on_images: Callable[[int], object] = lambda count: None,
) -> Export:
    """Generate images into OUT/<class>/<number>.png, with classes.json and manifest.json beside the class folders.

    The same bank, seed and method give the same bytes; image n of a class does not depend on how many there are.

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
        on_images: called with the number of images just written.

    Raises:
        ValueError: an option out of range, or images that PNG cannot hold.
        FileExistsError: the folder holds something, or is a file.
    """
    if format != "png":
        raise ValueError(f"format must be 'png', got {format!r}.")
    counts = counts_per_class(len(bank.classes), per_class=per_class, count=count)
    channels = bank.image_shape[0]
    if channels not in PNG_CHANNELS:
        raise ValueError(f"PNG holds images of 1, 3 or 4 channels, the bank's have {channels}.")
    method = bank.policy.method if method is None else method
    check_method(bank.stats.counts, method)
    names = folder_names(bank.classes)
    folder = Path(out)
    _require_empty(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for row, name in enumerate(names):
        if counts[row]:  # ImageFolder refuses an empty folder
            (folder / name).mkdir()
        for number, image in enumerate(_images(bank, row, counts[row], method, seed)):
            atomic_write(folder / name / f"{number:06d}.png", encode_png(image), sync=False)
            on_images(1)
    described = [
        {"folder": name, "name": info.name, "label": info.label, "images": n}
        for name, info, n in zip(names, bank.class_infos, counts, strict=True)
    ]
    manifest = {
        "format": format,
        "bank_sha256": bank.sha256,
        "method": method,
        "seed": seed,
        "images": sum(counts),
        "classes": described,
    }
    _write_json(folder / CLASSES, {entry["folder"]: entry["name"] for entry in described})
    _write_json(folder / MANIFEST, manifest)
    return Export(folder, dict(zip(bank.classes, counts, strict=True)))


def counts_per_class(classes: int, *, per_class: int | None, count: int | None) -> list[int]:
    """Images of each class: `per_class` of every one, or `count` in all, the remainder to the first."""
    if per_class is not None and count is not None:
        raise ValueError("give per_class or count, not both.")
    for name, value in (("per_class", per_class), ("count", count)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    if count is None:
        return [per_class or PER_CLASS] * classes
    each, rest = divmod(count, classes)
    return [each + (row < rest) for row in range(classes)]


def _images(bank: VAEBank, row: int, count: int, method: str | None, seed: int) -> Iterator[Tensor]:
    """uint8 images [C, H, W] of one class."""
    info = bank.class_infos[row]
    for first in range(0, count, BLOCK):
        labels = torch.full((BLOCK,), info.label)  # whole blocks: a shorter one would round differently
        block = bank.sample(labels, method=method, generator=generator(seed, "generate", info.label, first))
        yield from block[: count - first].cpu()


def encode_png(image: Tensor) -> bytes:
    """The file of a uint8 image [C, H, W]."""
    import cv2

    array = image.permute(1, 2, 0).numpy()
    if array.shape[2] >= 3:  # OpenCV keeps blue first
        array = array[:, :, [2, 1, 0, *range(3, array.shape[2])]]
    done, content = cv2.imencode(".png", array)
    if not done:
        raise RuntimeError(f"OpenCV could not encode an image of shape {list(image.shape)}.")
    return bytes(content)


def _require_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} must be a folder, it is a file.")
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: name another folder, or empty it first.")


def _write_json(path: Path, content: object) -> None:
    atomic_write(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
