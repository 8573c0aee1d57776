"""Memory that decoding an image file takes, in bytes a pixel, each kind in a process of its own.

python -m tests.benchmarks.decoding
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from vae_augment.images.image_file import open_image

SIDE = 5000  # pixels

Kind = tuple[str, Callable[[np.ndarray, Path], None], str | None]  # its name, how one is written, the mode wanted


def _rgb(grey: np.ndarray, channels: int = 3) -> Image.Image:
    return Image.fromarray(np.dstack([grey] * channels))


def _turned(grey: np.ndarray, path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    _rgb(grey).save(path, "JPEG", exif=exif, progressive=True)


KINDS: list[Kind] = [
    ("JPEG", lambda grey, path: _rgb(grey).save(path, "JPEG"), None),
    ("progressive JPEG, turned", _turned, None),
    ("CMYK JPEG", lambda grey, path: _rgb(grey).convert("CMYK").save(path, "JPEG", progressive=True), None),
    ("WebP with alpha", lambda grey, path: _rgb(grey, 4).save(path, "WEBP", lossless=True, method=0), None),
    ("16-bit PNG", lambda grey, path: Image.fromarray(grey.astype(np.uint16) * 257).save(path, "PNG"), None),
    (
        "16-bit PNG among colours",
        lambda grey, path: Image.fromarray(grey.astype(np.uint16) * 257).save(path, "PNG"),
        "RGB",
    ),
    ("TIFF with alpha", lambda grey, path: _rgb(grey, 4).save(path, "TIFF", compression="tiff_lzw"), None),
    ("palette PNG with alpha", lambda grey, path: _rgb(grey).quantize(8).save(path, "PNG", transparency=0), None),
]


def _peak() -> int:
    """The largest resident set of this process so far, in bytes; getrusage's is the parent's too."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _measure(path: Path, mode: str | None, pipe: object) -> None:
    before = _peak()
    open_image(path, mode)
    pipe.send((_peak() - before) / SIDE**2)


def main() -> None:
    spawn = multiprocessing.get_context("spawn")
    grey = (np.add.outer(np.arange(SIDE), np.arange(SIDE)) % 251).astype(np.uint8)
    with tempfile.TemporaryDirectory() as place:
        for name, write, mode in KINDS:
            path = Path(place) / "image"
            write(grey, path)
            receiver, sender = spawn.Pipe(duplex=False)
            process = spawn.Process(target=_measure, args=(path, mode, sender))
            process.start()
            print(f"{name:26} {receiver.recv():5.1f} bytes a pixel", flush=True)
            process.join()


if __name__ == "__main__":
    main()
