from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from torchvision.datasets import ImageFolder

from tests.commands import refused, run
from tests.conftest import Shapes
from vae_augment import VAEBank, __version__
from vae_augment.cli import main
from vae_augment.cli.encode import encode
from vae_augment.cli.explore import DIRECTIONS, explore
from vae_augment.cli.morph import morph
from vae_augment.exploring import pictures
from vae_augment.exploring.exploration import CLASSES, PARTS
from vae_augment.exploring.morph_pictures import FPS, MOST_FPS
from vae_augment.exploring.morphing import LEAST_FRAMES, MOST_FRAMES, PATHS
from vae_augment.exporting.quantized import DTYPES

# ---- fit ----


def test_fit_writes_a_bank_and_a_sheet_and_says_what_to_do_next(here):
    (here / "my banks").mkdir()
    code, out, err = run("fit --data bars --preset fast --out 'my banks/b.safetensors'")
    assert (code, err) == (0, "")
    bank = VAEBank.load("my banks/b.safetensors")
    assert bank.classes == Shapes.classes
    assert (bank.data["name"], bank.data["source"], bank.config.preset) == ("bars", "folder", "fast")
    with Image.open("my banks/b.png") as sheet:
        assert sheet.mode == "RGB"
    assert sorted(path.name for path in Path("my banks").iterdir()) == ["b.png", "b.safetensors"]
    header, *rows = out.splitlines()
    assert header.split()[:2] == ["class", "images"]
    assert [row.split()[:2] for row in rows[1:4]] == [[name, "3"] for name in Shapes.classes]
    next_command = next(line for line in out.splitlines() if line.startswith("    vae-augment "))
    code, out, err = run(next_command.replace("vae-augment", "").replace("--per-class 500", "--per-class 2"))
    assert (code, err) == (0, "")
    assert len(ImageFolder("my banks/b-generated")) == 6


def test_fit_names_its_bank_after_the_data_and_is_a_function_of_its_options(here):
    command = "fit --data bars --per-class 2 --latent-dim 3 --image-size 8 --sharing none --no-policy --seed 4"
    assert run(command)[0] == 0
    first = Path("bars.safetensors").read_bytes(), Path("bars.png").read_bytes()
    bank = VAEBank.load("bars.safetensors")
    assert (bank.latent_dim, bank.image_shape[1:]) == (3, (8, 8))
    assert (bank.config.sharing, bank.config.policy) == ("none", "none")
    assert ([info.images for info in bank.class_infos], bank.data["seed"]) == ([2, 2, 2], 4)
    assert run(command)[0] == 0
    assert (Path("bars.safetensors").read_bytes(), Path("bars.png").read_bytes()) == first


@pytest.mark.parametrize("name", ["textures", "none"])
def test_a_policy_may_be_named_and_the_last_lines_say_what_it_does_and_why(here, name):
    code, out, _ = run(f"fit --data bars --preset fast --policy {name}")
    policy = VAEBank.load("bars.safetensors").policy
    assert code == 0
    assert f"\n{policy.sentence} Why: {policy.origin}.\n" in out
    told = {"textures": ("several", "textures, named by hand"), "none": ("none", "switched off (policy='none')")}
    assert (policy.moves, policy.origin) == told[name]


@pytest.mark.filterwarnings("default:MNIST is not on this machine")
def test_fit_without_a_network_says_loudly_that_it_uses_the_sample(here):
    code, out, err = run("fit --data mnist --preset fast --per-class 2")
    assert code == 0
    (line,) = err.splitlines()
    assert line.startswith("vae-augment: warning: MNIST is not on this machine")
    assert "Using the sample that comes with vae-augment" in line
    assert "no route to host" in line
    assert "Fitted on the MNIST sample inside the package, not on all of MNIST" in out
    bank = VAEBank.load("mnist.safetensors")
    assert (bank.data["name"], bank.data["source"], bank.classes[0]) == ("mnist", "bundled sample", "0 - zero")


def test_a_class_that_failed_is_named_and_exits_with_1(here):
    command = "fit --data bars --preset fast"
    assert run(command)[0] == 0
    bank = VAEBank.load("bars.safetensors")
    infos = list(bank.class_infos)
    infos[1] = replace(infos[1], status="failed", note="loss not finite at step 7")
    VAEBank(replace(bank.content, class_infos=tuple(infos))).save("bars.safetensors")
    code, out, err = run(f"{command} --resume")  # which finds it done
    assert (code, err) == (1, "vae-augment: error: class 'down' failed: loss not finite at step 7.\n")
    assert "failed: loss not finite at step 7" in out


