"""The images of an augmented export, numbered: what each is made of, the name of its file, and its content."""

from __future__ import annotations

import copy
import io
import math
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
from vae_augment.images.conversion import size_of
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
        self._plain = plain = wrapper.untransformed()
        self._current: tuple[int, VAEAugmentedDataset] | None = None
        self.source: Untransformed = plain._source  # type: ignore[assignment]
        self.form, self.sides = form, sides
        originals = np.arange(len(self.source)) if real else np.arange(0)
        self._place = np.concatenate([*[np.arange(len(plain))] * copies, originals])  # [M], in the wrapper
        self.epoch = np.repeat([*range(copies), ORIGINAL], [*[len(plain)] * copies, len(originals)])  # [M]
        kinds = [self._at_epoch(epoch).sources().numpy() for epoch in range(copies)]
        self.kind = np.concatenate([*kinds, np.full(len(originals), KINDS.index("original"))])  # [M], places in KINDS
        self.item = plain._origin.numpy()[self._place]  # [M], in the dataset
        self.label = self.source.labels.numpy()[self.item]  # [M]
        first = as_array(self.source.raw(0).image, self.source.value_range)
        encode(first, form)
        self.together = max(FEWEST, min(MOST, PIXELS // (first.shape[0] * first.shape[1])))  # images in a part
        self._run = FEWEST  # images made at once, fewer where they are large

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
        """Class, item and kind of an image, and the epoch of a copy."""
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
            while some:
                together, some = some[: self._run], some[self._run :]
                served = self._at_epoch(epoch).__getitems__(self._place[together].tolist())
                for number, (image, label) in zip(together, served, strict=True):
                    self._check_label(number, label)
                    yield number, self._encoded(image)
                largest = max(math.prod(size_of(image)) for image, _ in served)
                self._run = max(1, min(2 * self._run, MOST, PIXELS // largest))

    def _at_epoch(self, epoch: int) -> VAEAugmentedDataset:
        """The wrapper in an epoch. Each process has its own, since processes can be in different ones."""
        if self._current is None or self._current[0] != epoch:
            self._current = epoch, copy.copy(self._plain)
            self._current[1].set_epoch(epoch)
        return self._current[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_current": None}

    def _check_label(self, number: int, label: int) -> None:
        """Raise ValueError for an item that has another label when it is read than in the dataset's list."""
        if label != self.label[number]:
            names, where = self.source.classes, self.source.whereabouts(int(self.item[number]))
            raise ValueError(
                f"{where} is of class {names[label]!r} when it is read, and of {names[int(self.label[number])]!r} in "
                "the dataset's list of labels: correct the list."
            )

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
