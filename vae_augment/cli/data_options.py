"""Options that name the data, for all commands that read some."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from vae_augment.config import MAX_PIXELS, MOST_PIXELS

Command = TypeVar("Command", bound=Callable[..., object])
DATA = "A torchvision name such as mnist; class folders; or a .csv, .npz, .npy or .parquet file."
UNLABELLED = "Further images, labels ignored, that the VAEs learn from: as --data, or a folder of images."


def data_options(command: Command, *, required: bool = True) -> Command:
    """Add --data, --root, --download-timeout, --on-error and --max-pixels."""
    options = (
        click.option("--data", type=click.Path(), required=required, metavar="NAME|PATH", help=DATA),
        click.option("--root", type=click.Path(path_type=Path), help="Folder that holds the named dataset."),
        click.option(
            "--download-timeout",
            type=click.FloatRange(min=1),
            default=300.0,
            show_default=True,
            metavar="SECONDS",
            help="Limit of the whole download.",
        ),
        click.option(
            "--on-error",
            type=click.Choice(("fail", "skip")),
            default="fail",
            show_default=True,
            help="Stop at an image that cannot be used, or leave it out and say so.",
        ),
        click.option(
            "--max-pixels",
            type=click.IntRange(1, MOST_PIXELS),
            default=MAX_PIXELS,
            show_default=True,
            metavar="N",
            help="Pixels of the largest image file that is decoded.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command
