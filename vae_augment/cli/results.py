"""Result of a command: words for people, or by --json one JSON object on standard output for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

ASKED = "vae_augment.json"  # key of a context's meta data


def add_json(command: click.Command) -> None:
    """Give a command --json, unless it has an option of that name."""
    if not any("--json" in option.opts for option in command.params):
        told = click.Option(
            ["--json"], is_flag=True, expose_value=False, callback=_ask, help="Print the result as JSON."
        )
        command.params.append(told)


def wanted_as_json() -> bool:
    """Tell if --json was given to the command that runs."""
    return bool(click.get_current_context().meta.get(ASKED))


def show(text: str, values: Mapping[str, Any]) -> None:
    """Print a command's result: `text`, or by --json `values`, whose paths may be `Path`s."""
    click.echo(json.dumps(values, indent=2, default=_plain) if wanted_as_json() else text)


def _ask(context: click.Context, option: click.Parameter, given: bool) -> None:
    context.meta[ASKED] = given


def _plain(value: object) -> str:
    if isinstance(value, Path):
        return str(value).encode(errors="backslashreplace").decode()  # a file's name may be no Unicode
    raise TypeError(f"{type(value).__name__} has no JSON form.")
