"""Running the command in tests."""

from __future__ import annotations

import shlex

from click.testing import CliRunner

from vae_augment.cli import main


def run(command):
    """A command line's exit code, standard output and standard error."""
    result = CliRunner().invoke(main, shlex.split(command))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr
