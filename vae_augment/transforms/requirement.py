"""Which albumentations the adapter runs with, told from what is installed: importing one would run it."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import metadata

WANTED = 'pip install "albumentations>=2.0.8,<2.1"'


def installed_version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def problem_with_albumentations(version_of: Callable[[str], str | None] = installed_version) -> tuple[str, str] | None:
    """What is wrong with the albumentations installed, and what to do; None if the adapter runs with it.

    Args:
        version_of: the version of a distribution, None if it is not installed.
    """
    if version_of("albumentationsx") is not None:
        problem = (
            "VAEJitter does not run with albumentationsx, which is installed: it is AGPL-licensed, shares the import "
            "name of albumentations and works differently."
        )
        return problem, f"pip uninstall albumentationsx albumentations; {WANTED}"
    version = version_of("albumentations")
    if version is None:
        return "VAEJitter needs albumentations, which is not installed.", WANTED
    numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:3])
    if not (2, 0, 8) <= numbers < (2, 1):
        return f"VAEJitter needs albumentations 2.0.8 or later below 2.1, got {version}.", WANTED
    return None
