"""Datasets of image files that others wrote, on disk or as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vae_augment.images.image_file import UnreadableImageError, common_mode, decoded, read_mode
from vae_augment.images.labelled_images import LabelledImages

LOOKED_AT = 1000  # headers that tell the mode of all


class EncodedImages(LabelledImages):
    """Images read by `image_file.open_image`, all of one mode.

    A subclass says where they are (`encoded`).

    Args:
        targets: N labels.
        classes: names that labels are indices of; empty if they have none.
        max_pixels: of an image; one of more is an error.

    Raises:
        ValueError: modes that no mode can keep (`image_file.common_mode`).
    """

    def __init__(self, targets: Sequence[int], classes: Sequence[str], max_pixels: int) -> None:
        super().__init__(list(targets), list(classes))
        self.max_pixels = max_pixels
        self.mode = self._common_mode()

    def encoded(self, index: int) -> Path | bytes:
        """The file of image `index`, or what it holds."""
        raise NotImplementedError

    def read(self, index: int) -> Image.Image:
        """Image `index` before any transform. Raises as `image_file.open_image`."""
        return self.decoded(index)[0]

    def decoded(self, index: int) -> tuple[Image.Image, bool]:
        """`read`, and whether EXIF turned it."""
        return decoded(self.encoded(index), self.mode, max_pixels=self.max_pixels)

    def _common_mode(self) -> str:
        """That of up to 1,000 evenly spaced images, but for those that cannot be read."""
        places = np.unique(np.linspace(0, len(self) - 1, min(len(self), LOOKED_AT)).astype(int)).tolist()
        modes = set()
        for place in places:
            try:
                modes.add(read_mode(self.encoded(place), max_pixels=self.max_pixels))
            except (UnreadableImageError, OSError):  # for whoever reads it to tell
                continue
        return common_mode(modes)


class ImageFiles(EncodedImages):
    """Image files. Its fingerprint is that of torchvision's ImageFolder of the same files.

    Args:
        samples: (file, label) pairs.
        classes: names that labels are indices of; empty if they have none.
        root: the folder that the files lie in.
        max_pixels: of an image; one of more is an error.
    """

    def __init__(
        self, samples: Sequence[tuple[str, int]], classes: Sequence[str], root: str | Path, max_pixels: int
    ) -> None:
        self.samples, self.root = list(samples), str(root)
        super().__init__([label for _, label in samples], classes, max_pixels)

    def encoded(self, index: int) -> Path:
        return Path(self.samples[index][0])

    def only(self, indices: Sequence[int]) -> ImageFiles:
        """Those items alone, as if the other files were not there."""
        return ImageFiles([self.samples[i] for i in indices], self.classes, self.root, self.max_pixels)
