"""Log and warnings of a command on standard error, a line each; more of them by -v, fewer by -q."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click

from vae_augment.exceptions import VAEAugmentWarning
from vae_augment.printable import one_line

LOG = logging.getLogger("vae_augment")


@contextmanager
def in_lines() -> Iterator[None]:
    """Write log and warnings as lines on standard error while a command runs; afterwards all is as it was."""
    level, handler = LOG.level, _Echo()
    LOG.addHandler(handler)
    LOG.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(level)


def shows_more() -> bool:
    """Tell if -v was given."""
    return LOG.isEnabledFor(logging.INFO)


def counted(count: int, noun: str) -> str:
    """A number and its noun: "1 class", "2,000 images"."""
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"


def add_options(command: click.Command) -> None:
    """Give a command -v and -q."""
    command.params += [
        click.Option(
            ["-v", "--verbose"],
            count=True,
            expose_value=False,
            callback=_set_level,
            help="Say what is done, and show tracebacks; -vv for more.",
        ),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            callback=_set_level,
            help="Show no warnings, only errors.",
        ),
    ]


def _set_level(context: click.Context, option: click.Parameter, given: int) -> None:
    """Set the level that -v, -vv or -q asks for; `given` is how often."""
    if given:
        LOG.setLevel(logging.ERROR if option.name == "quiet" else logging.INFO if given == 1 else logging.DEBUG)


class _Echo(logging.Handler):
    """The log as lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        loud = record.levelno >= logging.WARNING
        _say(f"{record.levelname.lower()}: " * loud + self.format(record), loud=loud)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """Replace `warnings.showwarning`; -W and PYTHONWARNINGS still decide which warnings are given."""
    if not LOG.isEnabledFor(logging.WARNING):
        return
    if not issubclass(category, VAEAugmentWarning):
        message = f"{message} ({category.__name__}, {Path(filename).name}:{lineno})"
    elif shows_more():
        message = f"{message} ({category.__name__})"
    _say(f"warning: {message}", loud=True)


def _say(text: str, *, loud: bool) -> None:
    bar = getattr(sys.modules.get("tqdm"), "tqdm", None)  # a line would be written into the middle of one
    with nullcontext() if bar is None else bar.external_write_mode(file=sys.stderr):
        click.secho(f"vae-augment: {one_line(text)}", err=True, fg="yellow" if loud else None, bold=loud or None)
