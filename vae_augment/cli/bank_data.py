"""The data that a command reads for a bank."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vae_augment.cli.check import without_problems
from vae_augment.cli.data_options import data_options

if TYPE_CHECKING:
    from vae_augment.bank import VAEBank
    from vae_augment.data import OpenedData
    from vae_augment.data.source import Source

Command = TypeVar("Command", bound=Callable[..., object])


def bank_data_options(*, required: bool = True, per_class: int | None = None) -> Callable[[Command], Command]:
    """Add `data_options`, --part, --per-class, which is `per_class` if it is not given, and --resize."""

    def decorate(command: Command) -> Command:
        options = (
            click.option("--part", type=click.Choice(("train", "test")), default="train", show_default=True),
            click.option(
                "--per-class",
                type=click.IntRange(min=1),
                default=per_class,
                show_default=True,
                help="At most this many images of each class.",
            ),
            click.option("--resize", is_flag=True, help="Take images of another size than the bank's data."),
        )
        for option in reversed(options):
            command = option(command)
        return data_options(command, required=required)

    return decorate


def open_bank_data(
    bank: VAEBank,
    *,
    data: str,
    part: str,
    root: Path | None,
    download_timeout: float,
    on_error: str,
    max_pixels: int,
    per_class: int | None,
    resize: bool,
    seed: int = 0,
) -> tuple[OpenedData, Source]:
    """Open the data that `bank_data_options` name: as it is, and as raw images with the bank's labels.

    Raises as `open_data` and `source_for` do.
    """
    from vae_augment.bank.matching import source_for
    from vae_augment.data import open_data, subsample

    opened = open_data(data, part=part, root=root, timeout=download_timeout, on_error=on_error, max_pixels=max_pixels)
    if on_error == "skip":
        opened = without_problems(opened, bank.config)[0]
    dataset: Any = opened.dataset if per_class is None else subsample(opened.dataset, per_class, seed)
    return opened, source_for(bank, dataset, resize=resize)
