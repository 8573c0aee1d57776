import io
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.commands import run
from tests.conftest import CONFIG
from vae_augment import VAEBank, fit
from vae_augment.printable import one_line, printable, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("猫 é 😀 'a' \\", "猫 é 😀 'a' \\"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x00\x07\x9b", r"\x00\x07\x9b"),
        ("a\u202eb\u2066c\u200f", r"a\u202eb\u2066c\u200f"),
        ("\ud800\U000e0001", r"\ud800\U000e0001"),
        ("\u2028", r"\u2028"),
    ],
)
def test_what_a_terminal_acts_on_is_escaped(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "a…d"),
        ("x" * 30 + "y" * 31, 60, "x" * 29 + "…" + "y" * 30),
        ("0123456789" * 10_000, 9, "0123…6789"),
        ("a\n", 3, r"a\n"),
        ("a\n\nb", 6, r"a\n\nb"),
        ("a\n\nbc", 6, "a…bc"),  # an escape is whole or left out
        ("\x1b" * 20, 12, r"\x1b…\x1b"),
    ],
)
def test_a_long_text_is_left_out_in_the_middle(text, limit, shown):
    assert shortened(text, limit) == shown
    assert len(shown) <= limit


def test_lines_are_joined():
    assert one_line(" no\n  such\tfile\x1b ") == r"no such file\x1b"
    assert one_line("no\n such file", 8) == "no …file"


@given(st.text(), st.integers(1, 30))
def test_a_shortened_text_has_no_more_than_its_limit_and_is_printable(text, limit):
    shown = shortened(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()
    assert (shown == printable(text)) == (len(printable(text)) <= limit)


def test_the_table_of_classes_stays_readable(bank, here):
    first, *others = bank.class_infos
    names = {"x" * 300: "x" * 29 + "…" + "x" * 30, "猫\n" * 2: r"猫\n猫\n"}
    infos = (*(replace(first, name=name, label=label) for label, name in enumerate(names)), *others[1:])
    VAEBank(replace(bank.content, class_infos=infos)).save("odd.safetensors")
    code, out, _ = run("info odd.safetensors")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines() if line.startswith(("x", "猫"))] == list(names.values())


def test_the_progress_bar_shows_names_escaped_and_short(shapes, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    shapes.classes = ("a\x1b[2J", "b\n" * 40, "c")
    fit(shapes, config=CONFIG)
    assert r"a\x1b[2J" in terminal.getvalue()
    assert r"b\nb\nb\nb…b\nb\nb\nb\n" in terminal.getvalue()


def test_a_banks_names_and_notes_are_printed_escaped(bank, here):
    first, *others = bank.class_infos
    infos = (replace(first, name="\x1b[2J\u202e猫", note="\x07\nbell", status="failed"), *others)
    policy = replace(bank.policy, origin="\x1b[31m")
    content = replace(bank.content, class_infos=infos, policy=policy, data={"name": "\x1b]0;x\x07", "source": "a\nb"})
    VAEBank(content).save("odd.safetensors")
    code, out, _ = run("info odd.safetensors")
    assert code == 0
    assert all(c.isprintable() or c == "\n" for c in out)
    for shown in (r"\x1b[2J\u202e猫", r"failed: \x07\nbell", r": \x1b[31m", r"\x1b]0;x\x07 (a\nb)"):
        assert shown in out


def test_an_error_is_printed_escaped(here):
    code, _, err = run("info 'no\x1b[2J.safetensors'")
    assert code == 2
    assert r"no bank at no\x1b[2J.safetensors" in err
    assert "\x1b" not in err
