"""Required and installed versions of packages, read from metadata, so that no package is imported and run."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version


def installed_version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def requirements(*extras: str) -> dict[str, Requirement]:
    """Requirements of this package and of some of its extras by distribution; {} if it is not installed."""
    try:
        found = map(Requirement, metadata.requires("vae-augment") or ())
    except metadata.PackageNotFoundError:
        return {}
    wanted = [{"extra": extra} for extra in ("", *extras)]
    return {each.name: each for each in found if not each.marker or any(map(each.marker.evaluate, wanted))}


def is_met(requirement: Requirement, version: str) -> bool:
    """Say if a version will do or is unreadable. A pre-release counts as its release: NVIDIA's torch is 2.6.0a0."""
    try:
        return requirement.specifier.contains(Version(version).base_version)
    except InvalidVersion:
        return True


def with_versions(requirement: Requirement, name: str | None = None) -> str:
    """Requirement as pip takes it, the least version first; `name` is that of another distribution of the same."""
    return (name or requirement.name) + ",".join(sorted(map(str, requirement.specifier), reverse=True))


def problem_with_albumentations(version_of: Callable[[str], str | None] = installed_version) -> tuple[str, str] | None:
    """Problem with the installed albumentations, and its fix; None if the adapter runs with it.

    Args:
        version_of: function from a distribution to its version; None if it is not installed.
    """
    requirement = requirements().get("albumentations", Requirement("albumentations"))
    wanted = with_versions(requirement)
    install = f'pip install "{wanted}"'
    if version_of("albumentationsx") is not None:
        problem = (
            "VAEJitter does not run with albumentationsx, which is installed: it is AGPL-licensed, shares the import "
            "name of albumentations and works differently."
        )
        return problem, f"pip uninstall albumentationsx albumentations; {install}"
    version = version_of("albumentations")
    if version is None:
        return "VAEJitter needs albumentations, which is not installed.", install
    return None if is_met(requirement, version) else (f"VAEJitter needs {wanted}, got {version}.", install)
