"""Downloads of torchvision datasets in a process of their own, so that one that hangs can be ended."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from vae_augment.processes import end_with

DEFAULT_TIMEOUT = 300.0  # seconds, for the whole download
STALL_TIMEOUT = 20.0  # seconds without a byte until the next mirror is tried
HERE = f"import sys; from {__name__} import download_here; download_here(*sys.argv[1:])"


def download(class_name: str, options: dict[str, Any], root: Path, timeout: float = DEFAULT_TIMEOUT) -> None:
    """Have torchvision download a dataset into `root`.

    Raises:
        ConnectionError: it failed, or took longer than `timeout` seconds.
    """
    command = [sys.executable, "-c", HERE, class_name, json.dumps(options), str(root)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise ConnectionError(f"the download did not end within {timeout:g} seconds") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ConnectionError(lines[-1] if lines else f"the download failed with exit code {done.returncode}")


def download_here(class_name: str, options: str, root: str) -> None:
    """Have torchvision download a dataset in this process; `options` is JSON."""
    import torchvision

    end_with(os.getppid())
    socket.setdefaulttimeout(STALL_TIMEOUT)
    getattr(torchvision.datasets, class_name)(root, download=True, **json.loads(options))
