"""docs/compression.md and its picture, made from the raw results of tests.benchmarks.codec."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tabulate import tabulate

from vae_augment.images.tiles import INK, PAPER

Result = dict[str, Any]
TITLES = {
    "mnist": "MNIST, 28x28, grey",
    "sign-digits": "Sign digits, colour photographs at 64x64",
}
NEAR = 0.15  # of a size: what counts as the same
SIDE, GAP, MARGIN, TEXT, LEFT = 56, 4, 10, 12, 74  # pixels of the picture


def table(rows: list[dict], floatfmt: str = "g") -> str:
    return str(tabulate(rows, "keys", tablefmt="github", floatfmt=floatfmt)) + "\n"


def best(rows: list[dict], kind: str, budget: float, *, files: bool = False) -> dict:
    """Of one codec the form that does best at about so many bytes an image; or that comes nearest to them."""
    own = [row for row in rows if row["as"] == kind and (row["form"] == "files") == files]
    within = [row for row in own if abs(row["bytes"] - budget) <= NEAR * budget]
    if within:
        return max(within, key=lambda row: row["PSNR"])
    return min(own, key=lambda row: abs(row["bytes"] - budget))


def cell(row: dict, budget: float) -> str:
    """Quality, with the bytes where they are not about the budget's."""
    off = "" if abs(row["bytes"] - budget) <= NEAR * budget else f" at {row['bytes']:g} bytes"
    form = {"half-size mosaic": " (half size)", "padded mosaic": " (padded)"}.get(row["form"], "")
    return f"{row['PSNR']:.1f} dB, {row['SSIM']:.2f}{form}{off}"


def same_bytes(result: Result) -> str:
    rows = []
    for counted, name in (("without the bank", ""), ("with the bank", " and the bank")):
        for own in result["ours"]:
            budget = own["parquet"] + (result["bank bytes"] / result["images"] if name else 0)
            others = result[counted][own["codes"]]
            rows.append(
                {
                    "what is stored": own["codes"] + name,
                    "bytes an image": f"{budget:.1f}",
                    "smaller than raw": f"{result['lossless']['raw pixels'] / budget:.0f} x",
                    "latents": f"{own['PSNR']:.1f} dB, {own['SSIM']:.2f}",
                    **{f"{kind}, mosaic": cell(best(others, kind, budget), budget) for kind in ("JPEG", "WebP")},
                    **{
                        f"{kind}, files": cell(best(others, kind, budget, files=True), budget)
                        for kind in ("JPEG", "WebP")
                    },
                }
            )
    return table(rows)


def break_even(result: Result) -> str:
    """What JPEG and WebP need to be as good, and from how many images on the bank has paid for itself."""
    own, lines = result["ours"][-1], []
    for figure in ("PSNR", "SSIM"):
        for kind in ("JPEG", "WebP"):
            able = [row for row in result["as good"] if (row["same"], row["as"]) == (figure, kind)]
            able = [row for row in able if row[figure] >= 0.99 * own[figure]]  # else no quality reaches it
            other = min(able, key=lambda row: row["bytes"])
            saved = other["bytes"] - own["parquet"]
            images = f"{math.ceil(result['bank bytes'] / saved):,} images on" if saved > 0 else "no number of images on"
            lines.append(
                {
                    "as good by": f"{figure} ({own[figure]:.2f})",
                    "what": f"{kind}, {other['form']}, quality {other['quality']}",
                    "bytes an image": other["bytes"],
                    "PSNR": other["PSNR"],
                    "SSIM": f"{other['SSIM']:.2f}",
                    "latents and bank are smaller from": images,
                }
            )
    return table(lines)


def containers(result: Result) -> str:
    rows = [
        {
            "codes": row["codes"],
            "codes alone": row["codes alone"],
            ".safetensors": row["safetensors"],
            ".parquet": row["parquet"],
            "PSNR": row["PSNR"],
            "SSIM": row["SSIM"],
            "off float32's pixels by, of 255": row["mean difference from float32, levels"],
            "at most": row["largest"],
        }
        for row in result["ours"]
    ]
    return table(rows)


def section(name: str, result: Result) -> str:
    shape = "x".join(map(str, result["shape"]))
    fitted = result["fitted images"]
    plain = ", ".join(f"{what} {size:g}" for what, size in result["lossless"].items())
    share = result["bank bytes"] / result["images"]
    return f"""## {TITLES[name]}

{result["images"]:,} test images of {shape}, and a bank of {result["latent_dim"]} latent dimensions fitted to
{result["fitted on"]:,} others. It has {result["bank bytes"]:,} bytes, {share:,.1f} an image if these images alone are
to pay for it. Images that it was fitted to come back with {fitted["PSNR"]:g} dB and SSIM {fitted["SSIM"]:.3f}.

Latents (`encode --mean-only`), bytes an image. Files hold labels and names too:

{containers(result)}
At the same bytes as the .parquet file, with and without the bank; PSNR and SSIM:

{same_bytes(result)}
Without loss, bytes an image: {plain}.

What JPEG and WebP take to be as good as int8, all images in one mosaic:

{break_even(result)}
The int8 codes through general compressors, dimension by dimension, and the same with fewer levels than 255; bytes an
image:

{table(result["entropy"])}"""


