"""Membership attacks on a bank: how well images it was fitted on can be told from others of the same classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.bank.metadata import Membership
from vae_augment.data.loading import FitData
from vae_augment.data.unlabelled import others_than
from vae_augment.images.nearest import SEARCHED, nearest
from vae_augment.seeding import draw_items, generator

HELD_OUT, MOST_HELD_OUT = 0.1, 2_000  # share of each class that a fit for others leaves out, and images in all
GENERATED, LEAST_GENERATED = 10_000, 100  # images that an attacker draws, of all classes and of each at least
DEVIATIONS = 1.96  # on either side of a mean, for an interval of 95 %


def hold_out(data: FitData, seed: int) -> tuple[FitData, FitData]:
    """The images to fit a bank for others on, and a tenth of each class, without copies of them, to attack it with."""
    held = torch.zeros(len(data.images), dtype=torch.bool)
    share = min(HELD_OUT, MOST_HELD_OUT / len(data.images))
    for label, name in data.names.items():
        items = draw_items(data.labels, label, generator(seed, "membership", name))
        held[items[: max(1, round(len(items) * share)) if len(items) > 1 else 0]] = True
    kept, out = (FitData(data.images[mask], data.labels[mask], data.names) for mask in (~held, held))
    new = others_than(kept.images, out.images)
    return kept, FitData(out.images[new], out.labels[new], data.names)


def attack(bank: VAEBank, train: FitData, held_out: FitData, seed: int) -> Membership | None:
    """Tell training images from held-out ones by what a bank gives away; None where none is held out.

    Two attacks of Hilprecht et al. (2019, "Monte Carlo and Reconstruction Membership Inference Attacks against
    Generative Models"): training images are reconstructed with a smaller error, and generated images lie nearer to
    them. Images are compared within their class, of which an attacker knows the VAE, and as many of either side.

    Args:
        bank: on the CPU.
        train: images that it was fitted on, and possibly of other classes.
        held_out: images that it was not fitted on.
        seed: of the choice of images and of those generated.
    """
    count = max(LEAST_GENERATED, GENERATED // len(bank.classes))
    scores: dict[str, list[tuple[Tensor, Tensor]]] = {"reconstruction": [], "generated": []}
    to_train, to_real = [], []
    for info in bank.class_infos:
        draws = generator(seed, "attack", info.name)
        others = held_out.of(info.label)
        own = train.images[draw_items(train.labels, info.label, draws, len(others))]
        others = others[: len(own)]
        if not len(own):
            continue
        made = bank.sample(torch.full((count,), info.label), generator=draws)
        errors = [_errors(bank, images, info.label) for images in (own, others)]
        distances = [nearest(images, made).distances[:, 0] for images in (own, others)]
        scores["reconstruction"].append((-errors[0], -errors[1]))
        scores["generated"].append((-distances[0], -distances[1]))
        known = train.of(info.label)[:SEARCHED]
        to_train.append(nearest(made[: len(others)], known).distances[:, 0])
        to_real.append(nearest(others, known).distances[:, 0])
    if not to_train:
        return None
    by_error, by_distance = map(_area, scores.values())
    medians = (round(torch.cat(found).median().item(), 4) for found in (to_train, to_real))
    return Membership(sum(map(len, to_real)), by_error, by_distance, *medians)


def _errors(bank: VAEBank, images: Tensor, label: int) -> Tensor:
    """Mean squared error [N] of reconstructed images [N, C, H, W]."""
    labels = torch.full((len(images),), label)
    return (bank.reconstruct(images, labels) - images.float().div(255)).square().flatten(1).mean(1)


def _area(scores: list[tuple[Tensor, Tensor]]) -> list[float]:
    """Area under the ROC curve within classes, their mean by number of images, and its 95 % interval.

    The standard error is that of Mann and Whitney's U where nothing tells the two sides apart: exact near chance, and
    too wide far from it.

    Args:
        scores: of each class those of training images [n] and of as many others [n].
    """
    total = sum(len(inside) for inside, _ in scores)
    area = variance = 0.0
    for inside, outside in scores:
        count = len(inside)
        wins = (inside[:, None] > outside).double() + (inside[:, None] == outside).double() / 2  # [n, n]
        area += wins.mean().item() * count / total
        variance += (2 * count + 1) / (12 * count**2) * (count / total) ** 2
    reach = DEVIATIONS * math.sqrt(variance)
    return [round(value, 4) for value in (area, max(0.0, area - reach), min(1.0, area + reach))]
