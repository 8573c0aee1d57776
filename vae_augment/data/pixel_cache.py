"""Memory that all workers share: whether there is room for it, and the pixels of files in it."""

from __future__ import annotations

import hashlib
import os
import warnings
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image

MOST_PIXELS = 256 * 2**20  # bytes
PROFILE = "icc_profile"  # in an image's `info`
UPRIGHT = 1  # the orientation of an image that is not to be turned


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

    Without a lock: whoever writes an image writes the same, and it counts as known only after that. An image keeps its
    colour profile, which a process has seen once before. Not kept are images of another size than most, those that are
    to be turned or whose EXIF cannot be read, and any where all would take more than 256 MB.

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
        self._profile = torch.zeros(count, dtype=torch.int64).share_memory_()  # its hash
        self._profiles: dict[int, bytes | None] = {_hash(None): None}  # that this process knows

    @property
    def kept(self) -> bool:
        """Whether there is room."""
        return len(self._known) > 0

    def get(self, index: int) -> Image.Image | None:
        if not self.kept or not self._known[index]:
            return None
        profile = int(self._profile[index])
        if profile not in self._profiles:
            return None
        image = Image.fromarray(self._images[index].numpy())
        if self._profiles[profile] is not None:
            image.info[PROFILE] = self._profiles[profile]
        return image

    def put(self, index: int, image: Image.Image) -> None:
        if not self.kept or image.size != self._size or image.mode != "RGB":
            return
        if _is_upright(image):
            profile = image.info.get(PROFILE)
            self._profiles[_hash(profile)] = profile
            self._profile[index] = _hash(profile)
            self._images[index] = torch.from_numpy(np.array(image))
            self._known[index] = True

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for tensor in (self._images, self._known, self._profile):
            tensor.share_memory_()


def _is_upright(image: Image.Image) -> bool:
    """Whether its EXIF can be read and does not say otherwise. Opening the file has warned of a broken one already."""
    with warnings.catch_warnings(action="ignore"):
        try:
            return bool(image.getexif().get(ExifTags.Base.Orientation, UPRIGHT) == UPRIGHT)
        except Exception:  # SyntaxError, OSError, struct.error, ...: of bytes that anyone may have written
            return False


def _hash(profile: bytes | None) -> int:
    """One of 2**56, the same in all processes."""
    return int.from_bytes(hashlib.blake2b(profile or b"", digest_size=7).digest(), "big")
