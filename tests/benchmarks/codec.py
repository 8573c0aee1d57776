"""A bank as a codec: bytes and quality of latents, beside JPEG and WebP at the same bytes; makes docs/compression.md.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.codec [--mnist BANK] [--sign-digits BANK] [--table]

Without a bank one is fitted to the training images, with the default preset. Measured on the test images, which no
VAE has seen and nothing is chosen by. --table makes the page of docs/results/codec.json and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import lzma
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow
import torch
from torch import Tensor
from torch.utils.data import Subset

from tests.benchmarks.codec_page import best, page, picture
from tests.benchmarks.image_codecs import BLOCK, FORMS, LOSSY, Codec, Images, encoded, mosaic, psnr, ssim
from tests.benchmarks.speed.measured import ROOT, data_folder
from vae_augment import VAEBank, fit
from vae_augment.bank.matching import source_for
from vae_augment.data import open_data
from vae_augment.data.loading import load_images
from vae_augment.exporting.codec import encode_dataset
from vae_augment.exporting.latents import Latents
from vae_augment.exporting.quantized import DTYPES, quantized, restored
from vae_augment.images.tensors import to_uint8

COARSER = (255, 127, 63, 31, 15)  # levels of a dimension
RESULT = ROOT / "docs" / "results" / "codec.json"
SHOWN = {"mnist": 10, "sign-digits": 3}  # in the picture
SEARCHED = 1000  # images by which a quality of the same SSIM is looked for
EVERY = {"mnist": 10, "sign-digits": 1}  # of the training images


def opened(name: str, part: str):
    root = data_folder()
    return (open_data("mnist", part=part, root=root) if name == "mnist" else open_data(root / name, part=part)).dataset


def arrays(images: Tensor) -> Images:
    """uint8 [N, H, W] or [N, H, W, 3] of [N, C, H, W]."""
    moved = images.permute(0, 2, 3, 1).numpy()
    return moved[..., 0] if moved.shape[-1] == 1 else moved


def kept(latents: Latents, dtype: str, ending: str) -> tuple[int, Latents]:
    """The size of a latent file, and what is read of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"latents.{ending}"
        latents.save(path, dtype=dtype)
        return path.stat().st_size, Latents.load(path)


def decode(bank: VAEBank, mean: Tensor, labels: Tensor) -> Images:
    return arrays(to_uint8(bank.decode(mean, labels)))


def quality(images: Images, others: Images) -> dict[str, float]:
    return {"PSNR": round(psnr(images, others), 2), "SSIM": round(ssim(images, others), 4)}


def ours(bank: VAEBank, latents: Latents, images: Images) -> list[dict]:
    """A row for each type of the codes: bytes an image alone and in either container, quality, how near float32."""
    exact, rows = decode(bank, latents.mean, latents.labels), []
    for dtype in DTYPES:
        table, read = kept(latents, dtype, "parquet")
        made = decode(bank, read.mean, read.labels)
        off = np.abs(made.astype(int) - exact)
        rows.append(
            {
                "codes": dtype,
                "codes alone": bank.latent_dim * getattr(torch, dtype).itemsize,
                "safetensors": round(kept(latents, dtype, "safetensors")[0] / len(images), 2),
                "parquet": round(table / len(images), 2),
                **quality(images, made),
                "mean difference from float32, levels": round(float(off.mean()), 4),
                "largest": int(off.max()),
            }
        )
    return rows


def theirs(images: Images, size: float, codecs: dict[tuple[str, str], Codec]) -> list[dict]:
    """JPEG and WebP at the quality whose size is nearest to so many bytes an image."""
    rows = []
    for (kind, form), codec in codecs.items():
        chosen = codec.nearest(size)
        made = quality(images, codec.decoded(chosen))
        rows.append({"as": kind, "form": form, "quality": chosen, "bytes": round(codec.size(chosen), 1), **made})
    return rows


def as_good(images: Images, own: dict, codecs: dict[tuple[str, str], Codec]) -> list[dict]:
    """Bytes an image that JPEG and WebP need for at least the mean PSNR of ours, or its mean SSIM."""
    rows = []
    for figure, measured, some in (("PSNR", psnr, images), ("SSIM", ssim, images[:SEARCHED])):
        for (kind, form), codec in codecs.items():
            wanted = own[figure]
            chosen = codec.first(lambda q, c=codec, m=measured, s=some, w=wanted: m(s, c.decoded(q)[: len(s)]) >= w)
            made = quality(images, codec.decoded(chosen))
            size = round(codec.size(chosen), 1)
            rows.append({"same": figure, "as": kind, "form": form, "quality": chosen, "bytes": size, **made})
    return rows


def fitted_images(name: str, bank: VAEBank) -> dict[str, float]:
    """Quality of images that the bank was fitted to."""
    source = source_for(bank, Subset(opened(name, "train"), range(0, bank.data["images"], EVERY[name])))
    images = load_images(source, bank.image_shape).images
    mean = bank.encode(images, source.labels)[0]
    return {"images": len(images), **quality(arrays(images), decode(bank, mean, source.labels))}


