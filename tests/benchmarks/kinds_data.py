"""Kinds of data for `tests.benchmarks.kinds`: drawings, photographs, textures, and two that a program makes.

Real ones are read under VAE_AUGMENT_DATA; those made are functions of a seed. Each has training and test images, uint8
[N, C, H, W], and labels 0 to K-1.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vae_augment.data import open_data
from vae_augment.data.loading import load_images
from vae_augment.data.source import Source
from vae_augment.evaluation.arms import InMemory
from vae_augment.images.tensors import resize, to_uint8
from vae_augment.seeding import draw_items, generator

MADE_PER_CLASS = 150  # test images of each class of a made kind; as many again to train on


@dataclass(frozen=True)
class Kind:
    """A kind of data.

    Args:
        name: as in the table.
        counts: training images a class that are tried; of a smaller class all are taken.
        sides: of the images, in pixels.
        load: all images of "train" or "test", at a side.
    """

    name: str
    counts: tuple[int, ...]
    sides: tuple[int, ...]
    load: Callable[[str, int], InMemory]

    def cells(self) -> list[Cell]:
        return [Cell(self, side, count) for side in self.sides for count in self.counts]


@dataclass(frozen=True)
class Cell:
    """A kind at one size and with one number of training images a class."""

    kind: Kind
    side: int
    count: int

    @property
    def name(self) -> str:
        side = f"-{self.side}px" if len(self.kind.sides) > 1 else ""
        return f"{self.kind.name}{side}-{self.count}"

    def train(self, seed: int) -> InMemory:
        """So many images of each class, drawn by seed."""
        everything = self.kind.load("train", self.side)
        labels = everything.targets.unique().tolist()
        chosen = [draw_items(everything.targets, k, generator(seed, "benchmark", k), self.count) for k in labels]
        items = torch.cat(chosen)
        return InMemory(everything.images[items], everything.targets[items])

    def test(self) -> InMemory:
        return self.kind.load("test", self.side)


def _root() -> Path:
    return Path(os.environ["VAE_AUGMENT_DATA"])


@cache
def mnist(part: str, side: int) -> InMemory:
    from torchvision.datasets import MNIST

    dataset = MNIST(_root(), train=part == "train")
    return InMemory(dataset.data[:, None], dataset.targets)


def archive(name: str) -> Callable[[str, int], InMemory]:
    """A loader of NAME/NAME.npz: x_train, y_train, x_test, y_test, with uint8 images [N, H, W] or [N, H, W, C]."""

    @cache
    def load(part: str, side: int) -> InMemory:
        with np.load(_root() / name / f"{name}.npz") as arrays:
            images, labels = (torch.from_numpy(arrays[f"{array}_{part}"]) for array in "xy")
        images = images.movedim(-1, 1) if images.ndim == 4 else images[:, None]
        return InMemory(_square(images, side), labels.long())

    return load


def _square(images: Tensor, side: int) -> Tensor:
    """Images uint8 [N, C, H, W] of a side, in contiguous memory."""
    if images.shape[2:] == (side, side):
        return images.contiguous()
    return to_uint8(resize(images.float().div_(255), (side, side)))


def folder(name: str, channels: int) -> Callable[[str, int], InMemory]:
    """A loader of class folders, whose images are made square."""

    @cache
    def load(part: str, side: int) -> InMemory:
        loaded = load_images(Source(open_data(str(_root() / name / part)).dataset), (channels, side, side))
        return InMemory(loaded.images, loaded.labels)

    return load


def made(draw: Callable[[int, int, torch.Generator], Tensor], classes: int) -> Callable[[str, int], InMemory]:
    """A loader of images that a program draws: (class, side, generator) to float [C, H, W] in [0, 1]."""

    @cache
    def load(part: str, side: int) -> InMemory:
        random = generator(0, part)
        labels = torch.arange(classes).repeat_interleave(MADE_PER_CLASS)
        return InMemory(to_uint8(torch.stack([draw(k, side, random) for k in labels.tolist()])), labels)

    return load


def _places(side: int) -> tuple[Tensor, Tensor]:
    """Coordinates y [H, 1] and x [1, W] from -1 to 1."""
    along = torch.linspace(-1, 1, side)
    return along[:, None], along[None, :]


def _uniform(low: float, high: float, random: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=random))


def blobs(label: int, side: int, random: torch.Generator) -> Tensor:
    """Stained cells under a microscope, colour: round, long, with a nucleus, or with a ragged outline."""
    y, x = _places(side)
    stain = torch.tensor([0.55, 0.3, 0.6]) + 0.06 * torch.randn(3, generator=random)
    ground = torch.tensor([0.9, 0.85, 0.9]) + 0.03 * torch.randn(3, generator=random)
    light = 1 + _uniform(-0.15, 0.15, random) * x + _uniform(-0.15, 0.15, random) * y
    cover, core = torch.zeros(side, side), torch.zeros(side, side)
    for _ in range(int(torch.randint(1, 3, (), generator=random))):
        turn, size = _uniform(0, math.pi, random), _uniform(0.4, 0.55, random)
        dx, dy = x - _uniform(-0.4, 0.4, random), y - _uniform(-0.4, 0.4, random)
        along, across = dx * math.cos(turn) + dy * math.sin(turn), dy * math.cos(turn) - dx * math.sin(turn)
        long = _uniform(1.7, 2.2, random) if label == 1 else _uniform(1.0, 1.2, random)
        radius = torch.hypot(along / long, across * long) / size
        if label == 3:
            radius = radius * (1 + 0.3 * torch.sin(int(torch.randint(5, 9, (), generator=random)) * (dy.atan2(dx))))
        cover = torch.maximum(cover, torch.sigmoid((1 - radius) * 12))
        if label == 2:
            core = torch.maximum(core, torch.sigmoid((0.4 - radius) * 14))
    depth = cover * 0.7 + core * _uniform(0.3, 0.6, random)
    image = torch.lerp(ground[:, None, None], stain[:, None, None], depth) * light
    return (image + 0.04 * torch.randn(3, side, side, generator=random)).clamp(0, 1)


def stripes(label: int, side: int, random: torch.Generator) -> Tensor:
    """Grey oriented stripes in noise, a direction each 30 degrees: a class that is turned or mirrored is another."""
    y, x = _places(side)
    turn = math.radians(30 * label + _uniform(-8, 8, random))
    along = x * math.cos(turn) + y * math.sin(turn)
    bend = F.interpolate(torch.randn(1, 1, 4, 4, generator=random), (side, side), mode="bicubic")[0, 0]
    wave = torch.sin(along * _uniform(8, 20, random) + _uniform(0, 6.28, random) + 0.5 * bend)
    noise = torch.randn(1, side, side, generator=random)
    return (0.5 + _uniform(0.08, 0.2, random) * wave[None] + _uniform(0.1, 0.25, random) * noise).clamp(0, 1)


KINDS = (
    Kind("mnist", (5, 10, 20, 50), (28,), mnist),
    Kind("omniglot", (5, 10), (32,), archive("omniglot")),
    Kind("sign-digits", (5, 10, 20, 50), (64,), folder("sign-digits", 3)),
    Kind("ants-bees", (10, 20, 50), (64, 128), folder("ants-bees", 3)),
    Kind("magnetic-tiles", (5, 10, 20, 50), (64,), folder("magnetic-tiles", 1)),
    Kind("blobs", (5, 10, 20, 50), (48,), made(blobs, 4)),
    Kind("stripes", (5, 10, 20, 50), (32,), made(stripes, 6)),
    # Looked at once the rule was settled.
    Kind("fashion-mnist", (5, 10, 20, 50), (28,), archive("fashion-mnist")),
    Kind("cifar-10", (5, 10, 20, 50), (32,), archive("cifar-10")),
    # Looked at by recipe 20, without any change after; made by `tests.benchmarks.more_kinds`.
    Kind("letters", (5, 10, 20, 50), (32,), archive("letters")),
    Kind("emoji", (5, 10, 20, 30), (48,), archive("emoji")),
    Kind("faces", (10, 20, 50), (25,), archive("faces")),
    Kind("surfaces", (5, 10, 20, 50), (32,), archive("surfaces")),
)
CELLS = {cell.name: cell for kind in KINDS for cell in kind.cells()}
