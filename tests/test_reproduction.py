"""The law of `reproduction`: what it says, run, gives the bank again."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.commands import run
from tests.conftest import CONFIG, Shapes
from vae_augment import FitConfig, VAEBank, fit
from vae_augment.reproduction import reproduction


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--preset fast --seed 3",
        "--per-class 2 --latent-dim 3 --image-size 16 --sharing none --no-policy",
    ],
)
def test_the_command_gives_the_same_bytes(here, options):
    assert run(f"fit --data bars --out first.safetensors {options}")[0] == 0
    command = reproduction(VAEBank.load("first.safetensors"))
    assert command.startswith("vae-augment fit --data PATH/TO/bars ")
    again = command.removeprefix("vae-augment ").replace("PATH/TO/", "")
    assert run(f"{again} --out again.safetensors")[0] == 0
    assert Path("again.safetensors").read_bytes() == Path("first.safetensors").read_bytes()


@pytest.mark.filterwarnings("ignore:1 problems")
def test_what_was_left_out_is_left_out_again(here):
    (here / "bars" / "down" / "broken.png").write_bytes(b"no image")
    code, _, err = run("fit --data bars --on-error skip --out first.safetensors")
    assert code == 0, err
    assert reproduction(VAEBank.load("first.safetensors")).endswith("--seed 0 --on-error skip")


@pytest.mark.parametrize(
    ("config", "seed"),
    [(CONFIG, 0), (replace(CONFIG, sharing="none", exemplars=3, learning_rate=1e-3, policy="none"), 7)],
)
def test_the_call_gives_the_same_bank(config, seed):
    bank = fit(Shapes(), config=config, seed=seed, progress=False)
    text = reproduction(bank)
    again = eval(text, {"fit": fit, "FitConfig": FitConfig, "dataset": Shapes()})
    assert again.sha256 == bank.sha256


def test_names_of_data_are_quoted(bank):
    named = bank.with_data(name="my photos; rm -rf", source="folder")
    assert "--data 'PATH/TO/my photos; rm -rf'" in reproduction(named)
    assert "--data mnist --" in reproduction(bank.with_data(name="mnist", source="torchvision"))


def test_a_bank_that_knows_nothing_of_its_data(bank):
    assert reproduction(bank.with_data(source=None, images=None, seed=None)).startswith("fit(dataset, ")
