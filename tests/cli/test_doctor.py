from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_diagnosis import FULL, H100, LEAST, SOUND, sound, with_torch, with_versions
from tests.commands import run
from vae_augment import __version__
from vae_augment.cli import system
from vae_augment.cli.system import TORCH


@pytest.fixture
def doctor(monkeypatch):
    """Runs the command on another machine than this."""

    def run_on(machine, *options):
        monkeypatch.setattr(system, "examine", lambda: machine)
        return run(" ".join(["doctor", *options]))

    return run_on


def rows(out):
    """The words of each line by the name that stands in it."""
    names = {*SOUND["versions"], "Python", "platform", "device", "threads", "shared", "cache", "data"}
    lines = [line.split() for line in out.partition("\n\nerror: ")[0].splitlines()]
    return {word: words for words in lines for word in words[:2] if word in names}


def test_doctor_prints_what_there_is(doctor):
    code, out, err = doctor(SOUND)
    assert (code, err) == (0, "")
    found = rows(out)
    assert {name: found[name] for name in LEAST} == {
        name: [name, SOUND["versions"][name]] for name in LEAST
    }  # none is marked
    assert found["datasets"] == ["datasets", "not", "installed"]
    assert "device cpu; torch is built for CUDA 12.8" in " ".join(out.split())
    assert "threads 4 in torch, 4 cores, OMP_NUM_THREADS is not set" in " ".join(out.split())
    assert "cache cache: 0 banks, can be written data data (not there)" in " ".join(out.split())
    assert out.splitlines()[-1] == "All is well."


def test_devices_are_listed_with_their_memory(doctor):
    devices = [H100, {"name": "T4", "memory": 16 * 10**9}]
    out = doctor({**with_torch(devices=devices, chosen="cuda"), "nvidia": True, "omp_num_threads": "4"})[1]
    assert "device cuda; torch is built for CUDA 12.8 cuda:0: H100, 80.0 GB cuda:1: T4, 16.0 GB" in " ".join(
        out.split()
    )
    assert "OMP_NUM_THREADS = 4" in out


def test_what_is_wrong_is_marked_and_told_with_what_to_do(doctor):
    broken = {**with_versions(albumentations=None), "nvidia": True, "cache": FULL}
    code, out, err = doctor(broken)
    assert (code, err) == (1, "")
    found = rows(out)
    assert [found[name][0] for name in ("cache", "albumentations", "device", "torch")] == [
        "error",
        "warning",
        "note",
        "torch",
    ]
    assert "/full: 1 bank, cannot be written" in out
    lines = out.splitlines()
    for severity, fix in (("error", "Set VAE_AUGMENT_CACHE"), ("warning", "pip install"), ("note", "See what nvidia")):
        (at,) = (i for i, line in enumerate(lines) if line.startswith(f"{severity}: "))
        assert lines[at + 1].startswith(f"    {fix}")
    assert lines[-1] == "It does not work as it is."


def test_warnings_and_notes_alone_exit_with_0(doctor):
    code, out, _ = doctor({**with_versions(albumentationsx="2.1.0"), "nvidia": True})
    assert code == 0
    assert "does not run with albumentationsx" in out
    assert out.splitlines()[-1] == "It works."


def test_what_torch_would_have_told_is_not_known_without_it(doctor):
    code, out, err = doctor(sound(torch={**TORCH, "error": "ImportError: no"}, data={}))
    assert (code, err) == (1, "")
    assert out.count("not known") == 3  # device, threads, places of data


def test_json_says_the_same(doctor):
    broken = {**with_versions(albumentations=None), "cache": FULL}
    code, out, err = doctor(broken, "--json")
    assert (code, err) == (1, "")
    found = json.loads(out)
    assert (found["works"], found["versions"]["torch"], found["torch"]["threads"]) == (False, "2.7.1+cu128", 4)
    assert found["cache"] == FULL
    assert [(problem["subject"], problem["severity"]) for problem in found["problems"]] == [
        ("cache", "error"),
        ("albumentations", "warning"),
    ]
    assert all(problem["text"] and problem["fix"] for problem in found["problems"])
    assert json.loads(doctor(SOUND, "--json")[1]).items() >= {"works": True, "problems": []}.items()


# ---- on this machine ----


def program(*arguments, **environment):
    return subprocess.run(arguments, capture_output=True, text=True, env={**os.environ, **environment}, timeout=100)


def test_doctor_runs_here_and_leaves_albumentations_alone():
    script = (
        "import sys\nfrom vae_augment.cli import main\nmain(['doctor', '--json'], standalone_mode=False)\n"
        "assert not {'albumentations', 'albucore', 'cv2', 'datasets', 'scipy', 'sklearn'} & set(sys.modules)"
    )
    done = program(sys.executable, "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["versions"]["vae-augment"] == __version__


@pytest.mark.parametrize(
    ("module", "statement", "reason"),
    [
        (
            "torchvision",
            "raise RuntimeError('operator torchvision::nms does not exist')",
            "does not import beside torch 2",
        ),
        ("torchvision", "import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'."),
        (
            "torch",
            "raise OSError('libcudart.so.12: cannot open shared object file')",
            "does not import: OSError: libcud",
        ),
    ],
)
def test_a_broken_pair_is_told_without_a_traceback(tmp_path, module, statement, reason):
    (tmp_path / module).mkdir()
    (tmp_path / module / "__init__.py").write_text(statement)
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    done = program(sys.executable, "-m", "vae_augment", "doctor", PYTHONPATH=paths)
    assert (done.returncode, done.stderr) == (1, "")
    assert "\nerror: torch" in done.stdout
    assert reason in done.stdout
    assert "    Install two that were built for each other, from one index: pip install" in done.stdout
