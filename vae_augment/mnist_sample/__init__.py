"""500 training and 100 test images of each MNIST digit, for when MNIST cannot be downloaded."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from PIL import Image

from vae_augment.images.labelled_images import LabelledImages

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class MNISTSample(LabelledImages):
    """A sample of MNIST with the interface of torchvision.datasets.MNIST: (PIL image of mode "L", int) items.

    Example:
        >>> image, label = MNISTSample()[0]

    Args:
        train: True for the 5,000 training images, False for the 1,000 test images.
        transform: applied to each image.
        target_transform: applied to each label.
    """

    def __init__(
        self,
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
    ) -> None:
        split = "train" if train else "test"
        with files(__name__).joinpath("mnist_sample.npz").open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            self.data = torch.from_numpy(arrays[f"{split}_images"])  # uint8 [N, 28, 28]
            targets = torch.from_numpy(arrays[f"{split}_labels"].astype(np.int64))  # [N]
        classes = tuple(f"{digit} - {name}" for digit, name in enumerate(NAMES))
        super().__init__(targets, classes, transform, target_transform)
        self.train = train

    def read(self, index: int) -> Image.Image:
        # A copy: pickling for a spawned worker moves `data`, and a view of it would read freed memory.
        return Image.fromarray(self.data[index].numpy().copy())
