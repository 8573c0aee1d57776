"""Decoded image files in memory that all workers share."""

from __future__ import annotations

import hashlib
import os
import warnings
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image

MOST_PIXELS = 256 * 2**20  # bytes
PROFILE = "icc_profile"  # key in an image's `info`
UPRIGHT = 1  # EXIF orientation of an image that is not to be turned


def room(size: int, most: int) -> bool:
    """Say if so many bytes are at most `most` and a quarter of the free shared memory, often 64 MB in containers."""
    return size <= most and 4 * size <= _free()


def _free() -> int:
    """Bytes of free shared memory. A process that writes beyond them is killed without a message."""
    try:
        room = os.statvfs("/dev/shm")
    except (AttributeError, OSError):  # elsewhere than on Linux
        return 2**62
    return room.f_bavail * room.f_frsize


class Pixels:
    """Image files that are decoded once for all workers.

    There is no lock: all workers write the same pixels, and mark an image as known afterwards. Colour profiles are kept
    by each process. Images of another size, images that EXIF turns or whose EXIF cannot be read, and datasets of more
    than 256 MB are not kept.

    Args:
        count: number of files.
        size: (width, height) of the RGB images.
    """

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        width, height = size
        count = count if room(3 * count * width * height, MOST_PIXELS) else 0
        self._size = size
        self._images = torch.empty(count, height, width, 3, dtype=torch.uint8).share_memory_()
        self._known = torch.zeros(count, dtype=torch.bool).share_memory_()
        self._profile = torch.zeros(count, dtype=torch.int64).share_memory_()  # hash of each image's colour profile
        self._profiles: dict[int, bytes | None] = {_hash(None): None}  # by hash, known to this process

    @property
    def kept(self) -> bool:
        """True if there was room."""
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
        if orientation(image) == UPRIGHT:
            profile = image.info.get(PROFILE)
            self._profiles[_hash(profile)] = profile
            self._profile[index] = _hash(profile)
            self._images[index] = torch.from_numpy(np.array(image))
            self._known[index] = True

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for tensor in (self._images, self._known, self._profile):
            tensor.share_memory_()


def orientation(image: Image.Image) -> int | None:
    """EXIF orientation of an image; None if its EXIF cannot be read. Warnings were given when the file was opened."""
    with warnings.catch_warnings(action="ignore"):
        try:
            return int(image.getexif().get(ExifTags.Base.Orientation, UPRIGHT))
        except Exception:  # SyntaxError, OSError, struct.error, ...: of bytes that anyone may have written
            return None


def _hash(profile: bytes | None) -> int:
    """56-bit hash, the same in all processes."""
    return int.from_bytes(hashlib.blake2b(profile or b"", digest_size=7).digest(), "big")
