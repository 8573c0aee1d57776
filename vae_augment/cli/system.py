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

EXTRAS = ("compat", "parquet", "tensorboard")  # those that are not for developers
SAME_AS = {  # distributions of the same modules
    "opencv-python-headless": ("opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "albumentations": ("albumentationsx",),
}
SHARED_MEMORY = Path("/dev/shm")
LEAST_SHARED_MEMORY = 512 * 2**20  # bytes: an ImageFolder's pixels take half of it
SEVERITIES = ERROR, WARNING, NOTE = "error", "warning", "note"  # does not work; may not; is slower than it could be
TORCH = {
    "error": "",  # why torch or torchvision cannot be imported
    "said": (),  # warnings that they gave
    "cuda": None,  # the version that torch is built for
    "threads": None,  # None: not even torch is imported
    "devices": (),  # name and bytes of memory of each of CUDA
    "places": (),  # folders where datasets are looked for by name
    "chosen": None,  # the device that "auto" stands for
    "device_error": "",  # why it cannot be used
    "bfloat16": None,  # True: larger images are trained in it there
}


class Problem(NamedTuple):
    """What is wrong, with a package, "device", "threads", "cache" or "shared memory", how badly, and what to do."""

    subject: str
    severity: str
    text: str
    fix: str


def examine() -> dict[str, Any]:
    """Look at the machine that this runs on, and change nothing on it."""
    torch = _examine_torch()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {"vae-augment": __version__, **installed()},
        "torch": torch,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "nvidia": shutil.which("nvidia-smi") is not None,
        "cache": _examine_folder(cache_folder()),
        "data": {place: Path(place).is_dir() for place in torch["places"]},
        "shared_memory": shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else None,
    }


def installed() -> dict[str, str | None]:
    """The version of each package that is used, or may be; another distribution of it goes by its own name."""
    found: dict[str, str | None] = {}
    for name in packages.requirements(*EXTRAS):
        versions = {other: packages.installed_version(other) for other in (name, *SAME_AS.get(name, ()))}
        there: dict[str, str | None] = {other: version for other, version in versions.items() if version}
        found |= there or {name: None}
    return found


def _examine_torch() -> dict[str, Any]:
    """The entries of `TORCH`, as far as it gets where something is broken."""
    found = dict(TORCH)
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)  # the others are for developers
        try:
            _ask_torch(found)
        except Exception as error:  # whatever a broken installation raises
            found["error"] = _sentence(f"{type(error).__name__}: {error}")
    return {**found, "said": list(dict.fromkeys(_sentence(str(warning.message)) for warning in given))}


def _sentence(text: str) -> str:
    return one_line(text, 300).rstrip(".")  # a full stop is put behind it


def _ask_torch(found: dict[str, Any]) -> None:
    torch = import_module("torch")
    found |= {"cuda": torch.version.cuda, "threads": torch.get_num_threads()}
    import_module("torchvision")
    from vae_augment.data import places
    from vae_augment.model.devices import choose_device, computes_bfloat16

    properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    found["devices"] = [{"name": each.name, "memory": each.total_memory} for each in properties]
    found["places"] = list(map(str, places()))
    try:
        device = choose_device("auto")
        found |= {"chosen": device.type, "bfloat16": computes_bfloat16(device)}
    except ValueError as error:
        found["device_error"] = str(error)


def _examine_folder(folder: Path) -> dict[str, Any]:
    files = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
    size, writable = 0, False
    for file in files:
        with suppress(OSError):  # another process may remove some
            size += file.lstat().st_size
    with suppress(OSError):
        check_writable(folder)
        writable = True
    banks = sum(file.suffix == ".safetensors" for file in files)
    return {"path": str(folder), "bytes": size, "banks": banks, "writable": writable}


def diagnose(facts: dict[str, Any]) -> list[Problem]:
    """All that is wrong, the worst first."""
    found = [*_of_packages(facts["versions"]), *_of_torch(facts), *_of_resources(facts)]
    return sorted(found, key=lambda problem: SEVERITIES.index(problem.severity))


def _of_packages(versions: dict[str, str | None]) -> Iterator[Problem]:
    needed = packages.requirements()
    for name, requirement in needed.items():
        there = {other: versions.get(other) for other in (name, *SAME_AS.get(name, ())) if versions.get(other)}
        for other, version in (there or {name: None}).items():
            wanted = packages.with_versions(requirement, other)
            if name == "albumentations" or (version and packages.is_met(requirement, version)):
                continue  # albumentations: only the adapter needs it
            text = f"{other} is {version}, and {wanted} is needed." if version else f"{name} is not installed."
            yield Problem(other, ERROR, text, f'pip install "{wanted}"')
    if not needed:
        text = "vae-augment is not installed: which packages it needs is not known."
        yield Problem("vae-augment", WARNING, text, "Install the folder that it runs from: pip install FOLDER")
    problem = packages.problem_with_albumentations(versions.get)
    if problem is not None:
        yield Problem("albumentationsx" if versions.get("albumentationsx") else "albumentations", WARNING, *problem)


def _of_torch(facts: dict[str, Any]) -> Iterator[Problem]:
    torch, versions = facts["torch"], facts["versions"]
    if torch["error"] and versions.get("torch") and versions.get("torchvision"):
        name, beside = (
            ("torch", "") if torch["threads"] is None else ("torchvision", f" beside torch {versions['torch']}")
        )
        text = f"{name} {versions[name]} does not import{beside}: {torch['error']}."
        fix = "pip install --upgrade --force-reinstall torch torchvision"
        yield Problem(name, ERROR, text, f"Install two that were built for each other, from one index: {fix}")
    for said in torch["said"]:
        yield Problem("torch", WARNING, f"torch warns: {said}.", "If something fails later, begin with this.")
    if torch["device_error"]:
        yield Problem("device", ERROR, torch["device_error"], "Free or repair the device, or give device='cpu'.")
    if facts["nvidia"] and torch["threads"] and not torch["error"] and not torch["devices"]:
        text = "torch sees no CUDA device, though there is an NVIDIA driver: all is done on the CPU."
        fix = "See what nvidia-smi prints, and CUDA_VISIBLE_DEVICES."
        if torch["cuda"] is None:
            fix = "This torch is built without CUDA; https://pytorch.org/get-started names others."
        yield Problem("device", NOTE, text, fix)


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
