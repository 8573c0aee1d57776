"""vae-augment decode."""

from __future__ import annotations

from pathlib import Path

import click

from vae_augment.cli.messages import counted
from vae_augment.cli.paths import check_folder
from vae_augment.cli.results import show


@click.command()
@click.argument("bank", type=click.Path(path_type=Path))
@click.argument("latents", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="An empty or new folder.")
@click.option(
    "--other-bank", is_flag=True, help="Decode latents of another bank, for example of a subset of its classes."
)
@click.option("--overwrite", is_flag=True, help="Remove an earlier export from OUT first, and nothing else.")
def decode(bank: Path, latents: Path, out: Path, other_bank: bool, overwrite: bool) -> None:
    """Write the images of a latent file to OUT/<class>/<name>.png."""
    check_folder("--out", out)
    from vae_augment.bank import VAEBank
    from vae_augment.exporting.codec import decode_to_folder
    from vae_augment.exporting.latents import Latents
    from vae_augment.progress import progress_bar

    loaded, read = VAEBank.load(bank), Latents.load(latents)
    with progress_bar("image", len(read)) as bar:
        done = decode_to_folder(loaded, read, out, other_bank=other_bank, overwrite=overwrite, on_images=bar.update)
    images, classes = counted(done.total, "image"), counted(sum(map(bool, done.counts.values())), "class")
    written = f"{images} of {classes} written to {done.folder}."
    show(written, {"folder": done.folder, "images": done.total, "classes": done.counts})
