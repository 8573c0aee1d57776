"""PNG files of image tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor


def check_png(channels: int) -> None:
    """Raise ValueError unless PNG can hold images of so many channels."""
    if channels not in (1, 3, 4):
        raise ValueError(f"PNG holds images of 1, 3 or 4 channels, the bank's have {channels}.")


def encode_pngs(images: Tensor) -> Iterator[Any]:
    """Encode uint8 images [N, C, H, W] as PNG files, each a NumPy array of bytes."""
    import cv2

    arrays = images.permute(0, 2, 3, 1).contiguous().numpy()
    if arrays.shape[3] >= 3:  # OpenCV keeps blue first
        arrays = arrays[..., [2, 1, 0, *range(3, arrays.shape[3])]]
    for array in arrays:
        done, content = cv2.imencode(".png", array)
        if not done:
            raise RuntimeError(f"OpenCV could not encode an image of shape {list(images.shape[1:])}.")
        yield content
