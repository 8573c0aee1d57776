"""The vae-augment command. Nothing heavy is imported until a command needs it, so that --help is fast."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click

from vae_augment import __version__
from vae_augment.cli.augment import augment
from vae_augment.cli.changing import merge, subset
from vae_augment.cli.decode import decode
from vae_augment.cli.doctor import doctor
from vae_augment.cli.encode import encode
from vae_augment.cli.evaluate import evaluate
from vae_augment.cli.exit_codes import INPUT_WRONG, WORK_FAILED
from vae_augment.cli.explore import explore
from vae_augment.cli.fit import fit
from vae_augment.cli.generate import generate
from vae_augment.cli.info import info
from vae_augment.cli.messages import add_options, in_lines, shows_more
from vae_augment.cli.morph import morph
from vae_augment.cli.reconstruct import reconstruct
from vae_augment.cli.report import report
from vae_augment.cli.results import add_json
from vae_augment.cli.stopping import how_to_resume, stopped_by_signals
from vae_augment.exceptions import MissingExtraError
from vae_augment.printable import one_line

USERS = (ValueError, TypeError, FileNotFoundError, FileExistsError, MissingExtraError)  # errors a user can put right


class _OneLineErrors(click.Group):
    """A command whose errors are one line: exit code 2 for input that the user can fix, 1 for work that failed."""

    @in_lines()
    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        run: Callable[..., Any] = super().main
        if not standalone_mode:
            return run(*args, standalone_mode=False, **extra)
        _prepare_streams()
        _sleep_rather_than_spin()
        given = args[0] if args else extra.get("args")
        resume = how_to_resume(list(sys.argv[1:] if given is None else given))
        try:
            with stopped_by_signals(resume):
                code = run(*args, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(INPUT_WRONG)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "vae-augment"
            _fail(f"{error.format_message().rstrip('.')}. Try '{command} --help'.", INPUT_WRONG)
        except click.Abort:
            _fail("stopped by the user.", WORK_FAILED, resume)
        except Exception as error:  # the command line's edge: everything ends in a message and a code
            if shows_more():
                raise
            no_path = isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR)
            wrong = no_path or isinstance(error, USERS)
            _fail(str(error) or type(error).__name__, INPUT_WRONG if wrong else WORK_FAILED)
        else:
            sys.exit(code if isinstance(code, int) else 0)


def _prepare_streams() -> None:
    """Send what is written to closed streams nowhere, and escape characters that a stream cannot encode."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _sleep_rather_than_spin() -> None:
    """Let threads that wait for others sleep: spinning takes processors from other work (read as torch is loaded)."""
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def _fail(message: str, code: int, resume: str = "") -> NoReturn:
    click.echo(f"vae-augment: error: {one_line(message)}{resume}", err=True)
    sys.exit(code)


@click.group(
    "vae-augment",
    cls=_OneLineErrors,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="vae-augment")
def main() -> None:
    """Augment small image datasets with one VAE per class."""


COMMANDS = (
    *(fit, augment, generate, evaluate, reconstruct, encode, decode, morph, explore, report, info, merge, subset),
    doctor,
)
for command in COMMANDS:
    main.add_command(command)
    add_json(command)
for command in (main, *main.commands.values()):
    add_options(command)
