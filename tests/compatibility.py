"""Make docs/compatibility.md from the report of the tests that record what a wrapped dataset works with.

    python -m pytest --junitxml=report.xml tests/wrapper
    python -m tests.compatibility report.xml docs/compatibility.md

`make compatibility` does both. Exits with 1 if a test failed.
"""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from xml.etree import ElementTree

WORKS, NOT_INSTALLED, FAILS = "works", "not installed", "fails"
VERDICTS = [WORKS, NOT_INSTALLED, FAILS]  # of tests that share a row, the worst
PAGE = """# Compatibility

What `VAEAugmentedDataset` and the transforms were run with. A row is one of the [examples](../examples), or tests, most
of which compare whole batches, bit for bit, with the items that they must hold. `make compatibility` runs them and
writes this page.

With {versions}. Start methods are those of the
DataLoader's workers; "no workers" is `num_workers=0`.

A limit of Accelerate, seen in 1.10 to 1.15: in several processes with `use_seedable_sampler=True`, which is the default
of transformers' Trainer, the epoch reaches the sampler and not the dataset. There, call `set_epoch` on a dataset with a
seed yourself.

{table}
"""
COLUMNS = ["library", "version", "what was run", "start methods", "verdict"]


def rows(report: Path) -> list[list[str]]:
    """The table's rows, sorted, one for each thing that was run with a library."""
    found: dict[tuple[str, str], tuple[set[str], str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        for entry in case.iterfind("properties/property[@name='compatibility']"):
            row = json.loads(entry.attrib["value"])
            methods, worst = found.setdefault((row["library"], row["what"]), (set(), WORKS))
            methods.update(row["start_methods"] or ["no workers"])
            found[row["library"], row["what"]] = methods, max(worst, verdict(case), key=VERDICTS.index)
    return [
        [library, version_of(library), what, ", ".join(sorted(methods)), worst]
        for (library, what), (methods, worst) in sorted(found.items())
    ]


def verdict(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return FAILS
    return WORKS if case.find("skipped") is None else NOT_INSTALLED


def version_of(library: str) -> str:
    """Of the distribution that the library's name begins with."""
    try:
        return version(library.split()[0])
    except PackageNotFoundError:
        return "-"


def main(report: str, page: str) -> int:
    table = rows(Path(report))
    lines = [COLUMNS, ["---"] * len(COLUMNS), *table]
    versions = f"Python {platform.python_version()}, torch {version('torch')} and torchvision {version('torchvision')}"
    Path(page).write_text(
        PAGE.format(versions=versions, table="\n".join(f"| {' | '.join(line)} |" for line in lines)), encoding="utf-8"
    )
    failed = [case.get("name") for case in ElementTree.parse(report).iter("testcase") if verdict(case) == FAILS]
    print(f"{page}: {len(table)} rows, {len(failed)} failed tests", *failed, sep="\n  ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
