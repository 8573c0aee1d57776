"""reconstruct, encode and decode from a shell."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.commands import contents, refused, run
from vae_augment.exporting.latents import Latents

ENCODE = "encode bars.safetensors --data bars --out l.safetensors"


def test_reconstruct_says_how_near_it_is(with_bank):
    code, out, err = run("reconstruct bars.safetensors --data bars --out made")
    assert (code, err) == (0, "")
    header, _, *rows, empty, said = out.splitlines()
    assert header.split() == ["class", "images", "RMSE", "PSNR", "(dB)"]
    assert [row.split()[:2] for row in rows] == [["across", "3"], ["down", "3"], ["slanted", "3"], ["all", "9"]]
    rmse, psnr = (float(figure) for figure in rows[-1].split()[2:])
    assert psnr == pytest.approx(-20 * math.log10(rmse), abs=0.02)
    assert (empty, said) == ("", "9 images of 3 classes written to made.")
    assert sorted(path for path in contents("made") if path.endswith(".png")) == sorted(
        str(path.relative_to("bars")) for path in Path("bars").rglob("*.png")
    )


@pytest.mark.parametrize("ending", ["safetensors", "parquet"])
def test_encoding_and_decoding_gives_what_reconstructing_gives(with_bank, ending):
    run("reconstruct bars.safetensors --data bars --out made")
    code, out, err = run(f"encode bars.safetensors --data bars --out 'my l.{ending}'")
    assert (code, err) == (0, "")
    size = Path(f"my l.{ending}").stat().st_size
    first, *_ = out.splitlines()
    assert first == f"9 images encoded to my l.{ending}: {size:,} bytes, {size / 9:.1f} per image. Next:"
    following = next(line for line in out.splitlines() if line.startswith("    vae-augment decode"))
    code, out, err = run(following.replace("vae-augment", ""))
    assert (code, out, err) == (0, "9 images of 3 classes written to my l-decoded.\n", "")
    assert contents("my l-decoded") == contents("made")


def test_what_is_encoded_is_a_function_of_the_options(with_bank, bank):
    command = f"{ENCODE} --per-class 2 --dtype int8 --mean-only"
    assert run(command)[0] == 0
    first = Path("l.safetensors").read_bytes()
    assert run(f"{command} --overwrite")[0] == 0
    assert Path("l.safetensors").read_bytes() == first
    read = Latents.load("l.safetensors")
    assert (len(read), read.logvar, read.bank_sha256) == (6, None, bank.sha256)
    assert set(read.names) <= {f"{i}.png" for i in range(9)}


def test_images_of_another_size_where_they_are_asked_for(with_bank):
    for path in Path("bars").rglob("*.png"):
        Image.effect_noise((30, 30), 40).save(path)
    assert run("encode bars.safetensors --data bars --resize --out l.safetensors")[0] == 0
    assert run("reconstruct bars.safetensors --data bars --resize --out made")[0] == 0
    for path in Path("made").rglob("*.png"):
        with Image.open(path) as image:
            assert image.size == (12, 12)


@pytest.mark.filterwarnings("default:1 problem")
def test_what_cannot_be_read_may_be_left_out(with_bank):
    Path("bars/down/broken.png").write_bytes(b"hello")
    code, _, err = run(ENCODE)
    assert (code, "broken.png" in err, Path("l.safetensors").exists()) == (2, True, False)
    code, out, err = run(f"{ENCODE} --on-error skip")
    assert (code, out.startswith("9 images encoded"), "broken.png" in err) == (0, True, True)


def test_latents_of_another_bank(with_bank, bank):
    bank.subset(["down", "across"]).save("part.safetensors")
    run(ENCODE)
    code, out, err = run("decode part.safetensors l.safetensors --out made")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "the latents were encoded with another bank, of sha256" in err
    code, _, err = run("decode part.safetensors l.safetensors --out made --other-bank")
    assert (code, "the bank has no class for label 2; it has labels [0, 1]" in err) == (2, True)
    assert not Path("made").exists()
    bank.with_policy(scale=0.321).save("tuned.safetensors")
    assert run("decode tuned.safetensors l.safetensors --out made --other-bank")[0] == 0
    run("decode bars.safetensors l.safetensors --out own")
    images = [{name: held for name, held in contents(f).items() if name.endswith(".png")} for f in ("made", "own")]
    assert images[0] == images[1]
    assert len(images[0]) == 9


def test_folders_of_some_classes_are_known_by_their_names(with_bank):
    run("reconstruct bars.safetensors --data bars --out whole")
    shutil.rmtree("bars/across")  # so that the others come to have other numbers
    assert run("reconstruct bars.safetensors --data bars --out part")[0] == 0
    part = {name: held for name, held in contents("part").items() if name.endswith(".png")}
    assert len(part) == 6
    assert part.items() <= contents("whole").items()


def test_a_bank_that_keeps_no_codes_will_do(with_bank, without_codes):
    without_codes.save("bare.safetensors")
    assert run("encode bare.safetensors --data bars --out l.safetensors")[0] == 0
    assert run("decode bare.safetensors l.safetensors --out made")[0] == 0


# ---- what is wrong with a command line or its input ----


@pytest.fixture
def prepared(odd_data):
    """Also a latent file, and a folder that is in the way."""
    run(ENCODE)
    (odd_data / "full").mkdir()
    (odd_data / "full" / "thesis.txt").write_text("years of work")
    return odd_data


BAD = [
    ("none.safetensors --data bars", "no bank at none.safetensors"),
    ("l.safetensors --data bars", "l.safetensors is a safetensors file but not a bank"),
    ("two.safetensors --data bars", "the bank has no class for label 2 ('slanted'); it has labels [0, 1]"),
    ("bars.safetensors --data strange", "the bank has no class 'zebra'; it has 'across', 'down', 'slanted'"),
    ("bars.safetensors --data large", "images must be of the bank's size, 12x12, or of one that a fit takes to"),
    ("bars.safetensors --data colour", "images must have as many channels as the bank's, 1, got 3"),
    ("bars.safetensors --data empty", "empty must hold one folder of images per class"),
]
RECONSTRUCT, ANOTHER = "reconstruct bars.safetensors --data bars", "encode bars.safetensors --data bars"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        *((f"reconstruct {given} --out new", message) for given, message in BAD),
        *((f"encode {given} --out new.safetensors", message) for given, message in BAD),
        (f"{RECONSTRUCT} --out full", "full is not empty: name another folder"),
        (f"{RECONSTRUCT} --out full --overwrite", "full holds something that is no export"),
        (f"{RECONSTRUCT} --out notes.txt", "notes.txt must be a folder, it is a file"),
        (f"{ANOTHER} --out new.npz", "--out must end in .safetensors or .parquet, got 'new.npz'"),
        (f"{ANOTHER} --out no/such.parquet", "--out: no folder no"),
        (f"{ANOTHER} --out empty", "--out must be a file, empty is a folder"),
        (f"{ANOTHER} --out l.safetensors", "--out: l.safetensors is there already: name another"),
        (
            f"{ANOTHER} --out bars.safetensors --overwrite",
            "--out must be another file than BANK, got bars",
        ),
        (f"{ANOTHER} --out bars/x.parquet --overwrite", "bars/x.parquet may be part of the data"),
        (f"{ANOTHER} --out l.parquet --dtype int4", "'int4' is not one of"),
        ("decode none.safetensors l.safetensors --out new", "no bank at none.safetensors"),
        (
            "decode bars.safetensors none.safetensors --out new",
            "no latent file at none.safetensors. `vae-au",
        ),
        ("decode bars.safetensors bars.safetensors --out new", "is a safetensors file but not a latent f"),
        ("decode bars.safetensors notes.txt --out new", "notes.txt is not a latent file, or is cut off"),
        ("decode bars.safetensors l.safetensors --out full", "full is not empty"),
        ("decode bars.safetensors l.safetensors --out notes.txt", "notes.txt must be a folder, it is a file"),
        ("decode two.safetensors l.safetensors --out new", "the latents were encoded with another bank"),
        ("decode bars.safetensors --out new", "Missing argument 'LATENTS'"),
        ("reconstruct bars.safetensors --out new", "Missing option '--data'"),
    ],
)
def test_wrong_input_exits_with_2_and_one_line_and_writes_nothing(prepared, command, message):
    if "x.parquet" in command:
        Path("bars/x.parquet").write_bytes(b"mine")
    assert message.replace("'", "") in refused(command).replace("'", "")
