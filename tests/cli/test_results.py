"""Every command's result as one JSON object, for scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.commands import refused, run
from tests.conftest import Shapes
from vae_augment import VAEBank
from vae_augment.cli import main


def told(command):
    """The object that a command prints, and nothing else."""
    code, out, err = run(f"{command} --json")
    assert code == 0, err
    return json.loads(out)


EACH = dict.fromkeys(Shapes.classes, 6)


def test_info_tells_all_that_is_in_a_bank(photos, bank):
    found = told("info bars.safetensors")
    assert (found["sha256"], found["image_shape"], found["latent_dim"]) == (bank.sha256, [1, 12, 12], 4)
    assert [each["name"] for each in found["classes"]] == list(bank.classes)
    assert found["config"] == bank.config.to_dict()
    assert found["policy"] == bank.policy.to_dict()


def test_fit_tells_the_bank_and_where_it_is(photos):
    found = told("fit --data photos --steps 9 --latent-dim 4 --policy none --out made.safetensors")
    assert found.pop("seconds") >= 0
    assert found.pop("contact_sheet") == "made.png"
    assert found == told("info made.safetensors")
    assert found["sha256"] == VAEBank.load("made.safetensors").sha256


def test_a_check_tells_problems_and_is_no_success_where_there_are_any(photos):
    found = told("fit --data photos --check")
    assert found["image_shape"] == [1, 12, 12]
    assert (found["usable"], found["problems"]) == (18, [])
    assert {name: each["images"] for name, each in found["classes"].items()} == EACH
    Path("photos", "down", "broken.png").write_bytes(b"")
    code, out, _ = run("fit --data photos --check --json")
    (problem,) = json.loads(out)["problems"]
    assert (code, problem["name"]) == (2, "down")
    assert "broken.png" in problem["where"]


def test_folders_of_images_are_told_with_their_counts(photos):
    assert told("generate bars.safetensors --out new --per-class 6") == {
        "folder": "new",
        "images": 18,
        "classes": EACH,
    }
    copies = {"folder": "more", "images": 36, "classes": dict.fromkeys(EACH, 12)}
    assert told("augment bars.safetensors --data photos --out more --copies 2") == copies
    found = told("reconstruct bars.safetensors --data photos --out again")
    assert (found["folder"], found["whole"]["images"]) == ("again", 18)
    assert {each["name"]: each["images"] for each in found["classes"]} == EACH
    assert found["whole"]["rmse"] > 0


def test_files_are_told_with_what_is_in_them(photos):
    found = told("encode bars.safetensors --data photos --out codes.safetensors")
    assert found == {"path": "codes.safetensors", "images": 18, "bytes": Path("codes.safetensors").stat().st_size}
    found = told("decode bars.safetensors codes.safetensors --out decoded")
    assert (found["folder"], found["images"]) == ("decoded", 18)
    assert told("morph bars.safetensors across down --out strip.png --frames 3") == {
        "paths": ["strip.png"],
        "frames": 3,
        "classes": ["across", "down"],
        "cross_faded": False,
    }
    found = told("explore bars.safetensors --out seen --only traversals")
    assert sorted(found["files"]) == sorted(path.name for path in Path("seen").rglob("*.png"))
    assert told("report bars.safetensors") == {"path": "bars.html", "bytes": Path("bars.html").stat().st_size}
    assert told("subset bars.safetensors --classes down,across --out two.safetensors")["path"] == "two.safetensors"
    one = told("subset bars.safetensors --classes slanted --out one.safetensors")
    assert one == {"path": "one.safetensors", "classes": ["slanted"]}
    assert len(told("merge two.safetensors one.safetensors --out all.safetensors")["classes"]) == 3


# ---- what shells ask ----


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("ge", ["plain,generate"]),
        ("fit --pre", ["plain,--preset"]),
        ("fit --preset ", ["plain,fast", "plain,default", "plain,best"]),
        ("fit --data ph", ["file,ph"]),
        ("info bars", ["file,bars"]),
    ],
)
def test_shells_complete_commands_options_values_and_paths(monkeypatch, words, offered):
    monkeypatch.setenv("_VAE_AUGMENT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", f"vae-augment {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" "))))
    result = CliRunner().invoke(main, [], prog_name="vae-augment")
    assert (result.exit_code, result.stdout.split()) == (0, offered)


def test_every_command_has_it_and_errors_stay_a_line(photos):
    assert all("--json" in run(f"{name} --help")[1] for name in main.commands)
    assert "no bank at none.safetensors" in refused("info none.safetensors --json")
