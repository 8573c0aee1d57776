"""docs/reliability.md: what was tried to break files, how often, and what was lost."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

COLUMNS = ["fault", "what was tried", "how often", "what was lost"]
PAGE = """# Reliability

What was tried to break files, and what was lost. `make faults` runs it and writes this page; a shorter form is in
`make test` (tests/faults).

{table}

A trial of `kill -9` is one run, killed at an instant drawn evenly from its first file to its end, in 3 of 10 trials
once more while it resumes, then resumed to its end; where there are fewer kills than that, a run had just ended. Equal
means byte for byte: the bank and its contact sheet, or every PNG, the manifest and classes.json, and no other file. A
finished part is a class of a fit, or an image. In the other rows, too, the run was then resumed, or done again, without
the fault, and what it wrote was compared with that of a run that nobody disturbed.
"""


def record(record_property, *, fault, tried, times, lost="nothing"):
    """Store a row with the test's own result; a failed test puts that in place of `lost`. Call it last, or first.

    Args:
        record_property: pytest's fixture.
        fault: what goes wrong.
        tried: what was running. Tests that record the same words share a row.
        times: how often.
        lost: what was.
    """
    record_property("fault", json.dumps({"fault": fault, "tried": tried, "times": times, "lost": lost}))


def rows(report: Path) -> list[list[str]]:
    """The rows that tests have recorded in a JUnit report, in its order."""
    found: dict[tuple[str, str], tuple[int, set[str]]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        failed = case.find("failure") is not None or case.find("error") is not None
        for entry in case.iterfind("properties/property[@name='fault']"):
            row = json.loads(entry.attrib["value"])
            times, lost = found.setdefault((row["fault"], row["tried"]), (0, set()))
            found[row["fault"], row["tried"]] = (
                times + row["times"],
                lost | {"a test failed" if failed else row["lost"]},
            )
    return [
        [*key, "once" if times == 1 else f"{times} times", "; ".join(sorted(lost))]
        for key, (times, lost) in found.items()
    ]


def written(table: Iterable[list[str]]) -> str:
    """The page."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *table]
    return PAGE.format(table="\n".join(f"| {' | '.join(line)} |" for line in lines))
