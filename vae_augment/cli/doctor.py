"""vae-augment doctor."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from vae_augment.cli.exit_codes import WORK_FAILED

if TYPE_CHECKING:
    from vae_augment.cli.diagnosis import Problem
    from vae_augment.cli.system import System

COLOURS = {"error": "red", "warning": "yellow", "note": None}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the same as JSON.")
def doctor(as_json: bool) -> None:
    """Say what is installed here, and what is wrong with it."""
    from vae_augment.cli.diagnosis import ERROR, diagnose
    from vae_augment.cli.system import examine

    system = examine()
    problems = diagnose(system)
    works = all(problem.severity != ERROR for problem in problems)
    if as_json:
        found = {"works": works, "problems": [asdict(problem) for problem in problems], **asdict(system)}
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        click.echo(_table(system, problems))
        for problem in problems:
            click.secho(f"\n{problem.severity}: {problem.text}", fg=COLOURS[problem.severity])
            click.echo(f"    {problem.fix}")
        click.echo("\nAll is well." if not problems else "\nIt works." if works else "\nIt does not work as it is.")
    if not works:
        sys.exit(WORK_FAILED)


def _table(system: System, problems: list[Problem]) -> str:
    """A row for each thing, marked where a problem is with it."""
    from tabulate import tabulate

    marks = {problem.subject: problem.severity for problem in reversed(problems)}  # the worst remains
    rows = [("Python", system.python), ("platform", system.platform)]
    rows += [(name, version or "not installed") for name, version in system.versions.items()]
    rows += [("", ""), *_machine(system), *_folders(system)]
    return tabulate(
        [(marks.get(name, ""), name, value) for name, value in rows], tablefmt="plain", disable_numparse=True
    )


def _machine(system: System) -> list[tuple[str, str]]:
    torch = system.torch
    built = f"torch is built for CUDA {torch.cuda}" if torch.cuda else "torch is built without CUDA"
    bfloat16 = {None: "not known", True: "larger images are trained in it", False: "not used"}[torch.bfloat16]
    rows = [("device", "not known" if torch.threads is None else f"{torch.chosen or 'not usable'}; {built}")]
    rows += [("", f"cuda:{i}: {each.name}, {_size(each.memory)}") for i, each in enumerate(torch.devices)]
    rows.append(("bfloat16", bfloat16))
    omp = "is not set" if system.omp_num_threads is None else f"= {system.omp_num_threads}"
    threads = "not known" if torch.threads is None else torch.threads
    rows.append(("threads", f"{threads} in torch, {system.cores} cores, OMP_NUM_THREADS {omp}"))
    if system.shared_memory is not None:
        rows.append(("shared memory", f"{_size(system.shared_memory)} free"))
    return rows


def _folders(system: System) -> list[tuple[str, str]]:
    cache = system.cache
    writable = "can be written" if cache.writable else "cannot be written"
    rows = [("cache", f"{cache.path}: {cache.banks} bank{'s' * (cache.banks != 1)}, {_size(cache.bytes)}, {writable}")]
    for place, there in system.data.items() or {"not known": True}.items():
        rows.append(("data" if len(rows) == 1 else "", place if there else f"{place} (not there)"))
    return rows


def _size(count: float) -> str:
    """Bytes in the unit that suits."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
