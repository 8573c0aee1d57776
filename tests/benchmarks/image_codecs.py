"""JPEG and WebP at a wanted size: images as files of their own, and all of them as tiles of one picture."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from PIL import Image
from skimage.metrics import structural_similarity

Images = np.ndarray  # uint8 [N, H, W] or [N, H, W, 3]
BLOCK = 16  # pixels of a side that JPEG and WebP code together, colours at half the resolution
FORMS = ("files", "mosaic", "padded mosaic", "half-size mosaic")
LOSSY = {
    "JPEG": ("JPEG", {"optimize": True}, range(1, 101)),
    "WebP": ("WEBP", {"method": 6}, range(101)),
}


def encoded(image: np.ndarray, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(content: bytes, like: np.ndarray) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("L" if like.ndim == 2 else "RGB"))


def psnr(images: Images, others: Images) -> float:
    """Mean over images, in dB."""
    squares = ((images.astype(float) - others) / 255) ** 2
    return float(-10 * np.log10(squares.reshape(len(images), -1).mean(1)).mean())


def ssim(images: Images, others: Images) -> float:
    """Mean over images."""
    axis = -1 if images.ndim == 4 else None
    pairs = zip(images, others, strict=True)
    return float(np.mean([structural_similarity(a, b, data_range=255, channel_axis=axis) for a, b in pairs]))


def mosaic(images: Images, *, padded: bool = False) -> np.ndarray:
    """One picture with every image as a tile, row by row; `padded`: their edges repeated up to whole blocks."""
    if padded:
        height, width = (-side % BLOCK for side in images.shape[1:3])
        images = np.pad(images, [(0, 0), (0, height), (0, width), *[(0, 0)] * (images.ndim - 3)], mode="edge")
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    height, width, *colours = images.shape[1:]
    tiles = np.zeros((rows * columns, height, width, *colours), np.uint8)
    tiles[: len(images)] = images
    tiles = tiles.reshape(rows, columns, height, width, *colours).swapaxes(1, 2)
    return tiles.reshape(rows * height, columns * width, *colours)


def tiles(picture: np.ndarray, images: Images, *, padded: bool = False) -> Images:
    """The images of a mosaic of them again."""
    height, width = (side + (-side % BLOCK if padded else 0) for side in images.shape[1:3])
    columns, colours = picture.shape[1] // width, picture.shape[2:]
    cut = picture.reshape(-1, height, columns, width, *colours).swapaxes(1, 2).reshape(-1, height, width, *colours)
    return cut[: len(images), : images.shape[1], : images.shape[2]]


def scaled(images: Images, size: tuple[int, int], how: Image.Resampling) -> Images:
    """At another (width, height)."""
    return np.stack([np.asarray(Image.fromarray(image).resize(size, how)) for image in images])


@dataclass
class Codec:
    """Images by one codec, at any quality.

    Args:
        images: all of them.
        kind: one of `LOSSY`.
        form: one of `FORMS`.
    """

    images: Images
    kind: str
    form: str
    _made: dict[int, list[bytes]] = field(default_factory=dict)

    @cached_property
    def coded(self) -> Images:
        """The images as they are coded."""
        if self.form != "half-size mosaic":
            return self.images
        height, width = self.images.shape[1:3]
        return scaled(self.images, (width // 2, height // 2), Image.Resampling.BOX)

    @property
    def padded(self) -> bool:
        return self.form == "padded mosaic"

    def files(self, quality: int) -> list[bytes]:
        if quality not in self._made:
            kind, options, _ = LOSSY[self.kind]
            pictures = self.coded if self.form == "files" else [mosaic(self.coded, padded=self.padded)]
            self._made[quality] = [encoded(picture, kind, quality=quality, **options) for picture in pictures]
        return self._made[quality]

    def size(self, quality: int) -> float:
        """Bytes an image."""
        return sum(map(len, self.files(quality))) / len(self.images)

    def decoded(self, quality: int) -> Images:
        files, one = self.files(quality), self.coded[0]
        if self.form == "files":
            return np.stack([decoded(content, one) for content in files])
        cut = tiles(decoded(files[0], one), self.coded, padded=self.padded)
        height, width = self.images.shape[1:3]
        return cut if cut.shape == self.images.shape else scaled(cut, (width, height), Image.Resampling.BICUBIC)

    def first(self, holds: Callable[[int], bool]) -> int:
        """The lowest quality for which something holds that holds for all higher ones; the highest if for none."""
        qualities = LOSSY[self.kind][2]
        low, high = qualities[0], qualities[-1]
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(middle) else (middle + 1, high)
        return low

    def nearest(self, size: float) -> int:
        """The quality whose size is nearest to so many bytes an image."""
        above = self.first(lambda quality: self.size(quality) >= size)
        around = [quality for quality in (above - 1, above) if quality in LOSSY[self.kind][2]]
        return min(around, key=lambda quality: abs(self.size(quality) - size))
