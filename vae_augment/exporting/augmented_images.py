"""The images of an augmented export, numbered: what each is made of, the name of its file, and its content."""

from __future__ import annotations

import copy
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vae_augment.data.pixel_cache import UPRIGHT, orientation
from vae_augment.data.untransformed import Untransformed
from vae_augment.exporting.item_names import file_stems, item_names, without_ending
from vae_augment.images.encoding import ENDINGS, JPEG_QUALITY, as_array, encode, resized
from vae_augment.images.image_file import EXTENSIONS, open_image
from vae_augment.wrapper import VAEAugmentedDataset

PIXELS, FEWEST, MOST = 2**22, 16, 512  # of images made together: large ones would take much memory
KINDS = ("real", "jittered", "generated", "unlabelled", "original")  # the first as `return_source` numbers them
ORIGINAL = -1  # in place of a copy's epoch


class AugmentedImages:
    """M images: the copies of epoch 0, those of epoch 1, ..., and the items themselves.

    Args:
        wrapper: seeded.
        copies: of each of its N items.
        real: True if the items themselves are among the images.
        form: a name in `images.encoding.ENDINGS`.
        sides: height and width; None: the images' own.

    Raises ValueError if the format cannot hold the images.
    """

    def __init__(
        self, wrapper: VAEAugmentedDataset, copies: int, real: bool, form: str, sides: tuple[int, int] | None
    ) -> None:
        plain = wrapper.untransformed()
        self.source: Untransformed = plain._source  # type: ignore[assignment]
        self.form, self.sides = form, sides
        self._epochs = [_at_epoch(plain, epoch) for epoch in range(copies)]  # so that workers can be in different ones
        originals = np.arange(len(self.source)) if real else np.arange(0)
        self._place = np.concatenate([*[np.arange(len(plain))] * copies, originals])  # [M], in the wrapper
        self.epoch = np.repeat([*range(copies), ORIGINAL], [*[len(plain)] * copies, len(originals)])  # [M]
        kinds = [epoch.sources().numpy() for epoch in self._epochs]
        self.kind = np.concatenate([*kinds, np.full(len(originals), KINDS.index("original"))])  # [M], places in KINDS
        self.item = plain._origin.numpy()[self._place]  # [M], in the dataset
        self.label = self.source.labels.numpy()[self.item]  # [M]
        first = as_array(self.source.raw(0).image, self.source.value_range)
        encode(first, form)
        self.together = max(FEWEST, min(MOST, PIXELS // (first.shape[0] * first.shape[1])))  # images made at once

    def __len__(self) -> int:
        return len(self.item)

    @cached_property
    def item_names(self) -> tuple[str, ...]:
        return item_names(self.source)

    @cached_property
    def files(self) -> list[str]:
        """File name of each image, no two of a class alike."""
        stems = [without_ending(self.item_names[item]) for item in self.item]
        marks = ["" if epoch == ORIGINAL else f"-aug{epoch}" for epoch in self.epoch]
        order = np.argsort(self.epoch != ORIGINAL, kind="stable").tolist()  # items keep their names, before copies
        named = file_stems([stems[n] + marks[n] for n in order], self.label[order].tolist())
        found = dict(zip(order, named, strict=True))
        return [found[number] + self.ending(number) for number in range(len(self))]

    def ending(self, number: int) -> str:
        """Ending of an image's file."""
        file = self._own_file(number)
        return ENDINGS[self.form] if file is None else file.suffix.lower()

    def told(self, number: int) -> dict[str, Any]:
        """What an image was made of, and how."""
        item, epoch = int(self.item[number]), int(self.epoch[number])
        name, label = self.source.classes[int(self.label[number])], int(self.label[number])
        of_copy = {} if epoch == ORIGINAL else {"copy": epoch}
        of_item = {"item": item, "name": self.item_names[item], "kind": KINDS[self.kind[number]]}
        return {"class": name, "label": label, **of_item, **of_copy}

    def contents(self, numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Numbers of images, in some order, each with the bytes of its file, or the path of one that is the same."""
        by_epoch: dict[int, list[int]] = defaultdict(list)
        for number in numbers:
            by_epoch[int(self.epoch[number])].append(number)
        for number in by_epoch.pop(ORIGINAL, []):
            yield number, self._original(number)
        for epoch, some in by_epoch.items():
            for first in range(0, len(some), self.together):
                together = some[first : first + self.together]
                served = self._epochs[epoch].__getitems__(self._place[together].tolist())
                for number, (image, _) in zip(together, served, strict=True):
                    yield number, self._encoded(image)

    def _own_file(self, number: int) -> Path | None:
        """File of an item itself; None for copies, for other sizes, and where there is no file."""
        if self.epoch[number] != ORIGINAL or self.sides is not None:
            return None
        file = self.source.file(int(self.item[number]))
        return file if isinstance(file, Path) and file.suffix.lower() in EXTENSIONS else None

    def _original(self, number: int) -> Any:
        """An item's own file; its bytes, where it is to be turned as its EXIF says, since few loaders do that."""
        file = self._own_file(number)
        if file is None:
            return self._encoded(self.source.raw(int(self.item[number])).image)
        with Image.open(file) as opened:
            if orientation(opened) in (None, UPRIGHT):
                return file
        content = io.BytesIO()
        open_image(file).save(content, Image.registered_extensions()[file.suffix.lower()], quality=JPEG_QUALITY)
        return content.getvalue()

    def _encoded(self, image: Any) -> Any:
        array = as_array(image, self.source.value_range)
        return encode(array if self.sides is None else resized(array, self.sides), self.form)


def _at_epoch(wrapper: VAEAugmentedDataset, epoch: int) -> VAEAugmentedDataset:
    other = copy.copy(wrapper)
    other.set_epoch(epoch)
    return other
