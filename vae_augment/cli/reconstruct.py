"""vae-augment reconstruct."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vae_augment.cli.bank_data import bank_data_options, open_bank_data
from vae_augment.cli.messages import counted
from vae_augment.cli.paths import check_folder
from vae_augment.cli.results import show
from vae_augment.printable import shortened

if TYPE_CHECKING:
    from vae_augment.exporting.codec import Reconstruction


@click.command()
@click.argument("bank", type=click.Path(path_type=Path))
@bank_data_options()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="An empty or new folder.")
@click.option("--overwrite", is_flag=True, help="Remove an earlier export from OUT first, and nothing else.")
def reconstruct(bank: Path, out: Path, overwrite: bool, **data: Any) -> None:
    """Write reconstructed images, and print their errors.

    Each image is encoded to its posterior mean and decoded, to OUT/<class>/<name>.png. RMSE is of pixels in 0..1 at
    the bank's size, and PSNR is of that RMSE.
    """
    check_folder("--out", out)
    from vae_augment.bank import VAEBank
    from vae_augment.exporting.codec import reconstruct_to_folder
    from vae_augment.progress import progress_bar

    loaded = VAEBank.load(bank)
    source = open_bank_data(loaded, **data)[1]
    with progress_bar("image", len(source)) as bar:
        done = reconstruct_to_folder(loaded, source, out, overwrite=overwrite, on_images=bar.update)
    images, classes = counted(done.whole.images, "image"), counted(len(done.classes), "class")
    figures = {"whole": asdict(done.whole), "classes": [asdict(each) for each in done.classes]}
    show(f"{_table(done)}\n\n{images} of {classes} written to {done.folder}.", {"folder": done.folder, **figures})


def _table(done: Reconstruction) -> str:
    """A row per class, and one for all images."""
    from tabulate import tabulate

    rows = [
        (shortened(each.name), each.images, f"{each.rmse:.4f}", f"{each.psnr:.2f}")
        for each in (*done.classes, done.whole)
    ]
    headers = ("class", "images", "RMSE", "PSNR (dB)")
    return tabulate(rows, headers, disable_numparse=True, colalign=("left", *["right"] * 3))
