"""Options of a fit on the command line, one for each field of `FitConfig`, with its limits; and --config."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from vae_augment.config import CHOICES, RANGES, FitConfig

Command = TypeVar("Command", bound=Callable[..., object])
HELP = {
    "preset": "How long, and how large a model.",
    "latent_dim": "Latent dimensions of each VAE.",
    "image_size": "Longer side in pixels of the bank's images.",
    "sharing": "Whether classes start from a VAE of all.",
    "invariances": "Random moves of the images that VAEs are trained on.",
    "steps": "Optimizer steps behind each class's VAE.",
    "policy": "How to augment: tried on the data, or as for a kind of data; none: only where the wrapper is told to.",
    "width": "Channels of the finest convolution, a multiple of 8.",
    "batch_size": "Images per step of fine-tuning.",
    "learning_rate": "Peak rate of Adam in fine-tuning.",
    "exemplars": "Codes of training images kept per class.",
    "components": "Principal components of the images that VAEs add to.  [default: 64; 0 for drawings, and to share]",
    "share": "Make a bank for others, and measure how well it hides its images.",
}
ABSENT = ("", "~", "null")  # values in YAML
NAMES = tuple(field.name for field in fields(FitConfig))


def config_options(command: Command) -> Command:
    """Add --config and an option for each field of `FitConfig`, which the command gets by its name."""
    for field in reversed(fields(FitConfig)):
        command = _option(field.name, field.default)(command)
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_read,
        metavar="FILE.toml|yaml",
        help="File of these options, such as steps = 500; those of the command line go before.",
    )(command)


def _option(name: str, default: Any) -> Callable[[Command], Command]:
    flag, text = f"--{name.replace('_', '-')}", HELP[name]
    if name in CHOICES:
        choices = [choice for choice in CHOICES[name] if choice != "custom"]  # which is a function
        return click.option(flag, type=click.Choice(choices), default=default, show_default=True, help=text)
    if name in RANGES:
        kind = click.IntRange(*RANGES[name])
        return click.option(flag, type=kind, default=default, show_default=default is not None, help=text)
    if isinstance(default, bool):
        return click.option(f"{flag}/--no-{flag.removeprefix('--')}", default=default, help=text)
    return click.option(flag, type=float, default=default, show_default=True, help=text)


def _values(path: Path) -> dict[str, Any]:
    """Values in a file, by name: YAML where its ending says so, else TOML."""
    in_yaml = path.suffix.lower() in (".yaml", ".yml")
    try:
        text = path.read_text(encoding="utf-8")
        values = _from_yaml(text) if in_yaml else tomllib.loads(text)
    except FileNotFoundError:
        raise click.BadParameter(f"there is no file {path}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise click.BadParameter(f"{path} is no {'YAML' if in_yaml else 'TOML'} file: {error}.") from None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise click.BadParameter(f"{path} must name options, such as steps{': 500' if in_yaml else ' = 500'}.")
    return values


def _from_yaml(text: str) -> Any:
    import yaml  # type: ignore[import-untyped]

    try:
        found = yaml.load(text, yaml.BaseLoader)  # of texts, as the command line has them
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    return {} if found in (None, "") else found


def _text(name: str, value: Any) -> str:
    """A value as the command line has it: a list of classes with commas."""
    if isinstance(value, dict) or (isinstance(value, list) and name != "classes"):
        raise click.BadParameter(f"{name} must be one value, got {value!r}.")
    if not isinstance(value, list):
        return str(value)
    words = [str(word) for word in value]
    if any("," in word for word in words):
        raise click.BadParameter(f"{name} in a list may have no commas, got {value!r}.")
    return ",".join(words)


def _read(context: click.Context, option: click.Parameter, path: Path | None) -> None:
    """Take a file's values as the command's defaults."""
    if path is None:
        return
    values = _values(path)
    names = {name.replace("-", "_"): _text(name, value) for name, value in values.items()}
    names = {name: text for name, text in names.items() if text not in ABSENT}
    known = {param.name for param in context.command.params} - {"help", "config", "version", "no_policy"}
    unknown = sorted(set(names) - known)
    if unknown:
        raise click.BadParameter(f"{path} names {unknown[0]!r}, which is no option: {', '.join(sorted(known))}.")
    context.default_map = {**(context.default_map or {}), **names}
