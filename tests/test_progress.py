import io
import logging
import re
import sys
import time

import pytest
from tqdm import tqdm

from vae_augment import progress
from vae_augment.progress import progress_bar


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.05)


def work(**options):
    with progress_bar("image", **options) as bar:
        bar.set_description("looking")
        bar.reset(4_000)
        bar.update(1_000)
        time.sleep(0.5)


@pytest.mark.parametrize("disabled", [False, True])  # what a variable says of bars is not of lines
def test_where_there_is_no_terminal_lines_say_how_far_it_is(capsys, often, monkeypatch, disabled):
    if disabled:
        monkeypatch.setenv("TQDM_DISABLE", "1")
    work()
    time.sleep(0.2)
    told = "vae-augment: looking, 1,000 of 4,000 images after [0-9]+ s"
    lines = [line for line in capsys.readouterr().err.splitlines() if re.match(told, line)]
    assert re.fullmatch(f"{told}, about [0-9]+ s for the others", lines[0])
    assert all(re.fullmatch(told, line) for line in lines[1:])  # nothing was done since
    assert lines[1:]


def test_without_a_total_or_a_description_it_says_the_count():
    bar = tqdm(unit="step", file=io.StringIO(), disable=False)
    line = progress._Line(bar)
    bar.update(3)
    assert re.fullmatch("3 steps after [0-9]+ s", line())


def test_how_long_the_others_take_is_told_by_the_pace_since_the_last_line(monkeypatch):
    bar, now = tqdm(total=100, unit="step", file=io.StringIO(), disable=False), [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    line = progress._Line(bar)

    def after(seconds, steps):
        now[0] += seconds
        bar.update(steps)
        return line().partition(" s, ")[2]

    progress.passed(bar, 20)  # by an earlier run
    assert after(10, 0) == ""
    assert after(15, 10) == "about 105 s for the others"
    assert after(15, 30) == "about 20 s for the others"
    assert after(15, 40) == ""


def test_short_work_and_work_that_is_not_shown_print_nothing(capsys, caplog, monkeypatch):
    with progress_bar("image", 5) as bar:
        bar.update(5)
    monkeypatch.setattr(progress, "EVERY", 0.01)
    work(shown=False)
    caplog.set_level(logging.ERROR, logger="vae_augment")  # as by -q
    work()
    assert capsys.readouterr().err == ""


def test_no_line_comes_after_the_end_even_of_work_that_fails(capsys, often):
    with pytest.raises(ValueError, match="broken") as kept, progress_bar("image"):
        raise ValueError("broken")
    capsys.readouterr()
    time.sleep(0.2)
    assert capsys.readouterr().err == ""
    assert kept.traceback  # which holds on to all frames


def test_a_stream_that_does_not_say_what_it_is_gets_lines(monkeypatch, often):
    class Log:
        text = ""

        def write(self, text):
            self.text += text

        def flush(self):
            pass

    log = Log()
    monkeypatch.setattr(sys, "stderr", log)
    work()
    assert "1,000 of 4,000 images" in log.text


def test_on_a_terminal_there_is_a_bar(monkeypatch, often):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    work(total=9)
    shown = sys.stderr.getvalue()
    assert "looking: " in shown
    assert "1000/4000" in shown
    assert "vae-augment" not in shown


def test_without_standard_error_nothing_happens(monkeypatch, often):
    monkeypatch.setattr(sys, "stderr", None)
    work()
