"""Laws of files made to do harm, shared by their tests."""

from __future__ import annotations

import os
import warnings

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "40"))  # of each law; thousands for a long look
LAW = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def loaded_or_refused(load, path):
    """What a file holds; None if it is refused, by a message that names it and is not long. Nothing is warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return load(path)
        except ValueError as error:
            message = str(error)
    assert message
    assert path.name in message
    assert len(message) < 2000
    return None
