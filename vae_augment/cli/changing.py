"""vae-augment merge, and vae-augment subset: banks made of others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vae_augment.cli.messages import counted
from vae_augment.cli.paths import check_apart, check_file
from vae_augment.cli.results import show

if TYPE_CHECKING:
    from vae_augment.bank import VAEBank


@click.command()
@click.argument("bank_a", type=click.Path(path_type=Path))
@click.argument("bank_b", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The new bank's file.")
def merge(bank_a: Path, bank_b: Path, out: Path) -> None:
    """Write a bank of the classes of two.

    They must model images of one shape. Options, policy and data are those of the first.
    """
    _check(out, bank_a, bank_b)
    from vae_augment.bank import VAEBank

    _save(VAEBank.merge(VAEBank.load(bank_a), VAEBank.load(bank_b)), out)


@click.command()
@click.argument("bank", type=click.Path(path_type=Path))
@click.option("--classes", required=True, metavar="A,B,...", help="Names or labels.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The new bank's file.")
def subset(bank: Path, classes: str, out: Path) -> None:
    """Write a bank of some of another's classes."""
    _check(out, bank)
    from vae_augment.bank import VAEBank

    loaded = VAEBank.load(bank)
    _save(loaded.subset(classes_of(classes, loaded.class_to_idx)), out)


def classes_of(text: str, known: dict[str, int]) -> list[str | int]:
    """Classes in a list with commas: names; or labels, where there is no class of the name."""
    words = [word.strip() for word in text.split(",")]
    return [int(word) if word not in known and word.lstrip("-").isdecimal() else word for word in words]


def _check(out: Path, *banks: Path) -> None:
    check_file("--out", out)
    for bank in banks:
        check_apart({"--out": out}, {"BANK": bank})


def _save(bank: VAEBank, out: Path) -> None:
    bank.save(out)
    show(f"{counted(len(bank.classes), 'class')} written to {out}.", {"path": out, "classes": bank.classes})
