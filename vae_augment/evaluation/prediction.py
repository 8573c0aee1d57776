"""Predictions of a trained classifier: as it is, averaged over moved copies, or adjusted for unequal classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae_augment.fitting.classifier import logits
from vae_augment.images.moves import MOVES
from vae_augment.images.tensors import to_float
from vae_augment.seeding import generator

MOVED_AT_ONCE = 1_000  # images


@dataclass(frozen=True)
class Prediction:
    """How the classifiers of all arms predict.

    Args:
        copies: test-time augmentation: log-probabilities are averaged over an image and as many mildly moved copies.
        adjusted: logit adjustment (Menon et al. 2021, "Long-Tail Learning via Logit Adjustment"): of each logit the log
            of how often its class was seen in training is taken.
    """

    copies: int = 0
    adjusted: bool = False

    def __call__(self, model: nn.Module, images: Tensor, seen: Tensor, seed: int) -> Tensor:
        """Predicted classes, int64 [N].

        Args:
            model: float images [B, C, H, W] in [0, 1] to logits [B, K].
            images: uint8 [N, C, H, W].
            seen: [K], how often each class was seen in training.
            seed: of the copies' moves.
        """
        found = logits(model, images)  # [N, K]
        if self.copies:
            draws, moves = generator(seed, "copies"), MOVES["gentle"]
            assert moves is not None
            found = found.log_softmax(1)
            for _ in range(self.copies):
                for places in torch.arange(len(images)).split(MOVED_AT_ONCE):
                    moved = moves.draw(to_float(images[places]), draws).clamp(0, 1)
                    found[places] += logits(model, moved).log_softmax(1)
            found /= self.copies + 1
        if self.adjusted:
            found = found - (seen + 1).log()  # one image more, for a class that was never seen
        return found.argmax(1)


class Counted:
    """Batches that are counted as they pass.

    Args:
        batches: images and labels, int64 [B], or probabilities [B, K] where mixed.
        classes: K.
    """

    def __init__(self, batches: Iterator[tuple[Tensor, Tensor]], classes: int) -> None:
        self._batches, self.seen = batches, torch.zeros(classes)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self._batches:
            shares = labels if labels.is_floating_point() else F.one_hot(labels, len(self.seen))
            self.seen += shares.sum(0)
            yield images, labels
