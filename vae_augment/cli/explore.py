"""vae-augment explore."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vae_augment.cli.bank_data import bank_data_options, open_bank_data
from vae_augment.cli.messages import counted
from vae_augment.cli.paths import check_folder
from vae_augment.cli.results import show

DIRECTIONS = {"both": ("axes", "principal"), "axes": ("axes",), "principal": ("principal",)}


def _number(context: click.Context, option: click.Parameter, given: str) -> int | None:
    """Parse a whole number of at least 1, or "all", which is None."""
    return None if given == "all" else click.IntRange(min=1)(given, option, context)


@click.command()
@click.argument("bank", type=click.Path(path_type=Path))
@bank_data_options(required=False)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="An empty or new folder.")
@click.option(
    "--only",
    metavar="PARTS",
    help="Some of traversals, map, manifold, plane, nearest, dimensions. [default: all that can be made]",
)
@click.option(
    "--classes",
    callback=_number,
    metavar="N|all",
    default="20",
    show_default=True,
    help="Number of classes in pictures, from the first.",
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
    """Draw and tabulate what a bank's latent spaces hold.

    Traversals, maps, planes, nearest training images and a table of dimensions. --data names the data that the bank
    was fitted on; nearest training images and KL divergences need it.
    """
    check_folder("--out", out)
    from vae_augment.bank import VAEBank
    from vae_augment.data.loading import load_images
    from vae_augment.exploring.exploration import explore as run
    from vae_augment.exploring.exploration import planned
    from vae_augment.exploring.folder import check
    from vae_augment.files.folders import filling
    from vae_augment.progress import progress_bar

    loaded = VAEBank.load(bank)
    parts = None if only is None else [part.strip() for part in only.split(",")]
    chosen: dict[str, Any] = {"only": parts, "classes": classes, "directions": DIRECTIONS[directions]}
    plan = planned(loaded, images=data is not None, **chosen)
    with filling(out):  # a folder that is refused is refused before data is read
        check(out, plan.files(loaded), overwrite=overwrite)
    images = None
    if data is not None:
        images = load_images(open_bank_data(loaded, data=data, seed=seed, **options)[1], loaded.image_shape)
    with progress_bar("file", len(plan.files(loaded))) as bar:
        chosen |= {"data": images, "seed": seed, "overwrite": overwrite}
        done = run(loaded, out, on_file=lambda name: bar.update(), **chosen)
    written = f"{counted(len(done.files), 'file')} written to {done.folder}."
    if data is None and parts is None:
        written += "\nWith --data also: nearest training images and KL divergences."
    show(written, {"folder": done.folder, "files": list(done.files)})
