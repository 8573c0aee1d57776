"""vae-augment report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vae_augment.cli.bank_data import bank_data_options, open_bank_data
from vae_augment.cli.paths import check_apart, check_file, check_not_data
from vae_augment.cli.results import show
from vae_augment.exceptions import check_extra

if TYPE_CHECKING:
    from vae_augment.evaluation.result import Evaluation

PER_CLASS = 200  # images read: more than the page shows


@click.command()
@click.argument("bank", type=click.Path(path_type=Path))
@bank_data_options(required=False, per_class=PER_CLASS)
@click.option(
    "--evaluation", type=click.Path(path_type=Path), help="File of `evaluate --json`, whose verdict is shown."
)
@click.option("--out", type=click.Path(path_type=Path), help="File of the page. [default: BANK with .html]")
@click.option("--seed", type=int, default=0, show_default=True)
def report(bank: Path, data: str | None, evaluation: Path | None, out: Path | None, seed: int, **options: Any) -> None:
    """Write one HTML page that shows what a bank has learned.

    It opens from disk and loads nothing.
    """
    out = bank.parent / f"{bank.stem}.html" if out is None else out  # with_suffix refuses a path without a name
    check_file("--out", out)
    check_extra("report", "a report", "matplotlib", "sklearn")
    check_apart({"--out": out}, {"BANK": bank, "--data": data, "--evaluation": evaluation})
    from vae_augment.bank import VAEBank
    from vae_augment.data.loading import load_images
    from vae_augment.files.writing import atomic_write
    from vae_augment.report.page import report_html

    loaded = VAEBank.load(bank)
    found = None if evaluation is None else _evaluation(evaluation)
    images = None
    if data is not None:
        opened, source = open_bank_data(loaded, data=data, seed=seed, **options)
        check_not_data([out], data, opened.dataset)
        images = load_images(source, loaded.image_shape)
    page = report_html(loaded, data=images, evaluation=found, seed=seed).encode()
    atomic_write(out, page)
    show(f"{out} written, {len(page) / 1e6:.1f} MB.", {"path": out, "bytes": len(page)})


def _evaluation(path: Path) -> Evaluation:
    """Read an evaluation. Raises FileNotFoundError or ValueError if there is none at the path."""
    from vae_augment.evaluation.result import Evaluation
    from vae_augment.files.untrusted_json import MAX_BYTES

    if not path.is_file():
        raise FileNotFoundError(f"--evaluation: no file at {path}. `vae-augment evaluate --json` writes one.")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"--evaluation: {path} must have at most {MAX_BYTES:,} bytes.")
    try:
        return Evaluation.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:  # UnicodeDecodeError too
        raise ValueError(f"--evaluation: {path} is not what `evaluate --json` writes: {error}") from None
