"""Image files of unknown origin: what is kept of honest ones, and that the others end in one kind of error."""

from __future__ import annotations

import io
import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from vae_augment.config import MAX_PIXELS, MOST_PIXELS
from vae_augment.images.image_file import (
    FORMATS,
    UnreadableImageError,
    common_mode,
    converted,
    decoded,
    mode_of,
    open_image,
    read_mode,
)

EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "60"))  # of each law
GREY = np.arange(80, dtype=np.uint8).reshape(8, 10)
COLOUR = np.stack([GREY, GREY * 2, 255 - GREY], -1)
DEEP = (GREY.astype(np.uint16) * 800) + 3


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def with_orientation(number, kind):
    exif = Image.Exif()
    exif[0x0112] = number
    return encoded(Image.fromarray(COLOUR), kind, exif=exif, **({"quality": 100} if kind == "JPEG" else {}))


def palette(**options):
    image = Image.fromarray(COLOUR).quantize(16)
    return encoded(image, **options)


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width, height, rows=b"", depth=8, colour=0):
    """A PNG that says it has so many pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(tags):
    """A little-endian TIFF of nothing but whole-number tags."""
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4) + bytes(64)


def animated_webp(width, height):
    """A WebP whose canvas is said to be so large, around a frame of 8x8."""
    frame = encoded(Image.new("RGB", (8, 8)), "WEBP")[12:]
    inner = bytes(6) + (7).to_bytes(3, "little") * 2 + (10).to_bytes(3, "little") + b"\0" + frame
    canvas = b"\x02\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    parts = ((b"VP8X", canvas), (b"ANIM", bytes(6)), (b"ANMF", inner))
    body = b"WEBP" + b"".join(name + struct.pack("<I", len(part)) + part for name, part in parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


HONEST = {
    **{f"{kind} grey": encoded(Image.fromarray(GREY), kind) for kind in FORMATS if kind != "WEBP"},
    **{f"{kind} colour": encoded(Image.fromarray(COLOUR), kind) for kind in FORMATS},
    "16 bits": encoded(Image.fromarray(DEEP)),
    "16 bits TIFF": encoded(Image.fromarray(DEEP), "TIFF", compression="tiff_lzw"),
    "float TIFF": encoded(Image.fromarray(DEEP.astype(np.float32)), "TIFF"),
    "CMYK": encoded(Image.fromarray(COLOUR).convert("CMYK"), "JPEG"),
    "palette": palette(),
    "turned": with_orientation(6, "JPEG"),
    "text": encoded(Image.fromarray(GREY), pnginfo=PngImagePlugin.PngInfo()),
    "animated": animated_webp(8, 8),
}

# ---- what is kept ----


@pytest.mark.parametrize(
    ("data", "mode", "pixels"),
    [
        (encoded(Image.fromarray(GREY)), "L", GREY),
        (encoded(Image.fromarray(GREY > 40)), "L", np.uint8(255) * (GREY > 40)),
        (encoded(Image.fromarray(COLOUR)), "RGB", COLOUR),
        (encoded(Image.fromarray(COLOUR), "WEBP", lossless=True), "RGB", COLOUR),
        (encoded(Image.fromarray(DEEP)), "I;16", DEEP),
        (encoded(Image.fromarray(DEEP), "TIFF"), "I;16", DEEP),
        (encoded(Image.fromarray(DEEP), "PPM"), "I;16", DEEP),
        (encoded(Image.fromarray(DEEP.astype(np.int32) * 9), "TIFF"), "I", DEEP.astype(np.int32) * 9),
        (encoded(Image.fromarray(DEEP / np.float32(7)), "TIFF"), "F", DEEP / np.float32(7)),
        (encoded(Image.fromarray(np.dstack([GREY, 255 - GREY]), "LA")), "LA", np.dstack([GREY, 255 - GREY])),
        (encoded(Image.fromarray(np.dstack([COLOUR, GREY]))), "RGBA", np.dstack([COLOUR, GREY])),
        (encoded(Image.fromarray(COLOUR).convert("CMYK"), "TIFF"), "RGB", COLOUR),
    ],
    ids=["grey", "1 bit", "colour", "webp", "16 bits", "16 bits TIFF", "16 bits PGM", "32 bits", "float", "grey alpha",
         "alpha", "CMYK"],
)  # fmt: skip
def test_an_image_keeps_what_it_holds(data, mode, pixels):
    image = open_image(data)
    assert (image.mode, read_mode(data), decoded(data)[1]) == (mode, mode, False)
    assert np.array_equal(np.array(image), pixels)


def test_a_palette_becomes_colours_and_keeps_what_can_be_seen_through():
    assert open_image(palette()).mode == "RGB"
    seen_through = open_image(palette(transparency=0))
    assert seen_through.mode == "RGBA"
    assert set(np.unique(np.array(seen_through)[..., 3])) == {0, 255}


TURNS = [getattr(Image.Transpose, name) for name in (
    "FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"
)]  # of the orientations from 2 on  # fmt: skip


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("number", range(1, 9))
def test_an_image_is_turned_as_its_exif_says(kind, number):
    data = with_orientation(number, kind)
    image = open_image(data)
    assert image.size == ((10, 8) if number < 5 else (8, 10))
    assert decoded(data)[1] == (number != 1)
    upright = Image.open(io.BytesIO(encoded(Image.fromarray(COLOUR), kind, quality=100))).convert("RGB")
    if number > 1:
        upright = upright.transpose(TURNS[number - 2])
    assert np.abs(np.array(image).astype(int) - np.array(upright)).max() <= 12  # lossy WebP and JPEG alike


def test_a_phones_jpeg_of_several_pictures_is_its_first():
    first, second = Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)
    data = encoded(first, "MPO", save_all=True, append_images=[second], quality=100)
    assert np.abs(np.array(open_image(data)).astype(int) - COLOUR).mean() < 8


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.txt", "ü \n.png"])
def test_a_file_is_what_its_bytes_are_whatever_its_ending(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(encoded(Image.fromarray(COLOUR), "BMP"))
    assert np.array_equal(np.array(open_image(path)), COLOUR)
    assert np.array_equal(np.array(open_image(str(path))), COLOUR)


# ---- modes ----


@pytest.mark.parametrize(
    ("modes", "common"),
    [
        ([], "RGB"),
        (["L"], "L"),
        (["L", "RGB"], "RGB"),
        (["L", "LA"], "LA"),
        (["LA", "RGB"], "RGBA"),
        (["RGB", "RGBA"], "RGBA"),
        (["I;16", "L"], "I;16"),
        (["I;16", "RGB"], "RGB"),
        (["I;16", "LA"], "LA"),
        (["F"], "F"),
        (["I", "I"], "I"),
    ],
)
def test_a_common_mode_keeps_what_all_hold(modes, common):
    assert common_mode(modes) == common


@pytest.mark.parametrize("modes", [["F", "L"], ["I", "RGB"], ["F", "I"], ["I", "I;16"]])
def test_images_without_a_common_scale_are_refused(modes):
    with pytest.raises(ValueError, match=r"images of 32 bits have no scale in common with others, got the modes \['"):
        common_mode(modes)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("own", ["L", "LA", "RGB", "RGBA", "I;16", "P", "CMYK", "1", "I;16B"])
def test_black_and_white_stay_so_in_every_mode(own, mode):
    pixels = np.array([[0, 255]], np.uint8)
    if own.startswith("I;16"):
        image = Image.fromarray(pixels.astype(np.uint16) * 257)
        if own == "I;16B":
            image = Image.frombytes("I;16B", (2, 1), (pixels.astype(">u2") * 257).tobytes())
    else:
        image = Image.fromarray(pixels).convert("RGB" if own == "P" else own)
        image = image.quantize(2) if own == "P" else image
    made = converted(image, mode)
    assert made.mode == mode
    values = np.array(made).reshape(2, -1)
    assert values[0][0] == 0
    assert values[1][0] == (65535 if mode == "I;16" else 255)


def test_sixteen_bits_among_eight_keep_their_scale():
    data = encoded(Image.fromarray(DEEP))
    assert np.array_equal(np.array(open_image(data, "L")), np.rint(DEEP / 257))
    assert np.array_equal(np.array(open_image(encoded(Image.fromarray(GREY)), "I;16")), GREY.astype(np.uint16) * 257)


@pytest.mark.parametrize(("own", "mode"), [("F", "L"), ("L", "F"), ("I", "RGB"), ("F", "I"), ("I", "I;16")])
def test_a_mode_without_a_common_scale_is_an_error(own, mode):
    data = encoded(Image.fromarray(DEEP.astype({"F": np.float32, "I": np.int32, "L": np.uint8}[own])), "TIFF")
    with pytest.raises(UnreadableImageError, match="they have no scale in common"):
        open_image(data, mode)


# ---- what is refused ----

EMPTY_GIF = b"GIF89a\x08\0\x08\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x08\0\x08\0\0\x02\x02D\x01\0;"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"hello", "it is no image of the formats JPEG, PNG, PPM, BMP, TIFF, WEBP."),
        (EMPTY_GIF, "it is no image of the formats"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is no image of the formats"),
        (encoded(Image.fromarray(COLOUR))[:-30], "it is damaged or cut short ("),
        (encoded(Image.fromarray(COLOUR), "JPEG")[:-60], "its header is damaged ("),
        (encoded(Image.fromarray(COLOUR), "BMP")[:-30], "it is damaged or cut short ("),
        (b"P5 70000 70000 255\n", "it has more pixels than max_pixels, 89,478,485."),
        (b"P5 9500 9500 255\n", "it has 9500x9500 pixels, more than max_pixels, 89,478,485."),
        (png(50_000, 50_000), "it has more pixels than max_pixels"),
        (png(9_999, 9_999), "it has 9999x9999 pixels, more than max_pixels"),
        (animated_webp(16_383, 16_383), "it has more pixels than max_pixels"),
        (animated_webp(2**24, 9), "it has"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else None,
)
def test_what_cannot_be_used_is_refused_for_a_reason(data, reason):
    with pytest.raises(UnreadableImageError, match=rf"{re.escape(reason)}.*(?<=\.)$"):
        open_image(data)


def test_a_tile_larger_than_the_image_may_be_is_refused():
    tags = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 277: 1, 322: 2**15, 323: 2**15, 324: 8, 325: 64}
    with pytest.raises(UnreadableImageError, match=r"it has a tile of 1,073,741,824 pixels, more than max_pixels"):
        open_image(tiff(tags))


def test_max_pixels_is_width_times_height(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(COLOUR)))
    assert open_image(tmp_path / "a.png", max_pixels=80).size == (10, 8)
    with pytest.raises(UnreadableImageError, match="it has 10x8 pixels, more than max_pixels, 79"):
        open_image(tmp_path / "a.png", max_pixels=79)
    with pytest.raises(UnreadableImageError, match="an image of max_pixels at most 8"):
        open_image(tmp_path / "a.png", max_pixels=1)
    assert MOST_PIXELS == 2 * MAX_PIXELS


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.touch(), "the file is empty."),
        (lambda path: path.mkdir(), "it is no regular file."),
        (lambda path: os.mkfifo(path), "it is no regular file."),
        (lambda path: path.symlink_to("/dev/zero"), "it is no regular file."),
    ],
    ids=["empty", "folder", "pipe", "device"],
)
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, make, reason):
    make(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError, match=f"^{re.escape(reason)}$"):
        open_image(tmp_path / "a.png")


def test_a_file_that_is_not_there_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: .*a\.png"):
        open_image(tmp_path / "a.png")


@pytest.mark.slow
def test_a_bomb_takes_no_memory(tmp_path):
    """10,000 x 10,000 pixels in 97 kB are refused in a process that may have 1 GB."""
    (tmp_path / "bomb.png").write_bytes(png(13_000, 13_000, bytes(13_001) * 13_000))
    code = f"""if True:
        import resource
        from vae_augment.images.image_file import UnreadableImageError, open_image
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            open_image({str(tmp_path / "bomb.png")!r})
        except UnreadableImageError as error:
            print(error)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (
        0,
        "it has 13000x13000 pixels, more than max_pixels, 89,478,485.\n",
    ), done.stderr


