"""The law of `reproduction`: what it says, run, gives the bank again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.commands import run
from tests.conftest import CONFIG, Shapes
from vae_augment import FitConfig, VAEBank, fit
from vae_augment.report.reproduction import reproduction


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


@pytest.mark.parametrize("file", ["rows.csv", "arrays.NPZ", "images.npy", "table.parquet"])
def test_so_does_that_of_a_file(here, file):
    shapes = Shapes(3)
    if file == "rows.csv":
        rows = [f"{path},{path.parent.name}" for path in sorted(Path("bars").rglob("*.png"))]
        Path(file).write_text("\n".join(["path,label", *rows]))
    elif file == "arrays.NPZ":
        with Path(file).open("wb") as opened:
            np.savez(opened, images=shapes.data, labels=shapes.targets)
    elif file == "images.npy":
        np.save(file, shapes.data)
        np.save("labels.npy", shapes.targets)
    else:
        pngs = [path.read_bytes() for path in sorted(Path("bars").rglob("*.png"))]
        parquet.write_table(pa.table({"image": [{"bytes": png} for png in pngs], "label": [0, 1, 2] * 3}), file)
    assert run(f"fit --data {file} --out first.safetensors")[0] == 0
    command = reproduction(VAEBank.load("first.safetensors"))
    assert command == f"vae-augment fit --data PATH/TO/{file} --seed 0"
    again = command.removeprefix("vae-augment ").replace("PATH/TO/", "")
    assert run(f"{again} --out again.safetensors")[0] == 0
    assert Path("again.safetensors").read_bytes() == Path("first.safetensors").read_bytes()


@pytest.mark.filterwarnings("ignore:1 problem")
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
