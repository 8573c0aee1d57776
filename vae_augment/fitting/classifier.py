"""A small classifier and its training loop, to judge whether augmentation helps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from vae_augment.exceptions import check_type
from vae_augment.fitting.side_by_side import side_by_side
from vae_augment.images.tensors import to_float
from vae_augment.model.devices import flush_denormals

# A factory of classifiers: (image_shape, number of classes) to a module of float images [B, C, H, W] to logits [B, K].
Factory = Callable[[tuple[int, int, int], int], nn.Module]

CHANNELS = (16, 32, 64)
POOLED_CHANNELS = (16, 32, 64, 64)
PROBED, LEAST_STD = 200, 0.01  # images whose values are looked at, and the least scale of them
LARGE_SIDE = 40  # pixels; larger images are halved first
LEARNING_RATE, POOLED_RATE, WEIGHT_DECAY = 4e-3, 1e-2, 1e-2
BATCH = 64  # images a step
PREDICT_BLOCK = 500  # images a pass


class Scaled(nn.Module):
    """A network of images less their mean, in units of their standard deviation; until told, of images as they are."""

    mean: Tensor
    std: Tensor
    convolutions: nn.Module
    peak_learning_rate = LEARNING_RATE

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, 1, 1), persistent=False)
        self.register_buffer("std", torch.ones(channels, 1, 1), persistent=False)

    def scale_to(self, images: Tensor) -> None:
        """Take each channel's mean and standard deviation from images [N, C, H, W], uint8 or float in [0, 1].

        A few hundred steps are enough then to learn strongly augmented images (docs/what_helps.md).
        """
        values = to_float(images[:: 1 + len(images) // PROBED])
        std, mean = torch.std_mean(values, dim=(0, 2, 3))
        self.mean.copy_(mean[:, None, None])
        self.std.copy_(std[:, None, None].clamp_min(LEAST_STD))

    def features(self, x: Tensor) -> Tensor:
        """Outputs of the last convolution for images [B, C, H, W], averaged over places: [B, 64]."""
        pooled: Tensor = self.convolutions((x - self.mean) / self.std).mean((2, 3))
        return pooled


class SmallCNN(Scaled):
    """Three convolutions, each with 2x2 max-pooling and ReLU, and a linear layer.

    ReLU after max-pooling gives the same bits as before it, of a quarter of the values.

    Args:
        image_shape: (C, H, W), sides of 8 pixels or more.
        classes: K.
    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(image_shape[0])
        channels, *sides = image_shape
        halved = _halved(image_shape)
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(zip((channels, *CHANNELS), CHANNELS, strict=False)):
            size, stride = (5, 2) if halved and i == 0 else (3, 1)
            sides = [math.ceil(side / stride) // 2 for side in sides]
            layers += [nn.Conv2d(inputs, outputs, size, stride, size // 2), nn.MaxPool2d(2), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.head = nn.Linear(CHANNELS[-1] * math.prod(sides), classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.convolutions((x - self.mean) / self.std).flatten(1))
        return logits


class PooledCNN(Scaled):
    """Four convolutions with batch normalisation, max-pooling and ReLU, an average over places, and a linear layer.

    Args:
        image_shape: (C, H, W), sides of 8 pixels or more.
        classes: K.
    """

    peak_learning_rate = POOLED_RATE

    def __init__(self, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(image_shape[0])
        height, width = image_shape[1:]
        layers: list[nn.Module] = (
            [nn.AvgPool2d(2)] if max(height, width) > LARGE_SIDE and min(height, width) >= 16 else []
        )
        for inputs, outputs in pairwise((image_shape[0], *POOLED_CHANNELS)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)]
            layers += [nn.MaxPool2d(2), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers[:-2], nn.ReLU())
        self.head = nn.Linear(POOLED_CHANNELS[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits


def _halved(image_shape: tuple[int, int, int]) -> bool:
    """True if images are halved first: if they are large, and no side would be used up."""
    return max(image_shape[1:]) > LARGE_SIDE and min(image_shape[1:]) >= 16


def new_classifier(
    factory: Factory | None,
    image_shape: tuple[int, int, int],
    classes: int,
    seed: int,
    device: torch.device,
    scaled_to: Tensor | None = None,
) -> nn.Module:
    """A classifier with initial weights drawn by `seed`; None makes a `SmallCNN`. The global RNG is left alone.

    Lazy modules, which take their sizes from the first batch, see one of black images. A `Scaled` one may be scaled to
    images, [N, C, H, W].
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = (factory or SmallCNN)(image_shape, classes)
        if not isinstance(model, nn.Module):
            raise TypeError(f"classifier must make a torch.nn.Module, got {type(model).__name__}.")
        if next(model.parameters(), None) is None:
            raise ValueError(f"classifier must make a module with parameters to train, got {type(model).__name__}.")
        if any(map(is_lazy, chain(model.parameters(), model.buffers()))):
            training = model.training
            with torch.no_grad():
                model.eval()(torch.zeros(2, *image_shape, device=next(model.parameters()).device))
            model.train(training)
    if scaled_to is not None and isinstance(model, Scaled):
        model.scale_to(scaled_to)
    return model.to(device, memory_format=_layout(model))  # type: ignore[call-overload,no-any-return]


def _layout(model: nn.Module) -> torch.memory_format:
    """Channels last, which is quicker, but not for callers' models, of which many use `view`."""
    return torch.channels_last if isinstance(model, (SmallCNN, PooledCNN)) else torch.contiguous_format


def train_classifier(
    model: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    *,
    steps: int,
    seed: int = 0,
    on_step: Callable[[], object] = lambda: None,
) -> nn.Module:
    """Minimise cross-entropy by AdamW with one cycle of the learning rate (Smith and Topin 2019).

    Args:
        model: float images [B, C, H, W] in [0, 1] to logits [B, K]; trained in place and returned in eval mode.
        batches: float images and int64 labels [B], at least `steps` of them.
        steps: optimizer steps.
        seed: of the model's own randomness (dropout); the global RNG is left alone.
        on_step: called after each step.
    """
    device = next(model.parameters()).device
    rate: float = getattr(model, "peak_learning_rate", LEARNING_RATE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model.train()
    with torch.random.fork_rng(devices=[]), flush_denormals():
        torch.manual_seed(seed)
        for _ in range(steps):
            images, labels = next(batches)
            check_type("images of the classical augmentation", images, Tensor, "a tensor [B, C, H, W]")
            logits = model(images.to(device).contiguous(memory_format=_layout(model)))
            check_type("output of the classifier", logits, Tensor, "a tensor of logits [B, K]")
            loss = F.cross_entropy(logits, labels.to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            on_step()
    return model.eval()


class ClassifierJob(NamedTuple):
    """A classifier to train.

    Args:
        model: as for `train_classifier`, and on the CPU without randomness of its own.
        batches: begins endless batches, as for `train_classifier`, when the training does.
        seed: of the model's own randomness.
    """

    model: nn.Module
    batches: Callable[[], Iterator[tuple[Tensor, Tensor]]]
    seed: int


def train_classifiers(jobs: Sequence[ClassifierJob], *, steps: int) -> list[nn.Module]:
    """Train classifiers that do not depend on each other: on a CPU each on one thread, as many at once as torch has.

    One small network gains next to nothing by a second thread; and on one thread its weights do not depend on how many
    there are.

    Returns:
        The models in eval mode, in the order of the jobs.
    """

    def train(job: ClassifierJob, stop_if_ended: Callable[[], None]) -> nn.Module:
        return train_classifier(job.model, job.batches(), steps=steps, seed=job.seed, on_step=stop_if_ended)

    if any(next(job.model.parameters()).device.type != "cpu" for job in jobs):
        return [train(job, lambda: None) for job in jobs]
    with torch.random.fork_rng(devices=[]):  # each training sets and restores the global generator, in any order
        return side_by_side(train, jobs)


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Predicted classes of images [N, C, H, W], uint8 or float in [0, 1]: int64 [N] on the CPU."""
    return logits(model, images).argmax(1)


@torch.no_grad()
def logits(model: nn.Module, images: Tensor) -> Tensor:
    """Outputs of a classifier for images [N, C, H, W], uint8 or float in [0, 1]: float32 [N, K] on the CPU."""
    return torch.cat([model(x).float().cpu() for x in _blocks(model, images)])


@torch.no_grad()
def features(model: Scaled, images: Tensor) -> Tensor:
    """`Scaled.features` of images [N, C, H, W], uint8 or float in [0, 1]: float32 [N, 64] on the CPU."""
    return torch.cat([model.features(x).cpu() for x in _blocks(model, images)])


def _blocks(model: nn.Module, images: Tensor) -> Iterator[Tensor]:
    device = next(model.parameters()).device
    for block in images.split(PREDICT_BLOCK):
        yield to_float(block.to(device)).contiguous(memory_format=_layout(model))
