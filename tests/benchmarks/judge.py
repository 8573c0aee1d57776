"""The fixed small CNN that judges images: three convolutions, AdamW, one cycle."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def small_cnn(classes: int = 10) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in ((1, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 9, classes))


def train_judge(images: Tensor, labels: Tensor, *, steps: int, seed: int = 0) -> nn.Sequential:
    """A CNN trained on uint8 images [N, 1, 28, 28] by `steps` batches of 128."""
    torch.manual_seed(seed)
    model = small_cnn()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(steps):
        chosen = torch.randint(len(images), (128,))
        loss = nn.functional.cross_entropy(model(images[chosen].float() / 255), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def correct(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """bool [N], which uint8 images are given their label."""
    guesses = [model(block.float() / 255).argmax(1) for block in images.split(1000)]
    return torch.cat(guesses) == labels
