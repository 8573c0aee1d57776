"""pyarrow over bytes that anyone may have written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def pyarrow(path: Path) -> Any:
    try:
        import pyarrow
    except ImportError:
        raise ValueError(f"{path} needs pyarrow: pip install 'vae-augment[parquet]'.") from None
    return pyarrow


@contextmanager
def told(said: str) -> Iterator[None]:
    """Whatever pyarrow raises, as a ValueError that begins with `said`."""
    try:
        yield
    except Exception as error:  # ArrowInvalid, OSError without a number, NotImplementedError, ...
        if isinstance(error, OSError) and error.errno is not None:
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"{said}: {first.rstrip('.')}.") from None


def validated(table: Any) -> Any:
    """A table whose offsets have been looked at: they may lead anywhere."""
    table.validate(full=True)
    return table