# ---- laws ----


def ends_well(data):
    """A small image that can be used, or the one error."""
    try:
        image = open_image(data, max_pixels=10_000)
    except UnreadableImageError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert message.endswith(".")
        assert "\n" not in message
        return
    assert image.width * image.height <= 10_000
    assert image.mode == mode_of(image)
    np.array(image)


@given(st.sampled_from(sorted(HONEST)), st.data())
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_damage_ends_in_an_image_or_the_one_error(name, data):
    content = bytearray(HONEST[name])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=6))
        if not content:
            break
    ends_well(bytes(content))


@given(st.sampled_from([HONEST[name][:k] for name in sorted(HONEST) for k in (2, 4, 8, 16, 26, 40)]), st.binary())
@example(b"", b"")
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_bytes_end_in_an_image_or_the_one_error(start, rest):
    ends_well(start + rest)


@given(st.dictionaries(st.sampled_from([254, *range(256, 260), 262, 266, 273, *range(277, 285), 296, 317, *range(322, 326), 330, 338, 339, 513, 514, 530]), st.integers(0, 2**32 - 1) | st.integers(0, 40)))  # fmt: skip  # noqa: E501
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_tags_end_in_an_image_or_the_one_error(tags):
    ends_well(tiff({256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 277: 1, **tags}))


@given(
    st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=90), st.integers(0, 255), st.integers(0, 7)
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_header_ends_in_an_image_or_the_one_error(width, height, rows, depth, colour):
    ends_well(png(width, height, rows, depth, colour))
    ends_well(png(width % 40, height % 40, rows, 8, colour))
    ends_well(b"P%d %d %d %d\n" % (1 + colour % 6, width, height, depth) + rows)
    ends_well(b"P%d %d %d %d\n" % (1 + colour % 6, width % 40, height % 40, depth) + rows)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are listed there on Linux alone")
def test_what_is_refused_closes_its_file(tmp_path):
    path = tmp_path / "a.png"
    cut_short = encoded(Image.fromarray(COLOUR))[:-30]
    for data, reason in ((png(99_999, 9), "cut short"), (cut_short, "cut short"), (b"hello", "it is no image")):
        path.write_bytes(data)
        before = os.listdir("/proc/self/fd")
        with pytest.raises(UnreadableImageError, match=reason):
            open_image(path)
        assert len(os.listdir("/proc/self/fd")) == len(before)
