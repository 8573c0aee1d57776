"""DeepSMOTE, written from its paper: a convolutional autoencoder of all classes, and SMOTE on its codes."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

STEPS, BATCH, LEARNING_RATE = 3000, 100, 2e-4
LATENT_DIM, WIDTH, NEIGHBOURS = 300, 32, 5


def deep_smote(images: dict[int, Tensor], counts: dict[int, int], *, steps: int, seed: int) -> dict[int, Tensor]:
    """New images between neighbours in the latent space of an autoencoder.

    Dablain, Krawczyk and Chawla 2021, "DeepSMOTE: Fusing Deep Learning and SMOTE for Imbalanced Data".

    Args:
        images: by label, float [n, C, H, W] in 0..1.
        counts: by label, how many to make in addition.
        steps: of training.
        seed: of everything random.

    Returns:
        by label, float [count, C, H, W] in 0..1.
    """
    torch.manual_seed(seed)
    scaled = {label: of_class * 2 - 1 for label, of_class in images.items()}  # the decoder ends in tanh
    encoder, decoder = train_autoencoder(list(scaled.values()), steps)
    made = {}
    with torch.no_grad():
        for label, count in counts.items():
            if count:
                codes = torch.cat([encoder(block) for block in scaled[label].split(BATCH)])
                blocks = between_neighbours(codes, count).split(BATCH)
                made[label] = torch.cat([decoder(block) for block in blocks]) / 2 + 0.5
    return made


def train_autoencoder(classes: list[Tensor], steps: int) -> tuple[nn.Module, nn.Module]:
    """Its loss: the error of a batch of all classes, plus that of a batch of one class decoded from permuted codes."""
    everything = torch.cat(classes)
    encoder, decoder = autoencoder(everything.shape[1], everything.shape[-2], everything.shape[-1])
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], LEARNING_RATE)
    for _ in range(steps):
        batch = some(everything)
        of_class = some(classes[int(torch.randint(len(classes), ()))])
        permuted = encoder(of_class)[torch.randperm(len(of_class))]
        loss = nn.functional.mse_loss(decoder(encoder(batch)), batch)
        loss = loss + nn.functional.mse_loss(decoder(permuted), of_class)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    take_statistics(nn.Sequential(encoder, decoder), everything)
    return encoder.eval(), decoder.eval()


@torch.no_grad()
def take_statistics(model: nn.Module, images: Tensor) -> None:
    """Of batches of all classes, for BatchNorm: half of those seen in training are of one class, which dims images."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the plain mean over all batches
    for block in images[torch.randperm(len(images))].split(BATCH)[:BATCH]:
        model(block)


def some(images: Tensor) -> Tensor:
    """A batch, or all of them in another order."""
    return images[torch.randperm(len(images))[:BATCH]]


def autoencoder(channels: int, height: int, width: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Like a DCGAN's networks (Radford et al. 2016): strided convolutions down to four pixels or fewer, and back."""
    sizes = [(height, width)]
    while max(sizes[-1]) > 4:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    widths = [channels] + [WIDTH * 2**stage for stage in range(len(sizes) - 1)]
    down: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        down += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
    up: list[nn.Module] = []
    for stage in reversed(range(len(sizes) - 1)):
        odd = (sizes[stage][0] % 2, sizes[stage][1] % 2)
        up.append(nn.ConvTranspose2d(widths[stage + 1], widths[stage], 4, 2, 1, output_padding=odd))
        up += [nn.BatchNorm2d(widths[stage]), nn.ReLU()] if stage else [nn.Tanh()]
    smallest = (widths[-1], *sizes[-1])
    features = smallest[0] * smallest[1] * smallest[2]
    encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(features, LATENT_DIM))
    decoder = nn.Sequential(nn.Linear(LATENT_DIM, features), nn.ReLU(), nn.Unflatten(1, smallest), *up)
    return encoder, decoder


def between_neighbours(codes: Tensor, count: int) -> Tensor:
    """SMOTE: points on the lines from a code to one of its five nearest, or of as many as there are."""
    neighbours = min(NEIGHBOURS, len(codes) - 1)
    chosen = torch.randint(len(codes), (count,))
    if not neighbours:
        return codes[chosen]
    distances = torch.cdist(codes, codes).fill_diagonal_(float("inf"))
    nearest = distances.topk(neighbours, largest=False).indices  # n, neighbours
    other = nearest[chosen, torch.randint(neighbours, (count,))]
    return codes[chosen] + torch.rand(count, 1) * (codes[other] - codes[chosen])
