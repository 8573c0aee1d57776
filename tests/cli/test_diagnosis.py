"""Faults of a described machine; test_system.py tests how this one is described."""

import pytest

from vae_augment.cli.system import BROUGHT, ERROR, EXTRAS, NOTE, TORCH, WARNING, diagnose
from vae_augment.transforms import requirement as packages

LEAST = {name: min(each.specifier, key=str).version for name, each in packages.requirements().items()}
LEAST["albumentations"] = "2.0.8"
H100 = {"name": "H100", "memory": 80 * 10**9}
SOUND = {
    "python": "3.12.0",
    "platform": "Linux",
    "versions": {
        "vae-augment": "0.1.0",
        **dict.fromkeys(packages.requirements(*EXTRAS)),
        **LEAST,
        **dict.fromkeys(BROUGHT, "1.0"),
        "torch": "2.7.1+cu128",
    },
    "torch": {**TORCH, "cuda": "12.8", "threads": 4, "places": ["data"], "chosen": "cpu"},
    "cores": 4,
    "omp_num_threads": None,
    "nvidia": False,
    "cache": {"path": "cache", "banks": 0, "writable": True},
    "data": {"data": False},
    "shared_memory": 2**30,
}
FULL = {"path": "/full", "banks": 1, "writable": False}


def sound(**changes):
    return {**SOUND, **changes}


def with_versions(**versions):
    return sound(versions=SOUND["versions"] | {name.replace("_", "-"): v for name, v in versions.items()})


def with_torch(**changes):
    return sound(torch=SOUND["torch"] | changes)


def test_nothing_is_wrong_with_a_sound_system():
    assert diagnose(SOUND) == []
    assert diagnose(sound(shared_memory=None)) == []
    assert diagnose(sound(nvidia=True, torch=SOUND["torch"] | {"devices": [H100]})) == []


NMS = "RuntimeError: operator torchvision::nms does not exist"


@pytest.mark.parametrize(
    ("system", "subject", "severity", "text", "fix"),
    [
        (with_versions(scipy=None), "scipy", ERROR, "scipy is not installed.", 'pip install "scipy"'),
        (with_versions(packaging=None), "packaging", ERROR, "packaging is not installed.", '"packaging>=23"'),
        (with_versions(numpy="1.25.9"), "numpy", ERROR, "numpy is 1.25.9, and numpy>=1.26 is", '"numpy>=1.26"'),
        (with_versions(torch="2.5.1+cu121"), "torch", ERROR, "torch is 2.5.1+cu121, and torch>=2.6", '"torch>=2.6"'),
        (
            with_versions(opencv_python_headless=None),
            "opencv-python-headless",
            ERROR,
            "opencv-python-headless is not installed.",
            '"opencv-python-headless"',
        ),
        (with_versions(albumentations=None), "albumentations", WARNING, "which is not installed.", "pip install"),
        (
            with_versions(albumentations="2.1.0"),
            "albumentations",
            WARNING,
            "albumentations>=2.0.8,<2.1, got 2.1.0.",
            "pip",
        ),
        (
            with_versions(albumentationsx="2.0.8"),
            "albumentationsx",
            WARNING,
            "does not run with albumentationsx",
            "pip uninstall albumentationsx",
        ),
        (
            with_torch(error=NMS),
            "torchvision",
            ERROR,
            f"torchvision 0.21 does not import beside torch 2.7.1+cu128: {NMS}.",
            "pip install --upgrade --force-reinstall torch torchvision",
        ),
        (
            with_torch(error="OSError: no libcudart", threads=None),
            "torch",
            ERROR,
            "torch 2.7.1+cu128 does not import: OSError: no libcudart.",
            "pip install --upgrade --force-reinstall torch torchvision",
        ),
        (
            with_torch(said=("Failed to initialize NumPy",)),
            "torch",
            WARNING,
            "Failed to initialize NumPy.",
            "begin with",
        ),
        (with_torch(device_error="got 'cuda': busy"), "device", ERROR, "got 'cuda': busy", "device='cpu'"),
        (sound(nvidia=True), "device", NOTE, "torch sees no CUDA device", "nvidia-smi"),
        (
            sound(nvidia=True, torch=SOUND["torch"] | {"cuda": None}),
            "device",
            NOTE,
            "torch sees no CUDA device",
            "This torch is built without CUDA",
        ),
        (sound(cores=2), "threads", WARNING, "torch uses 4 threads on 2 cores", "Set OMP_NUM_THREADS=2."),
        (
            sound(cores=16, omp_num_threads="4"),
            "threads",
            NOTE,
            "torch uses 4 of 16 cores, as OMP_NUM_THREADS says.",
            "Unset it",
        ),
        (
            sound(cache=FULL),
            "cache",
            ERROR,
            "/full cannot be written: a dataset wrapped without a bank is fitted anew",
            "Set VAE_AUGMENT_CACHE to a folder that can be written.",
        ),
        (sound(shared_memory=64 * 2**20), "shared memory", WARNING, "end with a bus error", "--shm-size=2g"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(system, subject, severity, text, fix):
    (problem,) = diagnose(system)
    assert (problem.subject, problem.severity) == (subject, severity)
    assert text in problem.text
    assert fix in problem.fix


def test_a_missing_torch_is_told_once():
    torch = {**TORCH, "error": "ModuleNotFoundError: No module named 'torch'"}
    missing = {**with_versions(torch=None), "torch": torch, "nvidia": True}
    assert [problem.text for problem in diagnose(missing)] == ["torch is not installed."]


def test_fewer_threads_than_cores_are_no_problem_where_nobody_asked_for_them():
    assert diagnose(sound(cores=8)) == []


def test_the_worst_comes_first():
    worst = {**with_versions(albumentations=None), "nvidia": True, "cache": FULL}
    assert [problem.severity for problem in diagnose(worst)] == [ERROR, WARNING, NOTE]


@pytest.mark.parametrize("version", ["2.6.0a0+df5bbc09d1.nv24.12", "2.7.0.dev20250101+cu128", "from-source"])
def test_a_build_of_a_version_that_is_new_enough_is_taken(version):
    assert diagnose(with_versions(torch=version)) == []


def test_what_is_not_known_of_a_package_that_is_not_installed_is_said(monkeypatch):
    def requires(name):
        raise packages.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(packages.metadata, "requires", requires)
    (problem,) = diagnose(SOUND)
    assert (problem.subject, problem.severity) == ("vae-augment", WARNING)
    assert "vae-augment is not installed" in problem.text
    assert "pip install" in problem.fix
