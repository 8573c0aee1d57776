"""Base class of our own datasets, with the interface of torchvision's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch.utils.data import Dataset


class LabelledImages(Dataset[Any]):
    """(image, int) items, with the attributes of torchvision's datasets. Subclasses define `read`.

    Args:
        targets: the label of each image.
        classes: names of labels 0, 1, ...; empty if labels have no names.
        transform: applied to each image.
        target_transform: applied to each label.
    """

    def __init__(
        self,
        targets: Any,
        classes: Sequence[str],
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self.targets, self.classes = targets, classes
        self.transform, self.target_transform = transform, target_transform

    @property
    def class_to_idx(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image: Any = self.read(index)
        target: Any = int(self.targets[index])
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def read(self, index: int) -> Any:
        """Image `index` without transforms."""
        raise NotImplementedError
