"""Image files of unknown origin: listed formats only, size checked before decoding, upright, in their own depth.

The format is that of a file's content, whatever its name ends in.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vae_augment.config import MAX_PIXELS

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # torchvision's
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
FILE_BYTES = 8  # of a file for each of `max_pixels`: some formats are read into memory whole
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
TILE = (322, 323)  # TIFF tags: width and height of a tile, which is decoded at once


class UnreadableImageError(ValueError):
    """No usable image. The message is the reason, without the file's name."""


def open_image(source: Path | str | bytes, mode: str | None = None, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode the first image of a file, upright. Takes at most some 17 bytes of memory for each of `max_pixels`.

    Args:
        source: the path of a file, or its bytes.
        mode: mode to convert to, one of `mode_of`'s; None: the image's own.
        max_pixels: largest width times height that is decoded, at most 178,956,970.

    Raises:
        UnreadableImageError: no image of `FORMATS`, a damaged or too large one, or one that has no such mode.
        OSError: the file cannot be read.
    """
    return decoded(source, mode, max_pixels=max_pixels)[0]


def decoded(
    source: Path | str | bytes, mode: str | None = None, *, max_pixels: int = MAX_PIXELS
) -> tuple[Image.Image, bool]:
    """`open_image`, and True if the image was turned or mirrored as its EXIF says."""
    with _header(source, max_pixels) as image:
        try:
            turned = _is_turned(image)
            image.load()  # which turns a TIFF, in some versions of Pillow
            upright = ImageOps.exif_transpose(image) if _is_turned(image) else image
            own = mode_of(image)
            return converted(upright, mode or own, own), turned
        except UnreadableImageError:
            raise
        except Exception as error:  # OSError, SyntaxError, struct.error, ...: of bytes that anyone may have written
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise UnreadableImageError(f"it is damaged or cut short ({_reason(error)}).") from None


def read_mode(source: Path | str | bytes, *, max_pixels: int = MAX_PIXELS) -> str:
    """`mode_of` an image, by its header alone. Raises as `open_image`."""
    with _header(source, max_pixels) as image:
        return mode_of(image)


def mode_of(image: Image.Image) -> str:
    """Mode that keeps an image's channels and depth: L, LA, RGB, RGBA, I;16 (16 bits), I or F (32).

    Palettes, CMYK and other colour spaces become RGB. Transparency becomes an alpha channel.
    """
    if image.mode in ("F", "I"):
        return "I;16" if image.mode == "I" and image.format in ("PNG", "PPM") else image.mode  # older Pillow's
    if image.mode in SIXTEEN_BITS:
        return "I;16"
    alpha = image.has_transparency_data
    if image.mode in ("1", "L", "LA", "La"):
        return "LA" if alpha else "L"
    return "RGBA" if alpha else "RGB"


def common_mode(modes: Iterable[str]) -> str:
    """Mode that keeps the channels and depth of images of several modes; 16 bits beside colours become 8.

    Raises:
        ValueError: images of 32 bits, whose values have no fixed scale, beside others.
    """
    several = set(modes)
    if len(several) < 2:
        return several.pop() if several else "RGB"
    if several & {"I", "F"}:
        raise ValueError(f"images of 32 bits have no scale in common with others, got the modes {sorted(several)}.")
    if several == {"L", "I;16"}:
        return "I;16"
    colour = "RGB" if several & {"RGB", "RGBA"} else "L"
    return colour + ("A" if several & {"LA", "RGBA"} else "")


def converted(image: Image.Image, mode: str, own: str | None = None) -> Image.Image:
    """Convert an image to another mode of `mode_of`; black stays black, and white white.

    Args:
        image: the image.
        mode: the mode wanted.
        own: `mode_of(image)`, if it is known.

    Raises:
        UnreadableImageError: only one of the modes has 32 bits, whose values have no fixed scale.
    """
    own = own or mode_of(image)
    if {own, mode} & {"I", "F"} and own != mode:
        raise UnreadableImageError(f"it has the mode {own}, others have {mode}: they have no scale in common.")
    if own == "I;16" and image.mode != mode:
        deep = np.array(image)
        if mode == "I;16":
            return Image.fromarray(deep.astype(np.uint16))
        nearest = deep.astype(np.uint32)
        nearest += 128
        nearest //= 257  # 65535 / 255
        image = Image.fromarray(nearest.astype(np.uint8))
    elif mode == "I;16" and own != mode:
        return Image.fromarray(np.array(image.convert("L")).astype(np.uint16) * 257)
    return image if image.mode == mode else image.convert(mode)


@contextmanager
def _header(source: Path | str | bytes, max_pixels: int) -> Iterator[Image.Image]:
    """Open an image without decoding it. Pillow's warnings are off: a damaged or large image is an error."""
    if not isinstance(source, bytes):
        _check_file(os.stat(source), max_pixels)
    with warnings.catch_warnings(action="ignore"), _opened(source, max_pixels) as image:
        yield image


def _check_file(found: os.stat_result, max_pixels: int) -> None:
    if not stat.S_ISREG(found.st_mode):  # to read a pipe may never end
        raise UnreadableImageError("it is no regular file.")
    if not found.st_size:
        raise UnreadableImageError("the file is empty.")
    if found.st_size > FILE_BYTES * max_pixels:
        most = FILE_BYTES * max_pixels
        raise UnreadableImageError(f"the file has {found.st_size:,} bytes, an image of max_pixels at most {most:,}.")


def _opened(source: Path | str | bytes, max_pixels: int) -> Image.Image:
    """Open an image and check its size."""
    try:
        image = Image.open(BytesIO(source) if isinstance(source, bytes) else os.fspath(source), formats=FORMATS)
    except Image.DecompressionBombError:
        raise UnreadableImageError(f"it has more pixels than max_pixels, {max_pixels:,}.") from None
    except UnidentifiedImageError:
        raise UnreadableImageError(f"it is no image of the formats {', '.join(FORMATS)}.") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UnreadableImageError(f"its header is damaged ({_reason(error)}).") from None
    width, height = image.size
    tags = getattr(image, "tag_v2", {})
    try:
        tile = int(tags.get(TILE[0], 0)) * int(tags.get(TILE[1], 0))
    except (TypeError, ValueError):
        tile = 0
    if max(width * height, tile) > max_pixels:
        image.close()
        size = f"{width}x{height} pixels" if width * height > max_pixels else f"a tile of {tile:,} pixels"
        raise UnreadableImageError(f"it has {size}, more than max_pixels, {max_pixels:,}.")
    if not (width and height):
        image.close()
        raise UnreadableImageError(f"it has {width}x{height} pixels.")
    return image


def _is_turned(image: Image.Image) -> bool:
    """Say if an image's EXIF can be read and asks to turn or mirror it."""
    try:
        return image.getexif().get(0x0112, 1) in range(2, 9)
    except Exception:  # SyntaxError, OSError, struct.error, ...
        return False


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
