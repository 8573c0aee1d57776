"""vae-augment generate."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("bank", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="An empty or new folder.")
@click.option("--per-class", type=click.IntRange(min=1), help="Images of each class. [default: 500]")
@click.option("--count", type=click.IntRange(min=1), help="Instead, images in all, split evenly.")
@click.option("--method", help="exemplar, gaussian or prior. [default: the bank's policy]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--workers", type=click.IntRange(min=0), help="Processes. [default: one a core, for many images]")
@click.option("--resume", is_flag=True, help="Go on where it was ended; whole files are kept.")
@click.option("--overwrite", is_flag=True, help="Remove an earlier export from OUT first, and nothing else.")
@click.option("--device", default="cpu", show_default=True, help="PNGs take longer to encode than to draw.")
def generate(
    bank: Path,
    out: Path,
    per_class: int | None,
    count: int | None,
    method: str | None,
    seed: int,
    workers: int | None,
    resume: bool,
    overwrite: bool,
    device: str,
) -> None:
    """Write generated images to OUT/<class>/<number>.png, with a manifest."""
    from tqdm import tqdm

    from vae_augment.bank import VAEBank
    from vae_augment.exporting import counts_per_class, export
    from vae_augment.model.devices import choose_device

    loaded = VAEBank.load(bank, device=choose_device(device))
    total = sum(counts_per_class(len(loaded.classes), per_class=per_class, count=count))
    with tqdm(total=total, unit="image", disable=None) as bar:
        done = export(
            loaded,
            out,
            per_class=per_class,
            count=count,
            method=method,
            seed=seed,
            workers=workers,
            resume=resume,
            overwrite=overwrite,
            on_images=bar.update,
        )
    click.echo(f"{done.total} images of {len(done.counts)} classes written to {done.folder}.")
