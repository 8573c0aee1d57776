"""A TensorBoard log of a fit: the losses of each training, and a contact sheet of each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.utils import make_grid

from vae_augment.bank import VAEBank
from vae_augment.bank.shown_images import COLUMNS, shown_images
from vae_augment.exceptions import check_extra
from vae_augment.fitting.callbacks import Callback, Training
from vae_augment.images.tensors import match_channels, to_float

LOSSES = ("reconstruction_loss", "kl_divergence")  # nats per value of an image, nats per image


class TrainingLog:
    """An event file of TensorBoard.

    Args:
        folder: of the file, made if need be.

    Raises:
        ImportError: tensorboard is not installed.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: str | Path) -> None:
        check_extra("tensorboard", "the log for TensorBoard", "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def losses(self, names: Sequence[str], taken: int, losses: Tensor) -> None:
        """Log the latest mean losses [K, 2] of K trainings after `taken` steps."""
        for name, values in zip(names, losses.tolist(), strict=True):
            for tag, value in zip(LOSSES, values, strict=True):
                self._writer.add_scalar(f"{tag}/{name}", value, taken)

    def contact_sheet(self, bank: VAEBank, images: Tensor, label: int, taken: int) -> None:
        """A row each of real, reconstructed, jittered and generated images of a class."""
        name = next(info.name for info in bank.class_infos if info.label == label)
        rows = [match_channels(to_float(row), 3) for row in shown_images(bank, images, label).values()]
        whole = [F.pad(row, (0, 0) * 3 + (0, COLUMNS - len(row)), value=1.0) for row in rows]  # padded with white
        grid = make_grid(torch.cat(whole), nrow=COLUMNS, pad_value=1)
        self._writer.add_image(f"real_reconstructed_jittered_generated/{name}", grid, taken)
        self._writer.flush()

    def close(self) -> None:
        """Write the rest of the file."""
        self._writer.close()


class LogLosses(Callback):
    """Log the losses of a training at each point of its learning curve.

    Args:
        log: for TensorBoard.
        names: of the K trainings.
        before: steps of an earlier training that this one continues.
    """

    def __init__(self, log: TrainingLog, names: Sequence[str], before: int = 0) -> None:
        self._log, self._names, self._before = log, names, before

    def on_step(self, training: Training) -> None:
        if training.curve.completed is not None:
            self._log.losses(self._names, self._before + training.step + 1, training.curve.completed)
