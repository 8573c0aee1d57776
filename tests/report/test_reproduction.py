"""The law of `reproduction`: what it says, run, gives the bank again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from tests.commands import run
from tests.conftest import CONFIG, Shapes
from vae_augment import FitConfig, VAEBank, fit
from vae_augment.report.reproduction import reproduction

pytestmark = pytest.mark.slow


def check_reproduction(options, wanted):
    """The command that a bank's fit gave is as `wanted`, and gives the same bytes."""
    assert run(f"fit {options} --out first.safetensors")[0] == 0
    command = reproduction(VAEBank.load("first.safetensors"))
    assert command.startswith(f"vae-augment fit --data PATH/TO/{wanted} ")
    again = command.removeprefix("vae-augment ").replace("PATH/TO/", "")
    assert run(f"{again} --out again.safetensors")[0] == 0
    assert Path("again.safetensors").read_bytes() == Path("first.safetensors").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--preset fast --seed 3",
        "--preset fast --components 20",
        "--per-class 2 --latent-dim 3 --image-size 16 --sharing none --policy none",
    ],
)
def test_the_command_gives_the_same_bytes(here, options):
    check_reproduction(f"--data bars {options}", "bars")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("", "--seed"),
        ("--latent-dim 20", "--latent-dim 20 --seed"),
        ("--latent-dim 16", "--latent-dim 16 --seed"),
        ("--components 0", "--components 0"),
        ("--sharing none", "--sharing none --seed"),
    ],
)
def test_components_are_named_where_they_were_given(here, options, named):
    for at, path in enumerate(sorted(Path("bars").rglob("*.png"))):
        with Image.open(path) as opened:
            grey = opened.convert("L")
        tint = Image.new("L", grey.size, 20 * at)
        Image.merge("RGB", [grey, tint, tint]).save(path)
    check_reproduction(f"--data bars --preset fast {options}", f"bars --preset fast {named}")


@pytest.mark.parametrize("file", ["rows.csv", "arrays.NPZ", "images.npy", "table.parquet"])
def test_so_does_that_of_a_file(here, file):
    shapes, paths = Shapes(3), sorted(Path("bars").rglob("*.png"))
    if file == "rows.csv":
        Path(file).write_text("\n".join(["path,label", *(f"{path},{path.parent.name}" for path in paths)]))
    elif file == "arrays.NPZ":
        with Path(file).open("wb") as opened:
            np.savez(opened, images=shapes.data, labels=shapes.targets)
    elif file == "images.npy":
        np.save(file, shapes.data)
        np.save("labels.npy", shapes.targets)
    else:
        pngs = [{"bytes": path.read_bytes()} for path in paths]
        parquet.write_table(pa.table({"image": pngs, "label": [0, 1, 2] * 3}), file)
    check_reproduction(f"--data {file}", f"{file} --seed")


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