def introduction(results: Result) -> str:
    digits, hands = results["mnist"], results["sign-digits"]
    own, of_hands = digits["ours"][-1], hands["ours"][-1]
    beside = best(digits["without the bank"]["int8"], "WebP", own["parquet"])
    whole = best(hands["with the bank"]["int8"], "WebP", of_hands["parquet"] + hands["bank bytes"] / hands["images"])
    return INTRODUCTION.format(
        latents=digits["latent_dim"],
        bytes=own["parquet"],
        own=own["PSNR"],
        beside=beside["PSNR"],
        whole=whole["PSNR"],
        hands=of_hands["PSNR"],
        packed=_packed(digits),
        packed_hands=_packed(hands),
        named=own["safetensors"] - own["codes alone"],
        named_hands=of_hands["safetensors"] - of_hands["codes alone"],
        fewer=digits["entropy"][2]["zstd -19"],
        lost=own["PSNR"] - digits["entropy"][2]["PSNR"],
        near=100 * NEAR,
    )


def _packed(result: Result) -> float:
    """Per cent that a compressor takes off codes of a byte each."""
    first = result["entropy"][0]
    return 100 - 100 * first["zstd -19"] / first["as bytes"]


def page(results: Result) -> str:
    parts = [introduction(results), *(section(name, result) for name, result in results.items())]
    return "\n".join(parts)


def picture(groups: list[dict[str, np.ndarray]]) -> bytes:
    """A PNG: beside each title a row of images, a group below the other."""
    font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), TEXT)
    placed, top, right = [], MARGIN, 0
    for rows in groups:
        for title, images in rows.items():
            height, width = images.shape[1:3]
            scale = max(1, SIDE // height)
            placed.append((title, images, scale, top))
            right = max(right, LEFT + len(images) * (width * scale + GAP))
            top += height * scale + GAP
        top += MARGIN
    sheet = Image.new("RGB", (right + MARGIN, top), PAPER)
    pen = ImageDraw.Draw(sheet)
    for title, images, scale, y in placed:
        height, width = (side * scale for side in images.shape[1:3])
        lines = title.count("\n") + 1
        pen.text((MARGIN, y + (height - lines * (TEXT + 4)) // 2), title, INK, font)
        for k, image in enumerate(images):
            tile = Image.fromarray(image).convert("RGB").resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(tile, (LEFT + k * (width + GAP), y))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


INTRODUCTION = """# A bank as a codec

    vae-augment encode mnist.safetensors --data mnist --out digits.parquet --dtype int8 --mean-only
    vae-augment decode mnist.safetensors digits.parquet --out digits

An image becomes the mean of its posterior: a few numbers, {latents} here, from which the decoder of its class makes an
image again. `reconstruct` does both at once and prints how far off each class is. The file says which bank it is of;
without that bank it is worth nothing. In Python: `vae_augment.exporting.codec` and `vae_augment.exporting.latents`.

![Digits and hands, as they are and at the bytes of int8 latents](compression.png)

*Original; int8 latents in a .parquet file; JPEG and WebP of all images in one mosaic, at the setting whose size is
nearest to that. Bytes an image, without the bank.*

It is worth it where

- **the bank is there anyway**, for augmentation, or images of one kind come by the tens of thousands. Beyond the bank a
  digit takes {bytes:.0f} bytes, at {own:.1f} dB; at as many bytes WebP gives {beside:.1f} dB.
- **the gist is enough**: to look through images, or to pass the outline of a dataset on.
- **the codes are wanted themselves**, to explore, to morph, to train on.

It is not worth it where

- **there are a few thousand images**: the bank outweighs them. At the bytes of latents and bank together WebP is better
  by far, {whole:.0f} dB against {hands:.0f} on the photographs below.
- **what an image shows matters**. Detail is not stored but made up: hands in the picture keep their place while
  their fingers run together. That rules out evidence, diagnosis and archives.
- **images are unlike those of the fit**, or of no class of the bank: the decoder makes of them what it knows.

Latents do not hide what they are of: they decode to likenesses.

Of the types float16 is as good as float32, and int8 costs hundredths of a dB. General compressors (zlib, zstd, xz)
take {packed:.0f} % off int8 codes of digits and {packed_hands:.0f} % off those of photographs: codes are close to
noise, and there is little more to find. A .parquet file has that already, with zstd; a .safetensors file is not
compressed, and takes {named:.0f} bytes for label and name of a digit, {named_hands:.0f} for those of a photograph.
`encode` writes int8 with 255 levels; with 63 the codes of a digit would compress to {fewer:.0f} bytes, for {lost:.1f}
dB.

Made by `python -m tests.benchmarks.codec`, which names what it needs; raw results in [results](results/codec.json).
No bank is chosen by the test images; JPEG's and WebP's settings are, for each size. *Mosaic*: all images are
tiles of one picture, so that one header serves all; *padded*: tiles fill whole blocks; *half size*: reduced to half the
sides before and enlarged after. The best of them at about the size (within {near:.0f} %) is shown, or the nearest,
with its bytes. *Files*: each image by itself; where even the lowest quality is larger, its size is given. PSNR and SSIM
are means over images. To read one image of a mosaic all of it is decoded; latents are decoded one by one.
"""
