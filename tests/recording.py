"""What a test proves for the table of libraries that a wrapped dataset works with, docs/compatibility.md."""

from __future__ import annotations

import json


def record(record_property, *, library, what, start_methods=()):
    """Store a row of the table with the test's own result, which is its verdict. Call it before anything can fail.

    Args:
        record_property: pytest's fixture.
        library: its name on PyPI, or a phrase that begins with it ("torch DataLoader").
        what: what the test runs, in a few words. Tests that record the same words share a row.
        start_methods: how the DataLoader's workers are started; none: no workers.
    """
    row = {"library": library, "what": what, "start_methods": list(start_methods)}
    record_property("compatibility", json.dumps(row))
