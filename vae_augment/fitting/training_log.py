"""What TensorBoard shows of a fit while it goes on: the loss of each training, and a contact sheet of each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.utils import make_grid

from vae_augment.bank import VAEBank
from vae_augment.bank.shown_images import COLUMNS, shown_images
from vae_augment.fitting.callbacks import Callback, Training
from vae_augment.images.tensors import match_channels, to_float

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOSSES = ("reconstruction_loss", "kl_divergence")  # nats per value of an image, nats per image


class TrainingLog:
    """An event file of TensorBoard's.

    Args:
        folder: where to, made if need be; None: nothing is logged.

    Raises:
        ImportError: tensorboard is not installed.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self._writer = None if folder is None else _writer(Path(folder))

    def __bool__(self) -> bool:
        return self._writer is not None

    def losses(self, names: Sequence[str], taken: int, losses: Tensor) -> None:
        """Log the mean losses [K, 2] of the latest steps of some trainings, by the steps that are taken."""
        if self._writer is None:
            return
        for name, values in zip(names, losses.tolist(), strict=True):
            for tag, value in zip(LOSSES, values, strict=True):
                self._writer.add_scalar(f"{tag}/{name}", value, taken)

    def contact_sheet(self, bank: VAEBank, images: Tensor, label: int, taken: int) -> None:
        """A row each of real, reconstructed, jittered and generated images of a class."""
        if self._writer is None:
            return
        name = next(info.name for info in bank.class_infos if info.label == label)
        rows = [match_channels(to_float(row), 3) for row in shown_images(bank, images, label).values()]
        whole = [F.pad(row, (0, 0) * 3 + (0, COLUMNS - len(row)), value=1.0) for row in rows]  # white for what lacks
        grid = make_grid(torch.cat(whole), nrow=COLUMNS, pad_value=1)
        self._writer.add_image(f"real_reconstructed_jittered_generated/{name}", grid, taken)
        self._writer.flush()

    def close(self) -> None:
        """Write what is not yet written."""
        if self._writer is not None:
            self._writer.close()


def _writer(folder: Path) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ImportError(
            'the log for TensorBoard needs tensorboard, which is not installed: pip install "vae-augment[tensorboard]".'
        ) from None
    return SummaryWriter(str(folder))


NOTHING_LOGGED = TrainingLog(None)


class LogLosses(Callback):
    """The losses of a training in a log, at each point of its learning curve.

    Args:
        log: for TensorBoard.
        names: of the K trainings.
        before: steps that were taken before this training began.
    """

    def __init__(self, log: TrainingLog, names: Sequence[str], before: int = 0) -> None:
        self._log, self._names, self._before = log, names, before

    def on_step(self, training: Training) -> None:
        if training.curve.completed is not None:
            self._log.losses(self._names, self._before + training.step + 1, training.curve.completed)
