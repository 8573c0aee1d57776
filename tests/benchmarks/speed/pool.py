"""What the wrapper might have been: a memory-mapped pool of finished images, made again by all cores before each epoch.

It is at its best here: images are drawn and jittered but not moved, and the photographs to jitter are decoded and in
memory already.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from vae_augment import VAEBank
from vae_augment.evaluation.arms import InMemory


class Pooled(Dataset[Any]):
    """A base, and for a share of its items a generated or jittered image of the same class from the pool.

    Args:
        base: of PIL images, with `transform` taken off.
        transform: of the base.
        images: uint8 [N, C, H, W] and labels of the base in its order, at the bank's size.
        bank: of them.
        path: of the pool.
        p_generate: share of items that are generated.
        p_jitter: share of items that are jittered.
    """

    def __init__(
        self,
        base: Any,
        transform: Callable[[Image.Image], Any],
        images: InMemory,
        bank: VAEBank,
        path: Path,
        *,
        p_generate: float,
        p_jitter: float,
    ) -> None:
        self.base, self.transform, self.images, self.bank, self.path = base, transform, images, bank, path
        self.generated, self.jittered = (round(len(base) * p) for p in (p_generate, p_jitter))
        shape = (self.generated + self.jittered, *images.images.shape[2:], images.images.shape[1])
        self.pool = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        self.place = torch.full((len(base),), -1).share_memory_()

    def refresh(self) -> None:
        """Other items, and an image of its class for each."""
        items = torch.randperm(len(self.base))[: len(self.pool)]
        labels = self.images.targets[items]
        made = [self.bank.sample(labels[: self.generated])] if self.generated else []
        if self.jittered:
            made.append(self.bank.jitter(self.images.images[items[self.generated :]], labels[self.generated :]))
        self.pool[:] = torch.cat(made).permute(0, 2, 3, 1).numpy()
        self.place.fill_(-1)
        self.place[items] = torch.arange(len(items))

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        place = int(self.place[index])
        if place < 0:
            image, label = self.base[index]
        else:
            image, label = Image.fromarray(self.pool[place].squeeze()), int(self.images.targets[index])
        return self.transform(image), label

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "pool": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, pool=np.load(state["path"], mmap_mode="r+"))