def test_data_that_cannot_be_had_exits_with_1_and_one_line(here):
    code, out, err = run("fit --data fashion-mnist")
    assert (code, out) == (1, "")
    (line,) = err.splitlines()
    assert "fashion-mnist is not on this machine and cannot be downloaded (no route to host)" in line


# ---- generate and info ----


def test_fit_makes_a_bank_to_share_and_info_says_how_well_it_hides_its_images(here):
    code, out, _ = run("fit --data bars --preset fast --share")
    assert code == 0
    assert "Privacy: training images are told from 3 held out with an area under the ROC curve of" in out
    _, out, _ = run("info bars.safetensors")
    assert "privacy   training images are told from 3 held out" in out
    assert "--share" in out


def test_generate_writes_what_it_says(with_bank):
    code, out, err = run("generate bars.safetensors --out made --count 7 --method gaussian --seed 3")
    assert (code, err) == (0, "")  # no progress bar where nobody watches
    assert out == "7 images of 3 classes written to made.\n"
    manifest = json.loads(Path("made/manifest.json").read_text())
    assert (manifest["images"], manifest["method"], manifest["seed"]) == (7, "gaussian", 3)
    assert len(ImageFolder("made")) == 7


def test_info_says_what_a_bank_holds(with_bank, bank):
    code, out, err = run("info bars.safetensors")
    assert (code, err) == (0, "")
    assert hashlib.sha256(Path("bars.safetensors").read_bytes()).hexdigest() in out
    assert "1 x 12 x 12, 4 latent dimensions" in out
    assert "Shapes (dataset object), 30 images" in out
    policy = bank.policy
    assert f"p_generate {policy.p_generate:g}, p_jitter {policy.p_jitter:g}, scale {policy.scale:g}" in out
    assert f"moves {policy.moves}: {policy.origin}" in out
    assert "quality" not in out  # too few images were held out
    assert [row.split()[:2] for row in out.splitlines()[-3:]] == [[name, "10"] for name in Shapes.classes]


# ---- what is wrong with a command line or its input ----


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("fit --data bars --policy photos", "'photos' is not one of 'auto', 'none', 'gentle', 'drawings', "),
        ("fit --data nmist", "unknown dataset 'nmist': did you mean mnist, qmnist or kmnist? Else name a folder of cl"),
        ("fit --data no/such/folder", "no folder at no/such/folder"),
        ("fit --data notes.txt", "got the file notes.txt"),
        ("fit --data empty", "empty must hold one folder of images per class"),
        ("fit --data mnist --root empty", "no MNIST in empty"),
        ("fit --data bars --out no/such/b.safetensors", "--out: no folder no/such"),
        ("fit --data bars --out empty", "--out must be a file, empty is a folder"),
        ("fit --data bars --out b.png", "--out names the bank, for example mnist.safetensors; the .png beside it is"),
        (
            "fit --data bars --out sheet.safetensors",
            "--out: the contact sheet sheet.png beside the bank must be a file",
        ),
        ("fit --data nmist --out sheet.safetensors", "--out: the contact sheet sheet.png beside the bank must be a f"),
        ("fit --data bars --device tpu9", "device must be 'auto' or one that torch can use here, got 'tpu9'"),
        ("generate none.safetensors --out new", "no bank at none.safetensors"),
        ("generate bars.safetensors --out bars", "bars is not empty"),
        ("generate bars.safetensors --out notes.txt", "notes.txt must be a folder"),
        ("generate bars.safetensors --out new --method magic", "method must be one of 'exemplar', 'gaussian', 'prior'"),
        ("generate bars.safetensors --out new --count 5 --per-class 5", "give per_class or count, not both"),
        ("generate bars.safetensors --out new --device tpu9", "got 'tpu9'"),
        ("evaluate --data bars --arms none,,ours", "an arm must be one of 'none', 'ours', "),
        ("evaluate --data nmist --json no/such/found.json", "--json: no folder no/such"),
        ("evaluate --data nmist --json empty", "--json must be a file, empty is a folder"),
        ("evaluate --data nmist --plot found.pdf", "--plot must end in .png, which it will hold, got found.pdf"),
        ("evaluate --data nmist --plot empty", "--plot must be a file, empty is a folder"),
        ("evaluate --data bars --test bars", "test must hold images that dataset does not, got 9 that are all in"),
        ("evaluate --data bars --test notes.txt", "--test must be a folder of class folders, a file that ends in .csv"),
        ("evaluate --data bars --test usps --root empty", "no USPS in empty"),
        ("evaluate --data bars --bank none.safetensors", "no bank at none.safetensors"),
        ("evaluate --data bars --per-class 3", "no image is left to test on"),
        ("evaluate --data bars --per-class 2 --sampling-strategy most", "most"),
        ("evaluate --data bars --per-class 2 --device tpu9", "got 'tpu9'"),
        ("info none.safetensors", "no bank at none.safetensors. `vae-augment fit` makes one"),
        ("info bars/down/4.png", "bars/down/4.png is not a bank"),
        ("info empty", "no bank at empty"),
    ],
)
def test_wrong_input_exits_with_2_and_one_line(with_bank, command, message):
    Path("sheet.png").mkdir()
    assert message in refused(command)


