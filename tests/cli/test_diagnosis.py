from dataclasses import replace

import pytest

from vae_augment.cli.diagnosis import ERROR, NOTE, WARNING, diagnose
from vae_augment.cli.system import NEEDED, OPTIONAL, Device, Folder, System, Torch

TORCH = Torch(cuda="12.8", threads=4, places=("data",), devices=(), chosen="cpu", bfloat16=False)
SOUND = System(
    python="3.12.0",
    platform="Linux",
    versions={"vae-augment": "0.1.0", **NEEDED, "torch": "2.7.1+cu128", **dict.fromkeys(OPTIONAL)},
    torch=TORCH,
    cores=4,
    omp_num_threads=None,
    nvidia=False,
    cache=Folder("cache", 0, 0, True),
    data={"data": False},
    shared_memory=2**30,
)


def with_versions(**versions):
    return replace(SOUND, versions=SOUND.versions | {name.replace("_", "-"): v for name, v in versions.items()})


def with_torch(**changes):
    return replace(SOUND, torch=replace(TORCH, **changes))


def test_nothing_is_wrong_with_a_sound_system():
    assert diagnose(SOUND) == []
    assert diagnose(replace(SOUND, shared_memory=None)) == []
    assert diagnose(replace(SOUND, nvidia=True, torch=replace(TORCH, devices=(Device("H100", 1),)))) == []


NMS = "RuntimeError: operator torchvision::nms does not exist"


@pytest.mark.parametrize(
    ("system", "subject", "severity", "text", "fix"),
    [
        (with_versions(scipy=None), "scipy", ERROR, "scipy is not installed.", 'pip install "scipy>=1.11"'),
        (with_versions(numpy="1.25.9"), "numpy", ERROR, "numpy is 1.25.9, and 1.26 or later is", '"numpy>=1.26"'),
        (with_versions(torch="2.5.1+cu121"), "torch", ERROR, "torch is 2.5.1+cu121, and 2.6 or later", '"torch>=2.6"'),
        (
            with_versions(opencv_python_headless=None),
            "opencv-python-headless",
            ERROR,
            "opencv-python-headless is not installed.",
            '"opencv-python-headless>=4.9"',
        ),
        (with_versions(albumentations=None), "albumentations", WARNING, "which is not installed.", "pip install"),
        (
            with_versions(albumentations="2.1.0"),
            "albumentations",
            WARNING,
            "2.0.8 or later below 2.1, got 2.1.0.",
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
        (replace(SOUND, nvidia=True), "device", NOTE, "torch sees no CUDA device", "nvidia-smi"),
        (
            replace(SOUND, nvidia=True, torch=replace(TORCH, cuda=None)),
            "device",
            NOTE,
            "torch sees no CUDA device",
            "This torch is built without CUDA",
        ),
        (replace(SOUND, cores=2), "threads", WARNING, "torch uses 4 threads on 2 cores", "Set OMP_NUM_THREADS=2."),
        (
            replace(SOUND, cores=16, omp_num_threads="4"),
            "threads",
            NOTE,
            "torch uses 4 of 16 cores, as OMP_NUM_THREADS says.",
            "Unset it",
        ),
        (
            replace(SOUND, cache=Folder("/full", 0, 0, False)),
            "cache",
            ERROR,
            "/full cannot be written: a dataset wrapped without a bank is fitted anew",
            "Set VAE_AUGMENT_CACHE to a folder that can be written.",
        ),
        (replace(SOUND, shared_memory=64 * 2**20), "shared memory", WARNING, "end with a bus error", "--shm-size=2g"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(system, subject, severity, text, fix):
    (problem,) = diagnose(system)
    assert (problem.subject, problem.severity) == (subject, severity)
    assert text in problem.text
    assert fix in problem.fix


def test_another_opencv_serves_too():
    assert diagnose(with_versions(opencv_python_headless=None, opencv_python="4.10.0.84")) == []
    (problem,) = diagnose(with_versions(opencv_python_headless=None, opencv_python="4.8"))
    assert problem.text == "opencv-python is 4.8, and 4.9 or later is needed."


def test_a_missing_torch_is_told_once():
    missing = replace(
        with_versions(torch=None), torch=Torch(error="ModuleNotFoundError: No module named 'torch'"), nvidia=True
    )
    assert [problem.text for problem in diagnose(missing)] == ["torch is not installed."]


def test_fewer_threads_than_cores_are_no_problem_where_nobody_asked_for_them():
    assert diagnose(replace(SOUND, cores=8)) == []


def test_the_worst_comes_first():
    worst = replace(with_versions(albumentations=None), nvidia=True, cache=Folder("/full", 0, 0, False))
    assert [problem.severity for problem in diagnose(worst)] == [ERROR, WARNING, NOTE]
