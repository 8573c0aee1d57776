"""vae-augment explore."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vae_augment.cli.bank_data import bank_data_options, open_bank_data
from vae_augment.cli.paths import check_folder

DIRECTIONS = {"both": ("axes", "principal"), "axes": ("axes",), "principal": ("principal",)}


def _number(context: click.Context, option: click.Parameter, given: str) -> int | None:
    """A whole number of at least 1; None for "all"."""
    return None if given == "all" else click.IntRange(min=1)(given, option, context)


@click.command()
@click.argument("bank", type=click.Path(path_type=Path))
@bank_data_options(required=False)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="An empty or new folder.")
@click.option(
    "--only",
    metavar="PARTS",
    help="Some of traversals,map,manifold,plane,nearest,dimensions. [default: all that can be made]",
)
@click.option(
    "--classes",
    callback=_number,
    metavar="N|all",
    default="20",
    show_default=True,
    help="How many classes pictures show, from the first.",
)
@click.option("--directions", type=click.Choice(tuple(DIRECTIONS)), default="both", show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace an earlier exploration in OUT, and nothing else.")
@click.option("--seed", type=int, default=0, show_default=True)
def explore(
    bank: Path,
    data: str | None,
    out: Path,
    only: str | None,
    classes: int | None,
    directions: str,
    overwrite: bool,
    seed: int,
    **options: Any,
) -> None:
    """Show what a bank's latent spaces hold: traversals, maps, planes, nearest training images, a table.

    --data is what the bank was fitted on. Nearest training images and KL divergences need it.
    """
    check_folder("--out", out)
    from tqdm import tqdm

    from vae_augment.bank import VAEBank
    from vae_augment.data.loading import load_images
    from vae_augment.exploring.exploration import explore as run
    from vae_augment.exploring.exploration import planned
    from vae_augment.exploring.folder import check
    from vae_augment.files.folders import filling

    loaded = VAEBank.load(bank)
    parts = None if only is None else [part.strip() for part in only.split(",")]
    chosen: dict[str, Any] = {"only": parts, "classes": classes, "directions": DIRECTIONS[directions]}
    plan = planned(loaded, images=data is not None, **chosen)
    with filling(out):  # refused before data is read, if it is
        check(out, plan.files(loaded), overwrite=overwrite)
    images = None
    if data is not None:
        opened = open_bank_data(loaded, data=data, seed=seed, **options)
        images = load_images(opened.source, loaded.image_shape)
    with tqdm(total=len(plan.files(loaded)), unit="file", disable=None) as bar:
        done = run(
            loaded,
            out,
            data=images,
            seed=seed,
            overwrite=overwrite,
            on_file=lambda name: bar.update(),
            **chosen,
        )
    click.echo(f"{len(done.files)} files written to {done.folder}.")
    if data is None and parts is None:
        click.echo("With --data also: nearest training images and KL divergences.")
