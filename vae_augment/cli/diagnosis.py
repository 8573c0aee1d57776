"""What is wrong with a machine, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from vae_augment.cli.system import NEEDED, SAME_AS, System
from vae_augment.transforms.requirement import problem_with_albumentations

# something does not work; may not; is slower or other than it could be
ERROR, WARNING, NOTE = "error", "warning", "note"
LEAST_SHARED_MEMORY = 512 * 2**20  # bytes: an ImageFolder's pixels take half of it


@dataclass(frozen=True)
class Problem:
    """What is wrong.

    Args:
        subject: what it is wrong with: a package, "device", "threads", "cache" or "shared memory".
        severity: `ERROR`, `WARNING` or `NOTE`.
        text: what is wrong.
        fix: what to do.
    """

    subject: str
    severity: str
    text: str
    fix: str


def diagnose(system: System) -> list[Problem]:
    """All that is wrong, the worst first."""
    found = [*_packages(system), *_torch(system), *_device(system), *_threads(system), *_folders(system)]
    return sorted(found, key=lambda problem: (ERROR, WARNING, NOTE).index(problem.severity))


def _packages(system: System) -> Iterator[Problem]:
    for name, least in NEEDED.items():
        if name == "albumentations":  # which only the adapter needs
            continue
        names = [other for other in (name, *SAME_AS.get(name, ())) if system.versions.get(other)]
        if not names:
            yield Problem(name, ERROR, f"{name} is not installed.", f'pip install "{name}>={least}"')
        for other in names:
            version = system.versions[other] or ""
            if _numbers(version) < _numbers(least):
                text = f"{other} is {version}, and {least} or later is needed."
                yield Problem(other, ERROR, text, f'pip install "{other}>={least}"')
    problem = problem_with_albumentations(system.versions.get)
    if problem is not None:
        subject = "albumentationsx" if system.versions.get("albumentationsx") else "albumentations"
        yield Problem(subject, WARNING, *problem)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.split("+")[0])[:3])


def _torch(system: System) -> Iterator[Problem]:
    torch, torchvision = system.versions.get("torch"), system.versions.get("torchvision")
    if system.torch.error and torch and torchvision:
        alone = system.torch.threads is None
        subject, what = ("torch", f"torch {torch}") if alone else ("torchvision", f"torchvision {torchvision}")
        yield Problem(
            subject,
            ERROR,
            f"{what} does not import{'' if alone else f' beside torch {torch}'}: {system.torch.error}.",
            "Install two that were built for each other, from one index: "
            "pip install --upgrade --force-reinstall torch torchvision",
        )
    for text in system.torch.said:
        yield Problem("torch", WARNING, f"torch warns: {text}.", "If something fails later, begin with this.")


def _device(system: System) -> Iterator[Problem]:
    torch = system.torch
    if torch.device_error:
        yield Problem("device", ERROR, torch.device_error, "Free or repair the device, or give device='cpu'.")
    if system.nvidia and torch.threads and not torch.error and not torch.devices:
        text = "torch sees no CUDA device, though there is an NVIDIA driver: all is done on the CPU."
        fix = "See what nvidia-smi prints, and CUDA_VISIBLE_DEVICES."
        if torch.cuda is None:
            fix = "This torch is built without CUDA; https://pytorch.org/get-started names others."
        yield Problem("device", NOTE, text, fix)


def _threads(system: System) -> Iterator[Problem]:
    threads, cores, wanted = system.torch.threads, system.cores, system.omp_num_threads
    if threads is None:
        return
    if threads > cores:
        text = f"torch uses {threads} threads on {cores} cores, which is slower than one on each."
        yield Problem("threads", WARNING, text, f"Set OMP_NUM_THREADS={cores}.")
    elif threads < cores and wanted == str(threads):
        text = f"torch uses {threads} of {cores} cores, as OMP_NUM_THREADS says."
        yield Problem("threads", NOTE, text, "Unset it if fits are to be faster.")


def _folders(system: System) -> Iterator[Problem]:
    if not system.cache.writable:
        text = f"{system.cache.path} cannot be written: a dataset wrapped without a bank is fitted anew each time."
        yield Problem("cache", ERROR, text, "Set VAE_AUGMENT_CACHE to a folder that can be written.")
    if system.shared_memory is not None and system.shared_memory < LEAST_SHARED_MEMORY:
        text = "workers of a DataLoader share memory there, and end with a bus error where it does not suffice."
        yield Problem("shared memory", WARNING, text, "Start the container with --shm-size=2g, or use num_workers=0.")
