"""vae-augment augment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from vae_augment.cli.check import without_problems
from vae_augment.cli.data_options import data_options
from vae_augment.cli.messages import counted
from vae_augment.cli.paths import check_folder
from vae_augment.cli.results import show


def shard_of(context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """i/N as two numbers."""
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", value or "0/1")
    if found is None or int(found[1]) >= int(found[2]):
        raise click.BadParameter(f"{value!r} is not i/N with i from 0 to N - 1, such as 0/4.")
    return None if value is None else (int(found[1]), int(found[2]))


def _size_of(context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """One side, or WIDTHxHEIGHT, as height and width."""
    found = re.fullmatch(r"([1-9][0-9]*)(?:x([1-9][0-9]*))?", value or "1")
    if found is None:
        raise click.BadParameter(f"{value!r} is neither a side such as 224 nor WIDTHxHEIGHT such as 320x240.")
    return None if value is None else (int(found[2] or found[1]), int(found[1]))


@click.command()
@click.argument("bank", type=click.Path(path_type=Path))
@data_options
@click.option("--out", required=True, type=click.Path(path_type=Path), help="An empty or new folder.")
@click.option("--copies", type=int, default=4, show_default=True, help="Of each image.")
@click.option("--real", is_flag=True, help="The images themselves too, as links to their files.")
@click.option(
    "--format",
    type=click.Choice(("png", "jpg", "webp", "webdataset")),
    default="png",
    show_default=True,
    help="webdataset: tar files of PNGs.",
)
@click.option("--size", callback=_size_of, metavar="SIDE|WxH", help="Resize to this. [default: the images' own size]")
@click.option("--sampling-strategy", help='As in imbalanced-learn, such as "not majority": even out the classes.')
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--workers", type=click.IntRange(min=0), help="Processes. [default: one per core for many images]")
@click.option("--shard", callback=shard_of, metavar="i/N", help="Write part i of N alone, i from 0.")
@click.option("--resume", is_flag=True, help="Continue an export that was ended; whole files are kept.")
@click.option("--overwrite", is_flag=True, help="Remove an earlier export from OUT first, and nothing else.")
def augment(
    bank: Path,
    data: str,
    root: Path | None,
    download_timeout: float,
    on_error: str,
    max_pixels: int,
    out: Path,
    **options: Any,
) -> None:
    """Write augmented copies of a dataset's images.

    OUT/<class>/<name>-aug<epoch>.png is what VAEAugmentedDataset(data, BANK, seed=SEED) serves for an image in an
    epoch, of as many as there are copies. OUT/manifest.json says of each file what it was made of.
    """
    check_folder("--out", out)
    from vae_augment.bank import VAEBank
    from vae_augment.bank.matching import names_in, source_for
    from vae_augment.data import open_data
    from vae_augment.exporting import augment as write
    from vae_augment.progress import progress_bar

    loaded = VAEBank.load(bank)
    opened = open_data(data, root=root, timeout=download_timeout, on_error=on_error, max_pixels=max_pixels)
    if Path(data).is_dir() and Path(data).resolve() in (out.resolve(), *out.resolve().parents):
        raise ValueError(f"--out: {out} lies in the data, {data}. Name another folder.")
    if on_error == "skip":
        opened = without_problems(opened, loaded.config)[0]
    options["labels"] = names_in(loaded, source_for(loaded, opened.dataset, resize=True))
    with progress_bar("image") as bar:
        done = write(opened.dataset, loaded, out, on_start=bar.reset, on_images=bar.update, **options)
    written = f"{counted(done.total, 'image')} of {counted(len(done.counts), 'class')} written to {done.folder}."
    show(written, {"folder": done.folder, "images": done.total, "classes": done.counts})
