"""Pretrained networks as the classifier of an evaluation: tuned, or frozen under a linear probe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from vae_augment.exceptions import check_extra
from vae_augment.images.tensors import match_channels, resize

TUNED, PROBED = "timm:", "probe:timm:"  # before the name of a model
LEAST_SIDE = 128  # pixels; smaller images are enlarged for networks that learned from photographs
MULTIPLE = 32  # of which sides are, since networks halve them five times
TUNING_RATE, PROBE_RATE = 5e-4, 1e-2  # AdamW's at its peak
BLOCK = 64  # images a pass in evaluation


@dataclass(frozen=True)
class Pretrained:
    """A factory of pretrained classifiers of timm (Wightman 2019, "PyTorch Image Models").

    Args:
        name: "timm:NAME" tunes all weights of the model; "probe:timm:NAME" trains a linear layer on its frozen
            features.

    Raises:
        TypeError: the name begins otherwise.
        ImportError: timm is not installed.
    """

    name: str

    def __post_init__(self) -> None:
        if not self.model:
            known = "a pretrained one is timm:NAME or probe:timm:NAME, of a model of timm"
            raise TypeError(f"classifier must be a function or None, got {self.name!r}; {known}.")
        check_extra("timm", f"classifier {self.name!r}", "timm")

    @property
    def model(self) -> str:
        """Its name in timm; "" if the name begins otherwise."""
        return next((self.name.removeprefix(p) for p in (PROBED, TUNED) if self.name.startswith(p)), "")

    @property
    def probed(self) -> bool:
        """True for a linear probe."""
        return self.name.startswith(PROBED)

    def __call__(self, image_shape: tuple[int, int, int], classes: int) -> Backbone:
        """A classifier of images (C, H, W).

        Raises ValueError if timm knows no such model or its weights are neither here nor to be had, or for images of
        other than 1 or 3 channels.
        """
        timm: Any = import_module("timm")
        if image_shape[0] not in (1, 3):
            raise ValueError(f"classifier {self.name!r} takes images of 1 or 3 channels, got {image_shape[0]}.")
        try:
            model = timm.create_model(self.model, pretrained=True, num_classes=0 if self.probed else classes)
        except Exception as error:  # of timm, of the hub or of the network
            raise ValueError(f"classifier {self.name!r}: no model, or no weights of it: {error}") from error
        facts: dict[str, Any] = timm.data.resolve_model_data_config(model)
        fixed = bool(model.pretrained_cfg.get("fixed_input_size"))
        size = facts["input_size"][1:] if fixed else _enlarged(image_shape[1:], max(facts["input_size"][1:]))
        head = nn.Linear(model.head_hidden_size, classes) if self.probed else None
        return Backbone(model, size, facts["mean"], facts["std"], head)


class Backbone(nn.Module):
    """A pretrained network of images in [0, 1].

    Args:
        model: normalised images [B, 3, h, w] to logits [B, K], or, with a head, to features [B, F].
        size: (h, w) of its images.
        mean: of each channel of the images that it learned from.
        std: their standard deviation.
        head: features to logits; then the model is frozen.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        size: tuple[int, int],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        head: nn.Linear | None,
    ) -> None:
        super().__init__()
        self.model, self.size = model.requires_grad_(head is None), size
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])
        # Features of one scale, so that one learning rate will do for all backbones.
        self.head = None if head is None else nn.Sequential(nn.BatchNorm1d(head.in_features, affine=False), head)
        self.peak_learning_rate = TUNING_RATE if head is None else PROBE_RATE

    def train(self, mode: bool = True) -> Backbone:
        """Set the mode; a frozen network stays as in evaluation."""
        super().train(mode)
        if self.head is not None:
            self.model.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, K] of images [B, 1 or 3, H, W] in [0, 1]."""
        if not self.training:
            return torch.cat([self._logits(part) for part in x.split(BLOCK)])
        return self._logits(x)

    def _logits(self, x: Tensor) -> Tensor:
        normalised = (resize(match_channels(x, 3), self.size) - self.mean) / self.std
        if self.head is None:
            return self.model(normalised)  # type: ignore[no-any-return]
        with torch.no_grad():
            found = self.model(normalised)
        return self.head(found)  # type: ignore[no-any-return]


def _enlarged(size: tuple[int, int], most: int) -> tuple[int, int]:
    """A size (H, W) whose longer side is from LEAST_SIDE to `most`, of about the same proportions."""
    longer = max(size)
    wanted = min(max(longer, LEAST_SIDE), max(most, LEAST_SIDE))
    height, width = (MULTIPLE * max(1, math.ceil(side * wanted / longer / MULTIPLE)) for side in size)
    return height, width
