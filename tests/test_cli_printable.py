from dataclasses import replace

import pytest

from tests.commands import run
from vae_augment import VAEBank
from vae_augment.cli.printable import printable


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