def test_a_folder_in_the_place_of_the_bank_that_a_fit_would_name_is_told_before_any_work(here):
    Path("bars.safetensors").mkdir()
    assert "--out must be a file, bars.safetensors is a folder." in refused("fit --data bars")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("fit", "Missing option '--data'"),
        ("fit --data bars --per-class 0", "'--per-class': 0 is not in the range x>=1"),
        ("fit --data bars --preset huge", "'--preset': 'huge' is not one of 'fast', 'default', 'best'"),
        ("fit --data bars --latent-dim 0", "'--latent-dim': 0 is not in the range 1<=x<=512"),
        ("fit --data bars --image-size 500", "'--image-size': 500 is not in the range 8<=x<=256"),
        ("fit --data bars --sharing all", "'--sharing': 'all' is not one of 'warm-start', 'none'"),
        ("fit --data bars --seed one", "'--seed': 'one' is not a valid integer"),
        ("fit --data bars --stepz 5", "No such option '--stepz'"),
        ("generate --out new", "Missing argument 'BANK'"),
        ("generate bars.safetensors --out new --count 0", "'--count': 0 is not in the range x>=1"),
        ("evaluate --data bars --seeds 0", "'--seeds': 0 is not in the range x>=1"),
        ("evaluate --data bars --json", "Option '--json' requires an argument"),
        ("info bars.safetensors other", "Got unexpected extra argument (other)"),
        ("doctor --json=yes", "Option '--json' does not take a value"),
        ("--loud info", "No such option '--loud'"),
        ("frobnicate", "No such command 'frobnicate'"),
    ],
)
def test_a_wrong_command_line_exits_with_2_and_one_line(with_bank, command, message):
    line = refused(command)
    assert message.replace("'", "") in line.replace("'", "")
    assert line.endswith("--help'.")


def test_verbose_shows_the_traceback(here):
    result = CliRunner().invoke(main, ["-v", "info", "none.safetensors"])
    assert isinstance(result.exception, FileNotFoundError)


# ---- as a program ----


def program(*arguments, cwd=None):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, timeout=100)


def test_help_and_version_import_nothing_heavy():
    script = """if True:
        import sys
        from vae_augment.cli import main
        for command in ("fit", "evaluate", "encode", "morph", "doctor"):
            main([command, "-h"], standalone_mode=False)
        for arguments in (["--help"], ["--version"]):
            main(arguments, standalone_mode=False)
        heavy = {"torch", "torchvision", "numpy", "PIL", "cv2", "safetensors", "tqdm", "albumentations", "scipy"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
    """
    done = program("-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"version {__version__}" in done.stdout
    assert all(command in done.stdout for command in ("fit", "generate", "evaluate", "info", "doctor"))


def test_what_help_says_without_importing_anything_is_so():
    def option(command, name):
        return next(option for option in command.params if option.name == name)

    frames, fps = option(morph, "frames"), option(morph, "fps")
    assert option(encode, "dtype").type.choices == tuple(DTYPES)
    assert ", ".join(PARTS) in option(explore, "only").help
    assert option(explore, "classes").default == str(CLASSES)
    assert list(DIRECTIONS["both"]) == list(pictures.DIRECTIONS)
    assert option(morph, "path").type.choices == tuple(PATHS)
    assert (frames.type.min, frames.type.max) == (LEAST_FRAMES, MOST_FRAMES)
    assert fps.type.max == MOST_FPS
    assert f"[default: {FPS:g}]" in fps.help


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--help"], 0, ""),
        (["frobnicate"], 2, "vae-augment: error: No such command 'frobnicate'."),
        (["fit", "--data", "nmist"], 2, "vae-augment: error: unknown dataset 'nmist'"),
    ],
)
def test_the_module_is_the_command(tmp_path, arguments, code, message):
    done = program("-m", "vae_augment", *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("Usage: ") == (code == 0)
