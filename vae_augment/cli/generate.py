"""vae-augment generate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vae_augment.cli.augment import shard_of
from vae_augment.cli.messages import counted
from vae_augment.cli.results import show


@click.command()
@click.argument("bank", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="An empty or new folder.")
@click.option("--per-class", type=click.IntRange(min=1), help="Images of each class. [default: 500]")
@click.option("--count", type=click.IntRange(min=1), help="Images in all instead, split evenly.")
@click.option("--method", help="exemplar, gaussian, prior, mixture or geometry. [default: the bank's policy]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--format", type=click.Choice(("png", "webdataset")), default="png", show_default=True, help="Or tar files of PNGs."
)
@click.option("--workers", type=click.IntRange(min=0), help="Processes. [default: one per core for many images]")
@click.option("--shard", callback=shard_of, metavar="i/N", help="Write part i of N alone, i from 0.")
@click.option("--resume", is_flag=True, help="Continue an export that was ended; whole files are kept.")
@click.option("--overwrite", is_flag=True, help="Remove an earlier export from OUT first, and nothing else.")
@click.option("--device", default="cpu", show_default=True, help="PNGs take longer to encode than to draw.")
def generate(
    bank: Path,
    out: Path,
    device: str,
    **options: Any,
) -> None:
    """Write generated images to OUT/<class>/<number>.png.

    OUT/manifest.json says how many there are of each class, and how they were drawn.
    """
    from vae_augment.bank import VAEBank
    from vae_augment.exporting import export
    from vae_augment.model.devices import choose_device
    from vae_augment.progress import progress_bar

    loaded = VAEBank.load(bank, device=choose_device(device))
    with progress_bar("image") as bar:
        done = export(loaded, out, on_start=bar.reset, on_images=bar.update, **options)
    written = f"{counted(done.total, 'image')} of {counted(len(done.counts), 'class')} written to {done.folder}."
    show(written, {"folder": done.folder, "images": done.total, "classes": done.counts})
