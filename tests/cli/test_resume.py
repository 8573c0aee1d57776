from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands import contents, run
from vae_augment import VAEBank
from vae_augment.cli.stopping import how_to_resume

# ---- fit ----


def test_resuming_nothing_starts_afresh_and_resuming_what_is_done_changes_nothing(here):
    assert run("fit --data bars --preset fast --resume")[0] == 0
    first = {path: os.stat(path).st_ino for path in ("bars.safetensors", "bars.png")}
    code, out, err = run("fit --data bars --preset fast --resume")
    assert (code, err) == (0, "")
    assert "across" in out
    assert {path: os.stat(path).st_ino for path in first} == first
    assert not Path("bars.safetensors.unfinished").exists()


def test_resuming_with_other_options_fits_anew(here):
    run("fit --data bars --preset fast")
    before = Path("bars.safetensors").read_bytes()
    assert run("fit --data bars --preset fast --seed 1 --resume")[0] == 0
    assert Path("bars.safetensors").read_bytes() != before
    run("fit --data bars --preset fast --seed 1 --out other.safetensors")
    assert Path("bars.safetensors").read_bytes() == Path("other.safetensors").read_bytes()


def test_a_damaged_bank_is_fitted_again(here):
    run("fit --data bars --preset fast")
    whole = Path("bars.safetensors").read_bytes()
    Path("bars.safetensors").write_bytes(whole[:-40])
    assert run("fit --data bars --preset fast --resume")[0] == 0
    assert Path("bars.safetensors").read_bytes() == whole


# ---- generate ----


@pytest.mark.parametrize("lost", [["down/000001.png"], ["down/000000.png", "classes.json"]])
def test_an_export_is_completed_and_whole_files_stay(with_bank, lost):
    run("generate bars.safetensors --out made --per-class 4")
    whole = contents("made")
    for name in lost:
        Path("made", name).unlink()
    kept = {path: path.stat().st_ino for path in Path("made").rglob("*.png")}
    code, _, err = run("generate bars.safetensors --out made --per-class 4 --resume")
    assert (code, err) == (0, "")
    assert contents("made") == whole
    assert all(path.stat().st_ino == inode for path, inode in kept.items())


def test_an_image_without_its_end_is_made_again(with_bank):
    run("generate bars.safetensors --out made --per-class 4")
    whole = contents("made")
    for damaged in (b"", whole["down/000002.png"][:-3]):
        Path("made/down/000002.png").write_bytes(damaged)
        assert run("generate bars.safetensors --out made --per-class 4 --resume")[0] == 0
        assert contents("made") == whole


def test_an_export_grows_and_does_not_shrink(with_bank):
    run("generate bars.safetensors --out made --per-class 2")
    assert run("generate bars.safetensors --out made --per-class 5 --resume")[0] == 0
    run("generate bars.safetensors --out afresh --per-class 5")
    assert contents("made") == contents("afresh")
    code, _, err = run("generate bars.safetensors --out made --per-class 2 --resume")
    assert code == 2
    assert "made is of 15 images, more than the 6 wanted: to resume, ask for as many or more" in err
    assert contents("made") == contents("afresh")


# ---- signals ----


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fit", "--data", "my data"], "vae-augment fit --data 'my data' --resume\n"),
        (["-v", "generate", "b", "--out", "c", "--overwrite"], "vae-augment -v generate b --out c --resume\n"),
        (["-v", "-v", "fit", "--data", "d"], "vae-augment -v -v fit --data d --resume\n"),
        (["generate", "--out", "m", "--", "-b.st"], "vae-augment generate --out m --resume -- -b.st\n"),
        (["generate", "--out", "m", "--overwrite", "--", "--resume"], " generate --out m --resume -- --resume\n"),
        (["--", "fit", "--data", "d"], "vae-augment -- fit --data d --resume\n"),
    ],
)
def test_how_to_resume_names_the_command(arguments, said):
    assert said in how_to_resume(arguments)


@pytest.mark.parametrize(
    "command",
    ["fit --data d --check", "fit --check --data d --resume", "-v fit --data d --check", "encode --data fit",
     "info fit", "doctor", "doctor --json", "-v", ""],
)  # fmt: skip
def test_what_keeps_nothing_is_not_gone_on_with(command):
    assert how_to_resume(command.split()) == ""


SCRIPT = """if True:
    import sys
    from vae_augment import config
    from vae_augment.cli import main
    config.PRESETS["fast"] = {"steps": 100_000, "latent_dim": 4, "width": 8, "image_size": 32}
    main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_a_fit_at_once_and_says_how_to_go_on(here, number):
    command = ["fit", "--data", "bars", "--preset", "fast"]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list(here.glob("bars.safetensors.unfinished/*.part")) and time.monotonic() < deadline:
        time.sleep(0.05)
    signalled = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - signalled < 2  # seconds, as promised
    assert process.returncode == 1
    assert f"vae-augment: error: stopped by {number.name}. What is finished is kept. Go on with:" in err
    assert "\n    vae-augment fit --data bars --preset fast --resume\n" in err
    assert "Traceback" not in err
    assert list(here.glob("bars.safetensors.unfinished/*.part"))


def test_a_bank_from_the_command_has_its_fits_key_and_parts_of_it_have_none(here):
    run("fit --data bars --preset fast")
    bank = VAEBank.load("bars.safetensors")
    assert len(bank.data["key"]) == 16
    assert "key" not in bank.subset(["down"]).data
    assert "key" not in VAEBank.load("bars.safetensors", classes=["down"]).data
    assert "key" not in VAEBank.merge(bank.subset([0]), bank.subset([1, 2])).data
