"""Decoding an image takes no more memory than the guide says, under a limit that the system keeps."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what a process may take is kept to on Linux alone")

BYTES = 17  # a pixel, docs/guide.md
SIDE = 3000
# image_file.py needs neither torch nor the rest of the package. A small image loads what Pillow reads it with.
DECODE = """
import resource, sys
from vae_augment.images.image_file import open_image
bytes_a_pixel, *paths = sys.argv[1:]
for path in paths:
    open_image(path + ".small")
with open("/proc/self/statm") as file:
    taken = int(file.read().split()[0]) * resource.getpagesize()
for path in paths:
    limit = taken + int(float(bytes_a_pixel) * int(path.rpartition("-")[2]) ** 2)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    try:
        open_image(path)
    except Exception as error:
        print(type(error).__name__, error)
    else:
        print("decoded")
"""


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """A turned progressive JPEG, a WebP with alpha and a 16-bit PNG, each with a small one beside it."""
    folder, made = tmp_path_factory.mktemp("large"), []
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind, options in (
        ("JPEG", {"progressive": True, "exif": exif}),
        ("WEBP", {"lossless": True, "method": 0}),
        ("PNG", {"compress_level": 1}),
    ):
        path = folder / f"{kind}-{SIDE}"
        for side, name in ((SIDE, path), (16, f"{path}.small")):
            grey = (np.add.outer(np.arange(side), np.arange(side)) % 251).astype(np.uint8)
            pixels = grey.astype(np.uint16) * 257 if kind == "PNG" else np.dstack([grey] * (3 if kind == "JPEG" else 4))
            Image.fromarray(pixels).save(name, kind, **options)
        made.append(str(path))
    return made


def decoded(bytes_a_pixel, paths):
    """What became of each image in a process that may take so much more than it has already."""
    command = [sys.executable, "-c", DECODE, str(bytes_a_pixel), *paths]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_images_are_decoded_in_the_memory_that_the_guide_says(paths):
    assert decoded(BYTES, paths) == ["decoded"] * 3


def test_the_limit_is_kept(paths):
    assert all("decoded" not in line for line in decoded(2, paths[:2]))
