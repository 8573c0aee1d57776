"""vae-augment evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vae_augment.cli.check import without_problems
from vae_augment.cli.data_options import UNLABELLED, data_options
from vae_augment.cli.paths import check_apart, check_file, check_png
from vae_augment.config import CHOICES, FitConfig
from vae_augment.exceptions import check_extra

CHANGING = ("seeds", "minutes", "resume", "json_file", "plot", "device")  # options that leave rounds as they are


@click.command()
@data_options
@click.option(
    "--test",
    type=click.Path(),
    metavar="NAME|PATH",
    help="Measure on the test part of this data. [default: held-out images of --data]",
)
@click.option("--unlabelled", type=click.Path(), metavar="NAME|PATH", help=UNLABELLED)
@click.option("--bank", type=click.Path(path_type=Path), help="Bank fitted on --data. [default: fit one per seed]")
@click.option("--per-class", type=click.IntRange(min=1), help="Train on at most this many images of each class.")
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="Number of repetitions.")
@click.option(
    "--arms", default="none,classical,ours,ours+classical", show_default=True, help="Training sets to compare."
)
@click.option("--steps", type=click.IntRange(min=1), help="Training steps of each classifier. [default: ten epochs]")
@click.option(
    "--classifier",
    metavar="timm:NAME|probe:timm:NAME",
    help="A pretrained model of timm: tuned, or a linear layer on its features. [default: a small CNN]",
)
@click.option("--preset", type=click.Choice(CHOICES["preset"]), default="default", show_default=True)
@click.option("--sampling-strategy", help="As of VAEAugmentedDataset, for example 'not majority'.")
@click.option(
    "--test-time-augmentation",
    type=click.IntRange(min=0),
    default=0,
    help="Average predictions over as many moved copies of each test image.",
)
@click.option("--logit-adjustment", is_flag=True, help="Predict as if all classes had been seen equally often.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True, max=10**6),
    help="Begin no round but the first that would not be done by then.",
)
@click.option("--resume", is_flag=True, help="Continue the same evaluation after the rounds that it has done.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all figures here.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the differences into this PNG.")
@click.option("--device", default="auto", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def evaluate(
    data: str,
    root: Path | None,
    download_timeout: float,
    on_error: str,
    max_pixels: int,
    test: str | None,
    unlabelled: str | None,
    bank: Path | None,
    arms: str,
    preset: str,
    json_file: Path | None,
    plot: Path | None,
    resume: bool,
    **options: Any,
) -> None:
    """Measure whether augmentation helps on held-out images.

    Classifiers are trained with and without it.
    """
    for option, path in (("--json", json_file), ("--plot", plot)):
        if path is not None:
            check_file(option, path, stream=True)
    check_apart(
        {"--json": json_file, "--plot": plot},
        {"--bank": bank, "--data": data, "--test": test, "--unlabelled": unlabelled},
    )
    if plot is not None:
        check_png("--plot", plot)
        check_extra("report", "--plot", "matplotlib")
    from vae_augment.data import open_data
    from vae_augment.evaluation import evaluate as run
    from vae_augment.files.writing import atomic_write
    from vae_augment.fitting.checkpoint import discard

    done = _folder_of_rounds()
    if not resume:
        discard(done)
    config = FitConfig(preset=preset)

    reading: dict[str, Any] = {"root": root, "timeout": download_timeout, "max_pixels": max_pixels}

    def opened(name: str, part: str, labelled: bool = True) -> Any:
        found = open_data(name, part=part, on_error=on_error, labelled=labelled, **reading)
        return (without_problems(found, config)[0] if on_error == "skip" else found).dataset

    result = run(
        opened(data, "train"),
        test=None if test is None else opened(test, "test"),
        unlabelled=None if unlabelled is None else opened(unlabelled, "train", labelled=False),
        bank=bank,
        arms=[arm.strip() for arm in arms.split(",")],
        config=config,
        checkpoint=done,
        **options,
    )
    click.echo(str(result))
    if json_file is not None:
        atomic_write(json_file, result.to_json().encode())
    if plot is not None:
        from vae_augment.report.differences import differences_png

        atomic_write(plot, differences_png(result))


def _folder_of_rounds() -> Path:
    """The folder in the user's cache for the finished rounds of this command, whatever it writes."""
    from vae_augment.files.writing import cache_folder
    from vae_augment.seeding import derive

    given = click.get_current_context().params.items()
    asked = sorted((name, str(value)) for name, value in given if name not in CHANGING)
    return cache_folder() / "evaluations" / f"{derive(0, str(Path.cwd()), repr(asked)):016x}"
