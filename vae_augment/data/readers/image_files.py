"""Datasets of image files of unknown origin, on disk or as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from PIL import Image

from vae_augment.data.items import evenly
from vae_augment.images.image_file import UnreadableImageError, common_mode, decoded, read_mode
from vae_augment.images.labelled_images import LabelledImages

LOOKED_AT = 1000  # images whose headers tell the mode of all


class EncodedImages(LabelledImages):
    """Images read by `image_file.open_image`, all converted to one mode. Subclasses define `encoded`.

    Args:
        targets: N labels.
        classes: names of labels 0, 1, ...; empty if labels have no names.
        max_pixels: largest width times height of an image; a larger one is an error.

    Raises:
        ValueError: the images have no mode in common (`image_file.common_mode`).
    """

    def __init__(self, targets: Sequence[int], classes: Sequence[str], max_pixels: int) -> None:
        super().__init__(list(targets), list(classes))
        self.max_pixels = max_pixels
        modes = set()
        for index in evenly(len(self), LOOKED_AT):
            with suppress(UnreadableImageError, OSError):  # reading the image will raise it
                modes.add(read_mode(self.encoded(index), max_pixels=max_pixels))
        self.mode = common_mode(modes)

    def encoded(self, index: int) -> Path | bytes:
        """Path or bytes of the file of image `index`."""
        raise NotImplementedError

    def read(self, index: int) -> Image.Image:
        """Image `index` without transforms. Raises as `image_file.open_image`."""
        return self.decoded(index)[0]

    def decoded(self, index: int) -> tuple[Image.Image, bool]:
        """`read`, and True if EXIF turned the image."""
        return decoded(self.encoded(index), self.mode, max_pixels=self.max_pixels)


class ImageFiles(EncodedImages):
    """Image files on disk, with the fingerprint of torchvision's ImageFolder of the same files.

    Args:
        samples: (file, label) pairs.
        classes: names of labels 0, 1, ...; empty if labels have no names.
        root: folder of the files.
        max_pixels: largest width times height of an image; a larger one is an error.
    """

    def __init__(
        self, samples: Sequence[tuple[str, int]], classes: Sequence[str], root: str | Path, max_pixels: int
    ) -> None:
        self.samples, self.root = list(samples), str(root)
        super().__init__([label for _, label in samples], classes, max_pixels)

    def encoded(self, index: int) -> Path:
        return Path(self.samples[index][0])

    def only(self, indices: Sequence[int]) -> ImageFiles:
        """Dataset of some items alone, as if the other files did not exist."""
        return ImageFiles([self.samples[i] for i in indices], self.classes, self.root, self.max_pixels)
