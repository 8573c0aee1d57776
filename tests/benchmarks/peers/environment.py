"""The peers' virtual environment, and the call that makes a peer's images in it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

METHODS = ("pythae-normal", "pythae-gmm", "pyraug-rhvae", "smote", "deepsmote")
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
WORKER = Path(__file__).resolve().with_name("worker.py")


@dataclass(frozen=True)
class PeerResult:
    """What a peer made: uint8 [M, C, H, W] in label order, int64 [M], and the seconds it took to fit and draw them."""

    images: Tensor
    labels: Tensor
    seconds: float


def peer_python(folder: Path = Path(".venv-peers")) -> Path:
    """The interpreter of the environment at `folder`, which is made first where it is not there yet (6 GB).

    The marker is written last and holds the requirements: an installation that was cut off, or is of other versions, is
    gone on with.
    """
    python = folder.absolute() / "bin" / "python"
    marker, wanted = folder / "installed.txt", REQUIREMENTS.read_text()
    if not marker.exists() or marker.read_text() != wanted:
        marker.unlink(missing_ok=True)
        _call([sys.executable, "-m", "venv", str(folder)])
        quiet = ["--disable-pip-version-check", "--quiet"]
        _call([str(python), "-m", "pip", "install", *quiet, "--requirement", str(REQUIREMENTS)])
        marker.write_text(wanted)
    return python


def run_peer(
    method: str,
    images: Tensor,
    labels: Tensor,
    *,
    per_class: int | Sequence[int],
    seed: int,
    python: Path | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    steps: int | None = None,
) -> PeerResult:
    """A peer fitted to images, and what it draws, on as many threads as torch uses here. No GPU is used.

    Args:
        method: one of METHODS.
        images: uint8 [N, C, H, W].
        labels: int64 [N].
        per_class: how many images to make of each class, or of every class in the order of their labels (0 for none).
        seed: of everything random.
        python: the interpreter to run it with, `peer_python()` by default.
        epochs: of the VAEs, instead of the worker's default.
        learning_rate: of the VAEs, instead of their packages' default.
        steps: of DeepSMOTE, instead of the worker's default.

    Raises:
        RuntimeError: the peer failed; the message ends with what it said last.
    """
    counts = [per_class] if isinstance(per_class, int) else per_class
    options = ["--per-class", ",".join(map(str, counts)), "--seed", str(seed)]
    options += [] if epochs is None else ["--epochs", str(epochs)]
    options += [] if learning_rate is None else ["--learning-rate", str(learning_rate)]
    options += [] if steps is None else ["--steps", str(steps)]
    python = peer_python() if python is None else python.absolute()
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder, "in.npz"), images=images.numpy(), labels=labels.numpy())
        _call([str(python), str(WORKER), method, "in.npz", "out.npz", *options], cwd=folder)
        with np.load(Path(folder, "out.npz")) as made:
            return PeerResult(
                torch.from_numpy(made["images"]), torch.from_numpy(made["labels"]), float(made["seconds"])
            )


def settings() -> dict[str, str]:
    """The environment variables of a peer: as many threads as torch uses here, and no GPU."""
    return {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), "CUDA_VISIBLE_DEVICES": ""}


def _call(command: list[str], cwd: str | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, env=settings(), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