def lossless(images: Images) -> dict[str, float]:
    """Bytes an image without loss."""
    one = mosaic(images)
    sizes = {
        "raw pixels": images[0].nbytes * len(images),
        "PNG, files": sum(len(encoded(image, "PNG", optimize=True)) for image in images),
        "PNG, mosaic": len(encoded(one, "PNG", optimize=True)),
        "WebP lossless, mosaic": len(encoded(one, "WEBP", lossless=True, method=6, quality=100)),
    }
    return {name: round(size / len(images), 1) for name, size in sizes.items()}


def entropy_coded(bank: VAEBank, latents: Latents, images: Images) -> list[dict]:
    """Bytes an image of int8 codes, dimension by dimension, through general compressors; and of coarser ones."""
    rows_of = torch.tensor([bank.row_of[label] for label in latents.labels.tolist()])
    found = []
    for levels in COARSER:
        codes = quantized(latents.mean, rows_of, len(bank.classes), "int8", levels=levels // 2)
        values = codes.values.numpy().T.copy()  # [L, N]
        held = values.tobytes()
        shares = [np.bincount(row.astype(int) + 128) / len(row) for row in values]
        bits = -sum(float((p[p > 0] * np.log2(p[p > 0])).sum()) for p in shares)
        compressed = {
            "zlib -9": len(zlib.compress(held, 9)),
            "zstd -19": len(pyarrow.Codec("zstd", compression_level=19).compress(held)),
            "xz -9": len(lzma.compress(held, preset=9)),
        }
        sizes = {name: round(size / len(images), 2) for name, size in compressed.items()}
        entropy = {"entropy of each dimension": round(bits / 8, 2)}
        made = quality(images, decode(bank, restored(codes, rows_of), latents.labels))
        found.append({"levels": levels, "as bytes": bank.latent_dim, **sizes, **entropy, **made})
    return found


def measure(name: str, path: Path | None) -> tuple[dict, dict[str, Images]]:
    """The figures of a dataset, and a few images to show."""
    bank = VAEBank.load(path) if path else fit(opened(name, "train"))
    source = source_for(bank, opened(name, "test"))
    images = arrays(load_images(source, bank.image_shape).images)
    latents = encode_dataset(bank, source, mean_only=True)
    with tempfile.TemporaryDirectory() as folder:
        bank.save(Path(folder) / "bank")
        bank_bytes = (Path(folder) / "bank").stat().st_size
    forms = [form for form in FORMS if form != "padded mosaic" or any(side % BLOCK for side in images.shape[1:3])]
    codecs = {(kind, form): Codec(images, kind, form) for kind in LOSSY for form in forms}
    mosaics = {key: codec for key, codec in codecs.items() if key[1] != "files"}
    rows = ours(bank, latents, images)
    result = {
        "images": len(images),
        "fitted on": bank.data["images"],
        "shape": list(bank.image_shape),
        "latent_dim": bank.latent_dim,
        "bank bytes": bank_bytes,
        "lossless": lossless(images),
        "ours": rows,
        "without the bank": {row["codes"]: theirs(images, row["parquet"], codecs) for row in rows},
        "with the bank": {
            row["codes"]: theirs(images, row["parquet"] + bank_bytes / len(images), codecs) for row in rows
        },
        "as good": as_good(images, rows[-1], mosaics),
        "fitted images": fitted_images(name, bank),
        "entropy": entropy_coded(bank, latents, images),
    }
    return result, shown(name, bank, latents, images, rows[-1]["parquet"], mosaics)


def shown(
    name: str, bank: VAEBank, latents: Latents, images: Images, size: float, mosaics: dict[tuple[str, str], Codec]
) -> dict[str, Images]:
    """Rows of the picture: the first image of each of the first classes, and what is left of it at `size` bytes."""
    first = [latents.labels.tolist().index(info.label) for info in bank.class_infos[: SHOWN[name]]]
    read = kept(latents, "int8", "parquet")[1]
    rows = {"original": images, f"latents\n{size:.0f} bytes": decode(bank, read.mean, read.labels)}
    for kind in LOSSY:
        codec = mosaics[kind, best(theirs(images, size, mosaics), kind, size)["form"]]
        chosen = codec.nearest(size)
        rows[f"{kind}\n{codec.size(chosen):.0f} bytes"] = codec.decoded(chosen)
    return {title: row[first] for title, row in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--sign-digits", type=Path)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        results = json.loads(RESULT.read_text())
    else:
        measured = {
            name: measure(name, path) for name, path in (("mnist", options.mnist), ("sign-digits", options.sign_digits))
        }
        results = {name: result for name, (result, _) in measured.items()}
        RESULT.write_text(json.dumps(results, indent=1) + "\n")
        (ROOT / "docs" / "compression.png").write_bytes(picture([rows for _, rows in measured.values()]))
    (ROOT / "docs" / "compression.md").write_text(page(results))


if __name__ == "__main__":
    main()
