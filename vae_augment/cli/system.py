"""Facts about this machine, and problems with it. Torch need not work for them to be told."""

from __future__ import annotations

import os
import platform
import shutil
import warnings
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from vae_augment import __version__
from vae_augment.files.writing import cache_folder, check_writable
from vae_augment.printable import one_line
from vae_augment.transforms import requirement as packages

EXTRAS = ("report", "parquet", "tensorboard", "timm", "compat")  # the extras for users
BROUGHT = ("jinja2", "opencv-python-headless", "pyyaml", "scipy")  # used, and brought by torch and albumentations
SHARED_MEMORY = Path("/dev/shm")
LEAST_SHARED_MEMORY = 512 * 2**20  # bytes: an ImageFolder's pixels take half of it
SEVERITIES = ERROR, WARNING, NOTE = "error", "warning", "note"  # does not work; may not; is slower than it could be
TORCH: dict[str, Any] = {
    "error": "",  # why torch or torchvision cannot be imported
    "said": (),  # their warnings
    "cuda": None,  # the version that torch is built for
    "threads": None,  # None: not even torch is imported
    "devices": (),  # name and bytes of memory of each CUDA device
    "places": (),  # folders where datasets are looked for by name
    "chosen": None,  # the device that "auto" stands for
    "device_error": "",  # why it cannot be used
}


class Problem(NamedTuple):
    """A problem with a package, "device", "threads", "cache" or "shared memory", and what to do about it."""

    subject: str
    severity: str
    text: str
    fix: str


def examine() -> dict[str, Any]:
    """Facts about this machine, which is left as it is."""
    torch, folder, writable = _examine_torch(), cache_folder(), False
    banks = sum(name.endswith(".safetensors") for *_, names in os.walk(folder) for name in names)
    with suppress(OSError):
        check_writable(folder)
        writable = True
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {"vae-augment": __version__, **installed()},
        "torch": torch,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "nvidia": shutil.which("nvidia-smi") is not None,
        "cache": {"path": str(folder), "banks": banks, "writable": writable},
        "data": {place: Path(place).is_dir() for place in torch["places"]},
        "shared_memory": shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else None,
    }


def installed() -> dict[str, str | None]:
    """The version of each package that is used, or may be; of albumentationsx, which is in the way, if it is there."""
    names = [*packages.requirements(*EXTRAS), *BROUGHT, "albumentationsx"]
    found = {name: packages.installed_version(name) for name in names}
    return {name: version for name, version in found.items() if version or name != "albumentationsx"}


def _examine_torch() -> dict[str, Any]:
    """Entries of `TORCH`; where something is broken, those behind it keep their values there."""
    found = dict(TORCH)
    with warnings.catch_warnings(record=True, action="always", category=UserWarning) as given:
        try:
            torch = import_module("torch")
            found |= {"cuda": torch.version.cuda, "threads": torch.get_num_threads()}
            import_module("torchvision")
            from vae_augment.data import places
            from vae_augment.model.devices import choose_device

            properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
            found["devices"] = [{"name": each.name, "memory": each.total_memory} for each in properties]
            found["places"] = list(map(str, places()))
            try:
                found["chosen"] = choose_device("auto").type
            except ValueError as error:
                found["device_error"] = str(error)
        except Exception as error:  # whatever a broken installation raises
            found["error"] = one_line(f"{type(error).__name__}: {error}", 300).rstrip(".")
    said = [str(warning.message) for warning in given if issubclass(warning.category, UserWarning)]
    return {**found, "said": list(dict.fromkeys(one_line(text, 300).rstrip(".") for text in said))}


def diagnose(facts: dict[str, Any]) -> list[Problem]:
    """All problems, the worst first."""
    found = [*_of_packages(facts["versions"]), *_of_torch(facts), *_of_resources(facts)]
    return sorted(found, key=lambda problem: SEVERITIES.index(problem.severity))


def _of_packages(versions: dict[str, str | None]) -> Iterator[Problem]:
    needed = packages.requirements()
    for name, requirement in needed.items():
        version, wanted = versions.get(name), packages.with_versions(requirement)
        if name == "albumentations" or (version and packages.is_met(requirement, version)):
            continue  # albumentations: only the adapter needs it
        text = f"{name} is {version}, and {wanted} is needed." if version else f"{name} is not installed."
        yield Problem(name, ERROR, text, f'pip install "{wanted}"')
    for name in BROUGHT:
        if not versions.get(name):
            yield Problem(name, ERROR, f"{name} is not installed.", f'pip install "{name}"')
    if not needed:
        text = "vae-augment is not installed: which packages it needs is not known."
        yield Problem("vae-augment", WARNING, text, "Install the folder that it runs from: pip install FOLDER")
    problem = packages.problem_with_albumentations(versions.get)
    if problem is not None:
        yield Problem("albumentationsx" if versions.get("albumentationsx") else "albumentations", WARNING, *problem)


def _of_torch(facts: dict[str, Any]) -> Iterator[Problem]:
    torch, versions = facts["torch"], facts["versions"]
    if torch["error"] and versions.get("torch") and versions.get("torchvision"):
        name = "torch" if torch["threads"] is None else "torchvision"
        beside = f" beside torch {versions['torch']}" if name == "torchvision" else ""
        text = f"{name} {versions[name]} does not import{beside}: {torch['error']}."
        fix = "pip install --upgrade --force-reinstall torch torchvision"
        yield Problem(name, ERROR, text, f"Install two that were built for each other, from one index: {fix}")
    for said in torch["said"]:
        yield Problem("torch", WARNING, f"torch warns: {said}.", "If something fails later, begin with this.")
    if torch["device_error"]:
        yield Problem("device", ERROR, torch["device_error"], "Free or repair the device, or give device='cpu'.")
    if facts["nvidia"] and torch["threads"] and not torch["error"] and not torch["devices"]:
        text = "torch sees no CUDA device, though there is an NVIDIA driver: all is done on the CPU."
        without = "This torch is built without CUDA; https://pytorch.org/get-started names others."
        seen = "See what nvidia-smi prints, and CUDA_VISIBLE_DEVICES."
        yield Problem("device", NOTE, text, seen if torch["cuda"] else without)


def _of_resources(facts: dict[str, Any]) -> Iterator[Problem]:
    threads, cores = facts["torch"]["threads"] or facts["cores"], facts["cores"]
    if threads > cores:
        text = f"torch uses {threads} threads on {cores} cores, which is slower than one on each."
        yield Problem("threads", WARNING, text, f"Set OMP_NUM_THREADS={cores}.")
    elif threads < cores and facts["omp_num_threads"] == str(threads):
        text = f"torch uses {threads} of {cores} cores, as OMP_NUM_THREADS says."
        yield Problem("threads", NOTE, text, "Unset it if fits are to be faster.")
    if not facts["cache"]["writable"]:
        text = f"{facts['cache']['path']} cannot be written: a dataset wrapped without a bank is fitted anew each time."
        yield Problem("cache", ERROR, text, "Set VAE_AUGMENT_CACHE to a folder that can be written.")
    if facts["shared_memory"] is not None and facts["shared_memory"] < LEAST_SHARED_MEMORY:
        text = "workers of a DataLoader share memory there, and end with a bus error where it does not suffice."
        fix = "Start the container with --shm-size=2g, or use num_workers=0."
        yield Problem("shared memory", WARNING, text, fix)
