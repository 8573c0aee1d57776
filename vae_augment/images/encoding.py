"""Images to files: PNG, JPEG and WebP."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from vae_augment.images.conversion import Range, to_tensor
from vae_augment.images.tensors import to_uint8

ENDINGS = {"png": ".png", "jpg": ".jpg", "webp": ".webp"}
CHANNELS = {"png": (1, 2, 3, 4), "jpg": (1, 3), "webp": (1, 3, 4)}  # that files of a format hold
JPEG_QUALITY = 95
LOSSLESS = 101  # of WebP: over 100
ENDS = {".png": b"\0\0\0\0IEND\xaeB`\x82", ".jpg": b"\xff\xd9"}  # the last bytes of whole files


def check_png(channels: int) -> None:
    """Raise ValueError unless PNG can hold generated images of so many channels."""
    if channels not in (1, 3, 4):
        raise ValueError(f"PNG holds images of 1, 3 or 4 channels, the bank's have {channels}.")


def encode_pngs(images: Tensor) -> Iterator[Any]:
    """Encode uint8 images [N, C, H, W] as PNG files, each a NumPy array of bytes."""
    return (encode(array) for array in images.permute(0, 2, 3, 1).contiguous().numpy())


def as_array(image: Any, value_range: Range | None = None) -> np.ndarray[Any, Any]:
    """An image of a dataset as the array that a file holds, [H, W] or [H, W, C], uint8, or uint16 where it is so.

    Args:
        image: PIL image, numpy array or tensor, as `to_tensor` takes them.
        value_range: values of black and white in an image of other numbers, which get 8 bits.
    """
    if isinstance(image, Image.Image) and image.mode in ("L", "LA", "RGB", "RGBA", "I;16"):
        return np.asarray(image)
    if isinstance(image, np.ndarray) and image.dtype == np.uint16 and image.ndim == 2:
        return image
    return to_uint8(to_tensor(image, value_range)[None])[0].permute(1, 2, 0).contiguous().numpy()


def resized(array: np.ndarray[Any, Any], size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """An array [H, W] or [H, W, C] at another height and width: averaged if both shrink, else by cubic splines."""
    import cv2

    smaller = size[0] <= array.shape[0] and size[1] <= array.shape[1]
    return cv2.resize(array, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def encode(array: np.ndarray[Any, Any], form: str = "png") -> Any:
    """Encode an image as the bytes of a file.

    Args:
        array: [H, W] or [H, W, C], uint8, or uint16 for PNG; grey, grey and alpha, RGB or RGBA.
        form: a name in `ENDINGS`: "png", "jpg" of quality 95, or "webp" without loss.

    Raises:
        ValueError: the format cannot hold so many channels or bits.
    """
    import cv2

    channels = 1 if array.ndim == 2 else array.shape[2]
    if channels not in CHANNELS[form] or (array.dtype != np.uint8 and form != "png"):
        raise ValueError(f"{form} files cannot hold images of {channels} channels and {array.itemsize * 8} bits.")
    if channels == 2 or (channels == 4 and form == "webp"):  # of which OpenCV drops what is transparent
        content = BytesIO()
        Image.fromarray(array).save(content, form, lossless=True, exact=True)
        return content.getvalue()
    if channels >= 3:  # OpenCV keeps blue first
        array = array[..., [2, 1, 0, *range(3, channels)]]
    options = {"png": (), "jpg": (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY), "webp": (cv2.IMWRITE_WEBP_QUALITY, LOSSLESS)}
    done, encoded = cv2.imencode(ENDINGS[form], array, options[form])
    if not done:
        raise RuntimeError(f"OpenCV could not encode an image of shape {list(array.shape)}.")
    return encoded


def is_whole(path: str, ending: str) -> bool:
    """Tell if a file of ours has all its bytes: after a power cut it may lack some."""
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        if ending == ".webp":  # whose length stands at its beginning
            file.seek(4)
            return size > 8 and int.from_bytes(file.read(4), "little") + 8 == size
        last = ENDS[ending]
        file.seek(max(0, size - len(last)))
        return file.read() == last
