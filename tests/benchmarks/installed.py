"""Size of what an installation holds: the core, and what each extra adds to it.

    python -m tests.benchmarks.installed

Files of the distributions that are installed here, by the requirements in their metadata. CUDA's are told apart: a
PyTorch for the CPU alone does without them.
"""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tabulate import tabulate

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
CUDA = ("nvidia-", "cuda-", "triton")  # what the names of its distributions begin with


def needed(requirements: list[str], known: frozenset[str] = frozenset()) -> set[str]:
    """Names of the distributions that requirements bring, with those that these bring, without known ones."""
    found: set[str] = set()
    left = [Requirement(each) for each in requirements]
    while left:
        wanted = left.pop()
        name = canonicalize_name(wanted.name)
        if name in found | known or name == "vae-augment":
            continue
        found.add(name)
        for each in map(Requirement, metadata.requires(name) or ()):
            if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
                left.append(each)
    return found


def megabytes(names: set[str]) -> float:
    files = (path for name in names for path in metadata.files(name) or ())
    return sum(path.locate().stat().st_size for path in files if path.locate().is_file()) / 1e6


def main() -> None:
    core = needed(PROJECT["dependencies"])
    cuda = {name for name in core if name.startswith(CUDA)}
    rows = [
        ["core, with CUDA", len(core), megabytes(core)],
        ["core without CUDA's own packages", len(core - cuda), megabytes(core - cuda)],
    ]
    for extra, requirements in PROJECT["optional-dependencies"].items():
        if extra not in ("all", "bench", "check", "compat", "test"):
            added = needed(requirements, frozenset(core))
            rows.append([f"[{extra}]", len(added), megabytes(added)])
    print(tabulate(rows, ["", "packages", "MB"], floatfmt=".0f", tablefmt="github"))


if __name__ == "__main__":
    main()
