"""vae-augment doctor."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click

from vae_augment.cli.exit_codes import WORK_FAILED
from vae_augment.cli.messages import counted
from vae_augment.cli.results import show, wanted_as_json

COLOURS = {"error": "red", "warning": "yellow", "note": None}


@click.command()
def doctor() -> None:
    """Say what is installed here, and what is wrong with it."""
    from tabulate import tabulate

    from vae_augment.cli import system

    facts = system.examine()
    problems = system.diagnose(facts)
    works = all(problem.severity != system.ERROR for problem in problems)
    if wanted_as_json():
        show("", {"works": works, "problems": [problem._asdict() for problem in problems], **facts})
    else:
        marks = {problem.subject: problem.severity for problem in reversed(problems)}  # the worst remains
        rows = [(marks.get(name, ""), name, value) for name, value in _rows(facts)]
        click.echo(tabulate(rows, tablefmt="plain", disable_numparse=True))
        for problem in problems:
            click.secho(f"\n{problem.severity}: {problem.text}", fg=COLOURS[problem.severity])
            click.echo(f"    {problem.fix}")
        click.echo("\nAll is well." if not problems else "\nIt works." if works else "\nIt does not work as it is.")
    if not works:
        sys.exit(WORK_FAILED)


def _rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and facts, a row each."""
    torch, cache = facts["torch"], facts["cache"]
    known = torch["threads"] is not None
    yield from (("Python", facts["python"]), ("platform", facts["platform"]))
    yield from ((name, version or "not installed") for name, version in facts["versions"].items())
    built = f"torch is built for CUDA {torch['cuda']}" if torch["cuda"] else "torch is built without CUDA"
    yield from (("", ""), ("device", f"{torch['chosen'] or 'not usable'}; {built}" if known else "not known"))
    yield from (
        ("", f"cuda:{i}: {each['name']}, {each['memory'] / 1e9:.1f} GB") for i, each in enumerate(torch["devices"])
    )
    omp = "is not set" if facts["omp_num_threads"] is None else f"= {facts['omp_num_threads']}"
    threads = torch["threads"] if known else "not known"
    yield "threads", f"{threads} in torch, {facts['cores']} cores, OMP_NUM_THREADS {omp}"
    if facts["shared_memory"] is not None:
        yield "shared memory", f"{facts['shared_memory'] / 1e9:.1f} GB free"
    writable = "can be written" if cache["writable"] else "cannot be written"
    yield "cache", f"{cache['path']}: {counted(cache['banks'], 'bank')}, {writable}"
    for i, (place, there) in enumerate((facts["data"] or {"not known": True}).items()):
        yield "" if i else "data", place if there else f"{place} (not there)"
