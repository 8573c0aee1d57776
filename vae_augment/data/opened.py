"""An opened dataset and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch.utils.data import Dataset

SAMPLE_SOURCE = "bundled sample"


@dataclass(frozen=True)
class OpenedData:
    """A dataset and where it came from.

    Args:
        dataset: of (PIL image, int) items.
        name: "mnist", or the folder's name.
        source: "torchvision", "folder" or `SAMPLE_SOURCE`.
    """

    dataset: Dataset[Any]
    name: str
    source: str
