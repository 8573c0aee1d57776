import subprocess
import sys

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.commands import contents, run
from tests.conftest import CONFIG, Shapes
from vae_augment import fit
from vae_augment.bank.content import POINTS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # tensorboard's own


def logged(folder):
    """What TensorBoard reads: steps and values of each scalar, and the tags of images."""
    events = EventAccumulator(str(folder)).Reload()
    scalars = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    return scalars, {tag: events.Images(tag)[0] for tag in events.Tags()["images"]}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log") / "run"
    return fit(Shapes(), config=CONFIG, progress=False, tensorboard=folder), folder


def test_the_losses_of_each_training_are_logged(fitted):
    bank, folder = fitted
    scalars, _ = logged(folder)
    names = ["warm start", *bank.classes]
    assert set(scalars) == {f"{loss}/{name}" for name in names for loss in ("reconstruction_loss", "kl_divergence")}
    assert [step for step, _ in scalars["kl_divergence/warm start"]] == list(range(1, 10))
    assert [step for step, _ in scalars["kl_divergence/down"]] == [10, 11, 12]


def test_they_are_those_that_the_bank_keeps(fitted):
    bank, folder = fitted
    scalars, _ = logged(folder)
    row = bank.classes.index("down")
    last = torch.tensor([scalars[f"{loss}/down"][-1][1] for loss in ("reconstruction_loss", "kl_divergence")])
    torch.testing.assert_close(bank.content.curves[row, POINTS - 1].float(), last, rtol=1e-3, atol=1e-3)


def test_each_class_has_a_contact_sheet(fitted):
    bank, folder = fitted
    _, images = logged(folder)
    assert set(images) == {f"real_reconstructed_jittered_generated/{name}" for name in bank.classes}
    assert {(image.width, image.height, image.step) for image in images.values()} == {(6 * 14 + 2, 4 * 14 + 2, 12)}


def test_the_bank_is_the_same_without(fitted, bank):
    assert fitted[0].sha256 == bank.sha256


def test_a_class_of_fewer_images_than_columns(tmp_path):
    fit(Shapes(2), config=CONFIG, progress=False, tensorboard=tmp_path)
    assert len(logged(tmp_path)[1]) == 3


def test_from_the_command_line(here):
    code, _, err = run("fit --data bars --preset fast --no-policy --tensorboard log")
    assert (code, err) == (0, "")
    assert "kl_divergence/down" in logged(here / "log")[0]


def test_without_the_package_nothing_is_fitted(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    before = contents(here)
    code, _, err = run("fit --data bars --tensorboard log")
    assert code == 2
    assert 'needs tensorboard, which is not installed: pip install "vae-augment[tensorboard]"' in err
    assert contents(here) == before


def test_a_folder_that_is_a_file(here):
    code, _, err = run("fit --data bars --tensorboard notes.txt")
    assert code == 2
    assert "--tensorboard: notes.txt must be a folder, it is a file" in err
    assert not (here / "bars.safetensors").exists()


@pytest.mark.parametrize("log", ["bars.safetensors", "bars.png"])
def test_a_log_in_the_place_of_the_bank_or_its_sheet(here, log):
    code, _, err = run(f"fit --data bars --tensorboard {log}")
    assert code == 2
    assert "must be another file than --tensorboard" in err
    assert not (here / log).exists()


def test_tensorboard_is_not_loaded_unless_it_is_asked_for():
    code = "import sys, vae_augment.fitting\nprint('tensorboard' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
