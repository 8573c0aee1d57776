"""What is told of a machine. What is made of it is tested in test_diagnosis.py."""

import os
import warnings
from importlib import metadata
from pathlib import Path

import pytest
import torch

from vae_augment import __version__, data
from vae_augment.cli import system
from vae_augment.cli.system import examine, installed
from vae_augment.files import writing
from vae_augment.transforms import requirement as packages


@pytest.fixture
def broken(monkeypatch):
    """Makes the import of a module fail."""

    def break_(name, error):
        def import_module(wanted):
            if wanted == name:
                raise error
            return plain(wanted)

        plain = system.import_module
        monkeypatch.setattr(system, "import_module", import_module)

    return break_


# ---- packages ----


def test_versions_are_those_installed():
    found = examine()["versions"]
    assert (found["vae-augment"], found["torch"]) == (__version__, metadata.version("torch"))
    extras = {"datasets", "pyarrow", "tensorboard", "medmnist", "timm", "lightning", "accelerate", "transformers"}
    assert {"numpy", "click", "tabulate", *extras} <= set(found)
    assert not {"pytest", "ruff", "scikit-image"} & set(found)


def test_what_is_not_installed_is_told_and_albumentationsx_if_it_is(monkeypatch):
    there = {"torch": "2.6.0", "albumentations": "2.0.8", "albumentationsx": "2.1.0"}
    monkeypatch.setattr(packages, "installed_version", there.get)
    found = installed()
    assert {name: version for name, version in found.items() if version} == there
    assert (found["numpy"], found["pyarrow"]) == (None, None)
    monkeypatch.setattr(packages, "installed_version", lambda name: None)
    assert "albumentationsx" not in installed()


# ---- torch ----


def test_torch_says_what_it_uses(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    facts = examine()
    found = facts["torch"]
    assert (found["error"], found["device_error"]) == ("", "")
    assert (found["threads"], facts["omp_num_threads"]) == (torch.get_num_threads(), "3")
    assert found["chosen"] == ("cuda" if torch.cuda.is_available() else "cpu")
    assert len(found["devices"]) == torch.cuda.device_count()
    assert 1 <= facts["cores"] <= (os.cpu_count() or 1)


def test_places_of_data_are_told_with_whether_they_are_there(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAE_AUGMENT_DATA", "mine")
    (tmp_path / "mine").mkdir()
    found = examine()["data"]
    assert list(found) == [str(place) for place in data.places()]
    assert (found["mine"], found["data"]) == (True, False)


def test_a_torchvision_of_another_torch_is_told(broken):
    broken("torchvision", RuntimeError("operator torchvision::nms does not exist"))
    facts = examine()
    found = facts["torch"]
    assert found["error"] == "RuntimeError: operator torchvision::nms does not exist"
    assert (found["threads"], found["places"], facts["data"]) == (torch.get_num_threads(), (), {})


def test_a_torch_that_does_not_load_is_told_in_one_line(broken):
    broken("torch", OSError("libcudart.so.13: cannot open shared object file:\n  No such file or directory.\n" * 9))
    found = examine()["torch"]
    assert found["error"].startswith("OSError: libcudart.so.13: cannot open shared object file: No such file")
    assert len(found["error"]) <= 300
    assert found["threads"] is None


def test_a_device_that_cannot_be_used_is_told(monkeypatch):
    def busy(*args, **options):
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable\nCUDA kernel errors might be")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", busy)
    found = examine()["torch"]
    assert "got 'cuda': CUDA error: all CUDA-capable devices are busy" in found["device_error"]
    assert (found["error"], found["chosen"]) == ("", None)


def test_cuda_devices_are_told_with_their_memory(monkeypatch):
    class Properties:
        name, total_memory = "H100", 80 * 2**30

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Properties)
    assert examine()["torch"]["devices"] == [{"name": "H100", "memory": 80 * 2**30}] * 2


def test_what_torch_warns_of_is_told_once_and_not_what_is_for_developers(monkeypatch):
    def device_count():
        for _ in range(2):
            warnings.warn("The NVIDIA driver is too old.\n", UserWarning, stacklevel=1)
        warnings.warn("deprecated", FutureWarning, stacklevel=1)
        return 0

    monkeypatch.setattr(torch.cuda, "device_count", device_count)
    assert examine()["torch"]["said"] == ["The NVIDIA driver is too old"]


# ---- folders ----


def test_the_cache_is_told_and_not_made(tmp_path):
    assert examine()["cache"] == {"path": str(tmp_path / "cache"), "banks": 0, "writable": True}
    assert not (tmp_path / "cache").exists()


def test_banks_in_the_cache_are_counted():
    banks = writing.cache_folder() / "banks"
    banks.mkdir(parents=True)
    for name in ("a.safetensors", "b.safetensors", ".c.tmp"):
        (banks / name).touch()
    before = sorted(banks.iterdir())
    found = examine()["cache"]
    assert (found["banks"], found["writable"]) == (2, True)
    assert sorted(banks.iterdir()) == before


@pytest.mark.parametrize("place", ["file", "file/below", "file/below/it"])
def test_a_cache_that_is_a_file_cannot_be_written(tmp_path, monkeypatch, place):
    (tmp_path / "file").touch()
    monkeypatch.setenv("VAE_AUGMENT_CACHE", str(tmp_path / place))
    assert not examine()["cache"]["writable"]


@pytest.mark.parametrize("below", [".", "banks/of/mine"])
def test_a_cache_that_is_read_only_cannot_be_written(tmp_path, monkeypatch, below):
    def refuse(dir):
        assert Path(dir) == tmp_path
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(writing.tempfile, "TemporaryFile", refuse)  # root may write anywhere
    monkeypatch.setenv("VAE_AUGMENT_CACHE", str(tmp_path / below))
    assert not examine()["cache"]["writable"]


def test_a_machine_without_shared_memory_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(system, "SHARED_MEMORY", tmp_path / "nothing")
    assert examine()["shared_memory"] is None
    monkeypatch.setattr(system, "SHARED_MEMORY", tmp_path)
    assert examine()["shared_memory"] > 0
