"""vae-augment encode."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from vae_augment.cli.bank_data import bank_data_options, open_bank_data
from vae_augment.cli.messages import counted
from vae_augment.cli.paths import check_apart, check_file
from vae_augment.cli.results import show

DTYPES = ("float32", "float16", "int8")


@click.command()
@click.argument("bank", type=click.Path(path_type=Path))
@bank_data_options()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A .safetensors or .parquet file.")
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", show_default=True, help="Type of the codes.")
@click.option("--mean-only", is_flag=True, help="Leave out the log-variances, which decode does not need.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is there.")
def encode(bank: Path, out: Path, dtype: str, mean_only: bool, overwrite: bool, **data: Any) -> None:
    """Write the latents of all images to one file.

    The file holds posterior means and log-variances, labels, names of items and classes, and the bank's SHA-256.
    """
    check_file("--out", out)
    check_apart({"--out": out}, {"BANK": bank, "--data": data["data"]})
    if out.exists() and not overwrite:
        raise FileExistsError(f"--out: {out} is there already: name another file, or replace it with --overwrite.")
    if out.exists() and out.resolve().is_relative_to(Path(data["data"]).resolve()):
        raise ValueError(f"--out: {out} may be part of the data, and would be replaced. Name another file.")
    from vae_augment.bank import VAEBank
    from vae_augment.exporting.codec import encode_dataset
    from vae_augment.exporting.latents import check_ending
    from vae_augment.files.writing import sweep
    from vae_augment.progress import progress_bar

    check_ending(out, "--out")
    loaded = VAEBank.load(bank)
    source = open_bank_data(loaded, **data)[1]
    sweep(out.parent, [out.name])
    with progress_bar("image", len(source)) as bar:
        latents = encode_dataset(loaded, source, mean_only=mean_only, on_images=bar.update)
    latents.save(out, dtype=dtype)
    count, size = len(latents), out.stat().st_size
    again = ["vae-augment", "decode", str(bank), str(out), "--out", f"{out.with_suffix('')}-decoded"]
    written = f"{counted(count, 'image')} encoded to {out}: {size:,} bytes, {size / count:.1f} per image."
    show(f"{written} Next:\n\n    {shlex.join(again)}\n", {"path": out, "images": count, "bytes": size})
