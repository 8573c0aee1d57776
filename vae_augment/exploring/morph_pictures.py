"""Pictures of a morph: an animation, or a strip of tiles."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from vae_augment.images.tiles import GAP, NAME_WIDTH, Block, drawable, enlarged, font, png, side_by_side

ACROSS = 16  # tiles in a row of a strip at most
STRIP_TILE = 64  # pixels of a tile's side at least
SIDE = 128  # pixels of an animation's side at least
FORMATS: dict[str, dict[str, Any]] = {".gif": {}, ".webp": {"lossless": True, "quality": 100}}
MOST_FPS = 50  # viewers show a GIF's frame of less than two hundredths of a second for ten
FPS = 12.0


def check_animation(suffix: str, fps: float = FPS) -> None:
    """Raise ValueError if `animation` does not take these options."""
    if suffix not in FORMATS:
        raise ValueError(f"an animation's file must end in {' or '.join(FORMATS)}, got {suffix!r}.")
    if not 1 <= fps <= MOST_FPS:
        raise ValueError(f"fps must be from 1 to {MOST_FPS}, got {fps}.")


def animation(frames: Tensor, suffix: str, *, fps: float = FPS, ping_pong: bool = False) -> bytes:
    """A looping animation as a file's content.

    A GIF has 256 colours, the same in all frames, which is lossless for grey frames. A WebP is lossless.

    Args:
        frames: [T, C, H, W], uint8 or float in [0, 1]; small ones are enlarged.
        suffix: ".gif" or ".webp".
        fps: frames per second, 1 to 50; a GIF shows each for whole hundredths of a second.
        ping_pong: play back to the first frame instead of jumping to it.

    Raises:
        ValueError: an option is out of range.
    """
    check_animation(suffix, fps)
    longer = max(frames.shape[2:])
    images = [enlarged(frame, longer * math.ceil(SIDE / longer)) for frame in frames]
    if frames.shape[1] <= 2:
        images = [image.convert("L") for image in images]
    elif suffix == ".gif":
        images = _of_one_palette(images)
    if ping_pong:
        images += images[-2:0:-1]
    first, *others = images
    buffer, duration = io.BytesIO(), round(1000 / fps)
    first.save(buffer, suffix[1:], save_all=True, append_images=others, duration=duration, loop=0, **FORMATS[suffix])
    return buffer.getvalue()


def _of_one_palette(images: list[Image.Image]) -> list[Image.Image]:
    """Images with one palette for all: palettes of their own would flicker."""
    palette = Image.fromarray(np.concatenate(list(map(np.asarray, images)))).quantize(256, kmeans=1)
    return [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]


def strip_png(frames: Tensor, name_a: str, name_b: str) -> bytes:
    """Frames in rows under a title, as a PNG file's content.

    Args:
        frames: [T, C, H, W], uint8 or float in [0, 1].
        name_a: the class of the first frame.
        name_b: the class of the last frame.
    """
    tile = max(STRIP_TILE, *frames.shape[2:])
    across = math.ceil(len(frames) / math.ceil(len(frames) / ACROSS))
    letters, between = font(), " to "
    room = (across * (tile + GAP) - math.ceil(letters.getlength(between))) // 2
    names = [drawable(name, letters, min(NAME_WIDTH, room)) for name in dict.fromkeys((name_a, name_b))]
    return png(side_by_side([Block(between.join(names), frames.split(across))], tile))
