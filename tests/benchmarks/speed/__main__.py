"""Run the speed benchmarks and make docs/performance.md of what they say.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.speed [--only NAME ...] [--short] [--table]

--short measures less, of the images inside the package where it can, and writes nothing. --table makes the page from
docs/results/speed-*.json and runs nothing.
"""

from __future__ import annotations

import argparse
import importlib
import json

from tests.benchmarks.speed.measured import ROOT, machine
from tests.benchmarks.speed.page import SECTIONS, page

RESULTS = ROOT / "docs" / "results"
# as the page has them, and in the short form
PARTS = (
    "against_peer",
    "training",
    "schedules",
    "precision",
    "scaling",
    "generating",
    "serving",
    "starting",
    "accelerator",
)
SHORT = ("training", "generating", "starting", "accelerator")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=PARTS, default=None)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    for name in () if options.table else options.only or (SHORT if options.short else PARTS):
        measured = importlib.import_module(f"tests.benchmarks.speed.{name}").measure(options.short)
        result = {"machine": machine(), **measured}
        text = json.dumps(result, indent=1)
        if options.short:
            print(name, text, flush=True)
        else:
            (RESULTS / f"speed-{name.replace('_', '-')}.json").write_text(text + "\n")
            print(SECTIONS[name](result), flush=True)
    if not options.short:
        known = {name: RESULTS / f"speed-{name.replace('_', '-')}.json" for name in PARTS}
        results = {name: json.loads(path.read_text()) for name, path in known.items() if path.exists()}
        (ROOT / "docs" / "performance.md").write_text(page(results))


if __name__ == "__main__":
    main()
