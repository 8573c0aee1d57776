"""A dataset's items before its transforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vae_augment.data.items import Sample
from vae_augment.data.source import Source


class Untransformed(Source):
    """A source whose items are pairs of raw image and label, also where another image takes the place of their own.

    Args:
        source: the same items with transforms.
    """

    def __init__(self, source: Source) -> None:
        vars(self).update(vars(source.copied()))

    def raw(self, index: int, *, blank: bool = False) -> Sample:
        return super().raw(index, blank=blank)._replace(calls=())

    def finish(self, index: int, sample: Sample, image: Any) -> tuple[Any, int]:
        return image, int(self.labels[index])

    def items(self, indices: list[int]) -> list[Any]:
        samples = [self.raw(index) for index in indices]
        self.relabel(indices, [sample.target for sample in samples])
        return [(sample.image, int(self.labels[index])) for index, sample in zip(indices, samples, strict=True)]

    def file(self, index: int) -> Path | bytes | None:
        """File that the image of item `index` is read from, or its bytes; None where there is more to it."""
        dataset, place = self._at(index)
        return dataset.file(place)
