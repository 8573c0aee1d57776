"""What there is on this machine: versions, devices, threads, folders. Torch need not work for it to be told."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import textwrap
import warnings
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from vae_augment import __version__
from vae_augment.files.writing import cache_folder
from vae_augment.transforms.requirement import installed_version

NEEDED = {  # the least versions that pyproject.toml asks for
    "torch": "2.6",
    "torchvision": "0.21",
    "numpy": "1.26",
    "pillow": "10.1",
    "safetensors": "0.5",
    "tqdm": "4.66",
    "scipy": "1.11",
    "matplotlib": "3.8",
    "opencv-python-headless": "4.9",
    "albumentations": "2.0.8",
    "click": "8.1",
    "filelock": "3.13",
    "jinja2": "3.1",
    "scikit-learn": "1.4",
    "tabulate": "0.9",
    "threadpoolctl": "3.1",
    "platformdirs": "4.0",
}
OPTIONAL = ("datasets", "pyarrow", "tensorboard", "medmnist", "timm", "lightning", "accelerate", "transformers")
SAME_AS = {  # distributions of the same modules
    "opencv-python-headless": ("opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "albumentations": ("albumentationsx",),
}
SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Device:
    """A CUDA device: its name, and its memory in bytes."""

    name: str
    memory: int


@dataclass(frozen=True)
class Torch:
    """What torch and torchvision say once they are imported.

    Args:
        error: why they cannot be imported, "" if they can; what comes behind it is then not known.
        said: warnings that they gave.
        cuda: the version of CUDA that torch was built for.
        threads: that torch uses.
        places: folders where datasets are looked for by name.
        devices: those of CUDA.
        chosen: the device that "auto" stands for.
        device_error: why it cannot be used, "" if it can.
        bfloat16: whether larger images are trained in it there.
    """

    error: str = ""
    said: tuple[str, ...] = ()
    cuda: str | None = None
    threads: int | None = None
    places: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    chosen: str | None = None
    device_error: str = ""
    bfloat16: bool | None = None


@dataclass(frozen=True)
class Folder:
    """A folder of files: the bytes in it, the banks among them, and whether it can be written or made."""

    path: str
    bytes: int
    banks: int
    writable: bool


@dataclass(frozen=True)
class System:
    """What there is.

    Args:
        python: its version.
        platform: the operating system and processor.
        versions: of packages by distribution; None of those that are not installed.
        torch: what torch says.
        cores: that this process may use.
        omp_num_threads: the environment variable.
        nvidia: whether there is an NVIDIA driver.
        cache: where banks are kept.
        data: folders where datasets are looked for by name, and whether there are such.
        shared_memory: free bytes, None where there is no such folder.
    """

    python: str
    platform: str
    versions: dict[str, str | None]
    torch: Torch
    cores: int
    omp_num_threads: str | None
    nvidia: bool
    cache: Folder
    data: dict[str, bool]
    shared_memory: int | None


def examine() -> System:
    """Look at the machine that this runs on. Nothing is changed on it."""
    torch = _examine_torch()
    return System(
        python=platform.python_version(),
        platform=platform.platform(),
        versions={"vae-augment": __version__, **installed()},
        torch=torch,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        omp_num_threads=os.environ.get("OMP_NUM_THREADS"),
        nvidia=shutil.which("nvidia-smi") is not None,
        cache=_examine_folder(cache_folder()),
        data={place: Path(place).is_dir() for place in torch.places},
        shared_memory=shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else None,
    )


def installed() -> dict[str, str | None]:
    """The version of each package that is used, or may be; another distribution of it goes by its own name."""
    found: dict[str, str | None] = {}
    for name in (*NEEDED, *OPTIONAL):
        there = [other for other in (name, *SAME_AS.get(name, ())) if installed_version(other) is not None]
        found |= {other: installed_version(other) for other in there or [name]}
    return found


def _examine_torch() -> Torch:
    """What torch says; as far as it gets, where something is broken."""
    found: dict[str, Any] = {}
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)  # the others are for developers
        try:
            _ask_torch(found)
        except Exception as error:  # whatever a broken installation raises
            found["error"] = _one_line(f"{type(error).__name__}: {error}")
    said = dict.fromkeys(_one_line(str(warning.message)) for warning in given)
    return Torch(**found, said=tuple(said))


def _one_line(text: str) -> str:
    return textwrap.shorten(text, 300, placeholder=" ...").rstrip(".")


def _ask_torch(found: dict[str, Any]) -> None:
    torch = import_module("torch")
    found |= {"cuda": torch.version.cuda, "threads": torch.get_num_threads()}
    import_module("torchvision")
    from vae_augment.data import places
    from vae_augment.model.devices import choose_device, computes_bfloat16

    found["places"] = tuple(map(str, places()))
    properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    found["devices"] = tuple(Device(each.name, each.total_memory) for each in properties)
    try:
        device = choose_device("auto")
    except ValueError as error:
        found["device_error"] = str(error)
    else:
        found |= {"chosen": device.type, "bfloat16": computes_bfloat16(device)}


def _examine_folder(folder: Path) -> Folder:
    files = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
    size = 0
    for file in files:
        with suppress(OSError):  # another process may remove some
            size += file.lstat().st_size
    return Folder(str(folder), size, sum(file.suffix == ".safetensors" for file in files), _is_writable(folder))


def _is_writable(folder: Path) -> bool:
    """Whether a file can be made there, or while there is no such folder, in the one that it would be made in."""
    try:
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(b"x")
    except OSError:
        return False
    return True
