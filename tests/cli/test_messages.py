"""What a command says on standard error besides errors."""

from __future__ import annotations

import logging
import sys
import warnings

import click
import pytest
from click.testing import CliRunner
from tqdm import tqdm

from tests.commands import run
from vae_augment.cli import main
from vae_augment.cli.messages import add_options, counted
from vae_augment.exceptions import DataWarning

pytestmark = pytest.mark.filterwarnings("default")
LOG = logging.getLogger("vae_augment.somewhere")


@pytest.fixture(autouse=True)
def say(monkeypatch):
    """A command that says all there is to say."""

    @click.command()
    def say() -> None:
        LOG.debug("watching %s", "closely")
        LOG.info("fitting\n  3 classes")
        warnings.warn("images are\n left out", DataWarning, stacklevel=1)
        warnings.warn("Corrupt EXIF data", stacklevel=1)
        warnings.warn("for developers", DeprecationWarning, stacklevel=1)
        click.echo("done")

    add_options(say)
    monkeypatch.setitem(main.commands, "say", say)
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # as Python does


def kinds(err):
    """What is said, by the first words of each line."""
    return [" ".join(line.split()[:3]) for line in err.splitlines()]


WARNED = ["vae-augment: warning: images", "vae-augment: warning: Corrupt"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("say", WARNED),
        ("say -v", ["vae-augment: fitting 3", *WARNED]),
        ("-v say", ["vae-augment: fitting 3", *WARNED]),
        ("say --verbose", ["vae-augment: fitting 3", *WARNED]),
        ("say -vv", ["vae-augment: watching closely", "vae-augment: fitting 3", *WARNED]),
        ("-vv say", ["vae-augment: watching closely", "vae-augment: fitting 3", *WARNED]),
        ("say -q", []),
        ("-q say", []),
        ("--quiet say", []),
        ("-v say -q", []),
        ("-q say -v", ["vae-augment: fitting 3", *WARNED]),
    ],
)
def test_more_is_said_by_v_and_nothing_by_q(command, said):
    code, out, err = run(command)
    assert (code, out) == (0, "done\n")
    assert kinds(err) == said


def test_a_warning_is_one_line_and_where_it_is_from_is_told_of_others():
    lines = run("say")[2].splitlines()
    assert lines[0] == "vae-augment: warning: images are left out"
    assert lines[1].startswith("vae-augment: warning: Corrupt EXIF data (UserWarning, test_messages.py:")
    assert run("say -v")[2].splitlines()[1] == f"{lines[0]} (DataWarning)"


def test_warnings_are_in_colour_on_a_terminal():
    said = CliRunner().invoke(main, ["say"], color=True).stderr
    assert said.startswith("\x1b[33m\x1b[1mvae-augment: warning: images are left out\x1b[0m\n")


def test_a_warning_that_is_made_an_error_ends_the_command():
    warnings.filterwarnings("error", category=DataWarning)
    assert run("say -q") == (1, "", "vae-augment: error: images are left out\n")


def test_all_is_as_it_was_after_a_command():
    log = logging.getLogger("vae_augment")
    before = (log.level, list(log.handlers), warnings.showwarning, list(warnings.filters))
    run("say -vv")
    run("-q frobnicate")
    main(["say", "-v"], standalone_mode=False)
    assert (log.level, list(log.handlers), warnings.showwarning, list(warnings.filters)) == before


@pytest.mark.parametrize("options", ["", "-v", "-q"])
def test_each_command_takes_the_options(options):
    for name in main.commands:
        assert run(f"{name} {options} --help")[0] == 0


def test_the_list_of_commands_shows_whole_descriptions():
    listed = CliRunner().invoke(main, ["--help"], env={"COLUMNS": "80"}).stdout.partition("Commands:\n")[2]
    lines = [line for line in listed.splitlines() if line.split()[0] != "say"]
    assert [line.split()[0] for line in lines] == sorted(main.commands.keys() - {"say"})
    assert all(line.endswith(".") and "..." not in line for line in lines)


def test_a_number_is_written_with_its_noun():
    assert [counted(1, "class"), counted(2, "class"), counted(2000, "image")] == [
        "1 class",
        "2 classes",
        "2,000 images",
    ]


def test_a_line_is_not_written_into_a_progress_bar(monkeypatch):
    @click.command()
    def work() -> None:
        with tqdm(total=3, file=sys.stderr, mininterval=0) as bar:
            bar.update()
            warnings.warn("images are left out", DataWarning, stacklevel=1)
            bar.update()

    monkeypatch.setitem(main.commands, "work", work)
    err = CliRunner().invoke(main, ["work"]).stderr_bytes.decode()
    assert "\rvae-augment: warning: images are left out\n\r" in err


def test_fit_says_what_it_fits(here):
    said = run("fit --data bars --device cpu -v")[2]
    assert said == "vae-augment: fitting 3 of 3 classes, 9 images as 1x12x12, on cpu\n"
