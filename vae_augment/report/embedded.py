"""Images inside a page: tiles as image files in its text."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vae_augment.images.tensors import match_channels, resize, to_float, to_uint8

GAP = 1  # pixels between tiles, transparent
WEBP_QUALITY = 85


def tiled(images: Tensor, columns: int, gap: int = GAP) -> Image.Image:
    """Images [N, C, H, W] as one, row by row, in grey or colour; transparent where there is no image."""
    channels = 1 if images.shape[1] in (1, 2) else 3
    pixels = to_uint8(match_channels(to_float(images), channels))
    count, _, height, width = pixels.shape
    rows = math.ceil(count / columns)
    sheet = torch.zeros(channels + 1, rows * (height + gap) - gap, columns * (width + gap) - gap, dtype=torch.uint8)
    for place, image in enumerate(pixels):
        top, left = place // columns * (height + gap), place % columns * (width + gap)
        sheet[:channels, top : top + height, left : left + width] = image
        sheet[channels, top : top + height, left : left + width] = 255
    return Image.fromarray(np.ascontiguousarray(sheet.permute(1, 2, 0).numpy()), "LA" if channels == 1 else "RGBA")


def shrunk(images: Tensor, side: int) -> Tensor:
    """Images [N, C, H, W] whose longer side has at most `side` pixels: as they are, or reduced."""
    height, width = images.shape[2:]
    scale = side / max(height, width)
    return resize(images, (max(1, round(height * scale)), max(1, round(width * scale)))) if scale < 1 else images


def data_uri(image: Image.Image, *, lossless: bool) -> str:
    """An image as a data: address. Grey is always lossless; colour is compressed as photographs unless `lossless`."""
    buffer = io.BytesIO()
    if image.mode in ("L", "LA") or lossless:
        kind = "png"
        image.save(buffer, "PNG", optimize=True)
    else:
        kind = "webp"
        image.save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
