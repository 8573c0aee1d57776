"""Running the command in tests, and what it has written."""

from __future__ import annotations

import shlex
from pathlib import Path

from click.testing import CliRunner

from vae_augment.cli import main


def run(command):
    """A command line's exit code, standard output and standard error."""
    result = CliRunner().invoke(main, shlex.split(command))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def contents(folder):
    """Of the files below a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def refused(command):
    """The one line of error of a command line that is wrong: exit code 2, nothing else said, nothing changed here."""
    before, files = sorted(Path().rglob("*")), contents(".")
    code, out, err = run(command)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("vae-augment: error: ")
    assert (sorted(Path().rglob("*")), contents(".")) == (before, files)
    return line
