import io
import sys
import time

import pytest

from vae_augment import progress
from vae_augment.progress import progress_bar


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.05)


def work(unit="image", **options):
    with progress_bar(unit, **options) as bar:
        bar.set_description("looking")
        bar.reset(4_000)
        for _ in range(2):
            bar.update(1_000)
            time.sleep(0.12)


def test_where_there_is_no_terminal_lines_say_how_far_it_is(capsys, often):
    work()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    assert lines[0] == "vae-augment: looking, 1,000 of 4,000 images after 0 s"
    assert lines[-1] == "vae-augment: looking, 2,000 of 4,000 images after 0 s"


def test_without_a_total_or_a_description_it_says_the_count(capsys, often):
    with progress_bar("step") as bar:
        bar.update(3)
        time.sleep(0.12)
    assert capsys.readouterr().err.splitlines()[0] == "vae-augment: 3 steps after 0 s"


def test_short_work_and_work_that_is_not_shown_print_nothing(capsys, often):
    work(shown=False)
    with progress_bar("image", 5) as bar:
        bar.update(5)
    time.sleep(0.12)
    assert capsys.readouterr().err == ""


def test_on_a_terminal_there_is_a_bar(monkeypatch, often):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    work(total=9)
    shown = sys.stderr.getvalue()
    assert "looking: " in shown
    assert "2000/4000" in shown
    assert "vae-augment" not in shown


def test_without_standard_error_nothing_happens(monkeypatch, often):
    monkeypatch.setattr(sys, "stderr", None)
    work()
