"""Memory that all workers share: whether there is room for it, and the pixels of files in it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from PIL import Image

MOST_PIXELS = 256 * 2**20  # bytes


def room(size: int, most: int) -> bool:
    """Whether so many bytes are at most `most`, and a quarter of what is free: containers often have 64 MB."""
    return size <= most and 4 * size <= _free()


def _free() -> int:
    """Bytes; writing beyond them ends a process without a word."""
    try:
        room = os.statvfs("/dev/shm")
    except (AttributeError, OSError):  # elsewhere than on Linux
        return 2**62
    return room.f_bavail * room.f_frsize


class Pixels:
    """Images of files, each decoded once, whoever reads it.

    Without a lock: whoever writes an image writes the same, and it counts as known only after that. Images of another
    size than most are not kept, and none where they would take more than 256 MB.

    Args:
        count: N files.
        size: (width, height) of RGB images.
    """

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        width, height = size
        count = count if room(3 * count * width * height, MOST_PIXELS) else 0
        self._size = size
        self._images = torch.empty(count, height, width, 3, dtype=torch.uint8).share_memory_()
        self._known = torch.zeros(count, dtype=torch.bool).share_memory_()

    def get(self, index: int) -> Image.Image | None:
        if not len(self._known) or not self._known[index]:
            return None
        return Image.fromarray(self._images[index].numpy())

    def put(self, index: int, image: Image.Image) -> None:
        if len(self._known) and image.size == self._size and image.mode == "RGB":
            self._images[index] = torch.from_numpy(np.array(image))
            self._known[index] = True

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for tensor in (self._images, self._known):
            tensor.share_memory_()
