"""vae-augment doctor."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import click

from vae_augment.cli.exit_codes import WORK_FAILED

COLOURS = {"error": "red", "warning": "yellow", "note": None}
BFLOAT16 = {None: "not known", True: "larger images are trained in it", False: "not used"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the same as JSON.")
def doctor(as_json: bool) -> None:
    """Say what is installed here, and what is wrong with it."""
    from tabulate import tabulate

    from vae_augment.cli import system

    facts = system.examine()
    problems = system.diagnose(facts)
    works = all(problem.severity != system.ERROR for problem in problems)
    if as_json:
        found = {"works": works, "problems": [problem._asdict() for problem in problems], **facts}
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
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
    """The name of each thing, and what is said of it."""
    torch, cache = facts["torch"], facts["cache"]
    yield from (("Python", facts["python"]), ("platform", facts["platform"]))
    yield from ((name, version or "not installed") for name, version in facts["versions"].items())
    yield "", ""
    built = f"torch is built for CUDA {torch['cuda']}" if torch["cuda"] else "torch is built without CUDA"
    known = torch["threads"] is not None
    yield "device", f"{torch['chosen'] or 'not usable'}; {built}" if known else "not known"
    yield from (("", f"cuda:{i}: {each['name']}, {_size(each['memory'])}") for i, each in enumerate(torch["devices"]))
    yield "bfloat16", BFLOAT16[torch["bfloat16"]]
    omp = "is not set" if facts["omp_num_threads"] is None else f"= {facts['omp_num_threads']}"
    threads = torch["threads"] if known else "not known"
    yield "threads", f"{threads} in torch, {facts['cores']} cores, OMP_NUM_THREADS {omp}"
    if facts["shared_memory"] is not None:
        yield "shared memory", f"{_size(facts['shared_memory'])} free"
    banks, writable = cache["banks"], "can be written" if cache["writable"] else "cannot be written"
    yield "cache", f"{cache['path']}: {banks} bank{'s' * (banks != 1)}, {_size(cache['bytes'])}, {writable}"
    for i, (place, there) in enumerate((facts["data"] or {"not known": True}).items()):
        yield "" if i else "data", place if there else f"{place} (not there)"


def _size(count: float) -> str:
    """Bytes in the unit that suits."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
