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
