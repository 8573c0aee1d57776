from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import refused, run
from vae_augment import FitConfig, VAEBank
from vae_augment.cli.config_options import HELP, NAMES

# ---- subset and merge ----


def test_a_subset_and_the_rest_merge_to_the_whole(photos, bank):
    assert run("subset bars.safetensors --classes down,2 --out two.safetensors") == (
        0,
        "2 classes written to two.safetensors.\n",
        "",
    )
    assert VAEBank.load("two.safetensors").classes == ("down", "slanted")
    assert run("subset bars.safetensors --classes across --out one.safetensors")[0] == 0
    assert run("merge two.safetensors one.safetensors --out all.safetensors")[0] == 0
    assert VAEBank.load("all.safetensors").classes == bank.classes


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("subset bars.safetensors --classes round --out made.safetensors", "the bank has no class 'round'"),
        ("subset bars.safetensors --classes 7 --out made.safetensors", "the bank has no class 7"),
        ("subset bars.safetensors --classes down --out bars.safetensors", "bars.safetensors"),
        ("subset none.safetensors --classes down --out made.safetensors", "no bank at none.safetensors"),
        ("merge bars.safetensors bars.safetensors --out made.safetensors", "each class needs a name of its own"),
        ("merge bars.safetensors other.safetensors --out bars.safetensors", "bars.safetensors"),
    ],
)
def test_wrong_changes_are_one_line(photos, command, message):
    assert message in refused(command)


# ---- the options of a fit ----


def test_every_field_of_the_config_is_an_option():
    assert set(HELP) == set(NAMES) == set(FitConfig(components=1).to_dict())
    listed = run("fit --help")[1]
    assert all(f"--{name.replace('_', '-')}" in listed for name in NAMES)


SMALL = "--latent-dim 4 --policy none"


def test_options_come_from_the_command_line_and_from_a_file(photos):
    Path("options.toml").write_text(
        'steps = 9\nwidth = 16\nbatch-size = 8\nlearning_rate = 0.01\nexemplars = 3\ninvariances = "affine"\nseed = 4\n'
        'sharing = "none"\nper_class = 5\n'
    )
    assert run(f"fit --data photos --out made.safetensors --config options.toml --width 8 {SMALL}")[0] == 0
    made = VAEBank.load("made.safetensors")
    wanted = {"steps": 9, "width": 8, "batch_size": 8, "learning_rate": 0.01, "exemplars": 3, "invariances": "affine"}
    assert {name: getattr(made.config, name) for name in wanted} == wanted
    assert (made.config.sharing, made.data["seed"], made.data["per_class"]) == ("none", 4, 5)
    command = next(line for line in run("info made.safetensors")[1].splitlines() if line.startswith("command"))
    again = command.removeprefix("command   vae-augment ").replace("PATH/TO/", "")
    assert run(f"{again} --out again.safetensors")[0] == 0
    assert Path("again.safetensors").read_bytes() == Path("made.safetensors").read_bytes()


def test_a_switch_that_a_file_turns_on_is_turned_off_on_the_command_line(photos):
    Path("options.toml").write_text("steps = 5\nshare = true\n")
    for switch, shared in (("", True), ("--no-share", False)):
        assert run(f"fit --data photos --out made.safetensors --config options.toml {switch} {SMALL}")[0] == 0
        assert VAEBank.load("made.safetensors").config.share is shared


def test_a_bank_is_extended_by_some_classes(photos):
    assert run("subset bars.safetensors --classes across,down --out two.safetensors")[0] == 0
    assert run("fit --data photos --start two.safetensors --classes slanted --out made.safetensors")[0] == 0
    made, before = VAEBank.load("made.safetensors"), VAEBank.load("bars.safetensors")
    assert made.classes == before.classes
    assert [info.images for info in made.class_infos] == [10, 10, 6]
    resumed = run("fit --data photos --start two.safetensors --classes slanted --out made.safetensors --resume")
    assert resumed[0] == 0
    assert "class 'round' has no images" in refused(
        "fit --data photos --start two.safetensors --classes round --out m.safetensors"
    )


def test_the_file_may_be_yaml_and_lists_stand_for_names_with_commas(photos):
    Path("options.yaml").write_text("# short\nsteps: 9\nlatent-dim: 4\npolicy: 'none'\nclasses: [down, 2]\nstart:\n")
    Path("options.toml").write_text('steps = 9\nlatent_dim = 4\npolicy = "none"\nclasses = ["down", 2]\n')
    for ending in ("yaml", "toml"):
        assert run(f"fit --data photos --out {ending}.safetensors --config options.{ending}")[0] == 0
    made = VAEBank.load("yaml.safetensors")
    assert (made.classes, made.config.steps) == (("down", "slanted"), 9)
    assert Path("yaml.safetensors").read_bytes() == Path("toml.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz: 3", "options.yml names 'stepz', which is no option"),
        ("steps: [3", "options.yml is no YAML file: while parsing a flow sequence"),
        ("- steps", "options.yml must name options, such as steps: 500."),
        ("3: steps", "options.yml names '3', which is no option"),
        ("!!python/object/apply:os.getcwd []", "options.yml must name options, such as steps: 500."),
        ("steps: yes", "'yes' is not a valid integer range"),
        ("steps: [3]", "steps must be one value, got ['3']"),
        ("steps: {a: 3}", "steps must be one value, got {'a': '3'}"),
        ("classes: ['a,b']", "classes in a list may have no commas, got ['a,b']"),
        ("no_policy: true", "options.yml names 'no_policy', which is no option"),
        ("steps: 0", "0 is not in the range 1<=x<=10000000"),
    ],
)
def test_wrong_files_of_options_in_yaml_are_one_line(photos, text, message):
    Path("options.yml").write_text(text)
    assert message in refused("fit --data photos --out made.safetensors --config options.yml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz = 3", "options.toml names 'stepz', which is no option: batch_size, check, classes, components, data"),
        ("steps = = 3", "options.toml is no TOML file"),
        ("steps = 0", "0 is not in the range 1<=x<=10000000"),
        ('preset = "slow"', "'slow' is not one of 'fast', 'default', 'best'"),
        ("width = 9", "width must be a multiple of 8, got 9."),
        ("steps = 500.7", "'500.7' is not a valid integer range"),
        ("[steps]", "steps must be one value, got {}"),
        ("per_class = 2024-01-01", "'2024-01-01' is not a valid integer range"),
    ],
)
def test_wrong_files_of_options_are_one_line(photos, text, message):
    Path("options.toml").write_text(text)
    assert message in refused("fit --data photos --out made.safetensors --config options.toml")


def test_no_file_of_options(photos):
    assert "there is no file options.toml" in refused("fit --data photos --config options.toml")
