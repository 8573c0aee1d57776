"""Choose a policy from training data alone: one split, one trial bank, and one short training a candidate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from vae_augment.bank import VAEBank
from vae_augment.bank.draws import REAL, draw_batch, shares_of
from vae_augment.bank.policy import Policy
from vae_augment.bank.synthesis import Synthesis
from vae_augment.data.loading import FitData
from vae_augment.data.source import Source
from vae_augment.fitting.classifier import BATCH, SmallCNN, new_classifier, predict, train_classifier
from vae_augment.images.moves import Moves, classical_moves, colour_channels
from vae_augment.seeding import derive, draw_items, generator

HELD_OUT = 0.25  # of each class
MOST_HELD_OUT = 2_000  # images
LEAST_HELD_OUT = 20  # images; fewer say nothing
# On fewer images even a strong default seems harmful by chance, and no candidate seems better.
FEW_HELD_OUT, MANY_HELD_OUT = 100, 200  # images
QUANTILE = 1.96  # of a normal distribution, for a 95 % interval
MUCH, PROBABLY = 3.0, 1.28  # points by which a default looks harmful; quantile for odds of nine in ten that it is


class Split(NamedTuple):
    """A dataset's images in two parts."""

    train: FitData  # for the trial's VAEs and classifiers
    held_out: FitData  # for measuring them


def split(data: FitData, seed: int) -> Split | None:
    """Hold out a quarter of each class, drawn by seed; None if too few images are left on either side."""
    held = torch.zeros(len(data.images), dtype=torch.bool)
    share = min(HELD_OUT, MOST_HELD_OUT / max(1, len(data.images)))
    for label, name in data.names.items():
        items = draw_items(data.labels, label, generator(seed, "policy", name))
        held[items[: round(len(items) * share) if len(items) > 1 else 0]] = True
    if int(held.sum()) < LEAST_HELD_OUT or len(data.names) < 2:
        return None
    return Split(*(FitData(data.images[mask], data.labels[mask], data.names) for mask in (~held, held)))


def choose(
    bank: VAEBank, default: Policy, parts: Split, *, steps: int, seed: int, device: torch.device
) -> tuple[Policy, SmallCNN]:
    """The policy for a dataset, and a classifier trained on its training part with classical augmentation alone.

    Each candidate is added to classical augmentation and compared with it, and with the default, by balanced accuracy
    on the same held-out images. The default stands unless the 95 % interval of a paired difference excludes zero: it is
    replaced by the best of the candidates that are better. If it does harm, or looks much worse, classical moves alone
    take its place, or the images as they are where they are no worse. On few held-out images it stands untried.

    Args:
        bank: a trial, fitted on the training part alone.
        default: the policy for the dataset's size and kind.
        parts: of the dataset.
        steps: of each classifier's training.
        seed: of the classifiers and draws, the same for every candidate.
        device: where to train.
    """
    right, judge = {}, None
    labels = sorted(parts.train.names)
    answers = torch.searchsorted(torch.tensor(labels), parts.held_out.labels)
    candidates = _candidates(default, len(answers))
    weights, classical = _weights(answers), classical_moves(colour_channels(parts.train.images))

    def train(policy: Policy, moves: Moves | None) -> tuple[SmallCNN, Tensor]:
        """A classifier, and 100 for each held-out image [N] that it gets right, else 0."""
        model = new_classifier(None, bank.image_shape, len(labels), derive(seed, "judge"), device)
        trial = VAEBank(replace(bank.content, policy=policy))
        train_classifier(model, _batches(trial, parts.train, moves, seed), steps=steps, seed=seed)
        assert isinstance(model, SmallCNN)
        return model, (predict(model, parts.held_out.images) == answers).double() * 100

    for name, policy in candidates.items():
        model, right[name] = train(policy, classical)
        judge = judge or model
    assert judge is not None
    chosen = _decide(default, candidates, right, weights)
    if chosen is None:
        right["real"] = train(candidates["off"], None)[1]
        chosen = _safer(default, candidates["off"], right, weights)
    return chosen, judge


def _weights(labels: Tensor) -> Tensor:
    """Weights of images that make every class count the same: float64 [N], 1 on average."""
    counts = torch.bincount(labels).double()
    return len(labels) / int((counts > 0).sum()) / counts[labels]


def _candidates(default: Policy, held_out: int) -> dict[str, Policy]:
    """Policies to compare by name: the fewer, the fewer images there are to compare them on."""
    candidates = {"off": replace(default, p_generate=0.0, p_jitter=0.0)}
    if held_out >= FEW_HELD_OUT:
        candidates["default"] = default
    if held_out >= MANY_HELD_OUT and default.p_jitter:
        name = "without detail" if default.keep_detail else "with detail"
        candidates[name] = replace(default, keep_detail=not default.keep_detail)
    return candidates


def _decide(default: Policy, candidates: dict[str, Policy], right: dict[str, Tensor], weights: Tensor) -> Policy | None:
    """The policy that the intervals decide for, with the figures in its origin; None if the default seems harmful."""
    if "default" not in candidates:
        return replace(default, origin=f"{default.origin}; {len(right['off'])} held-out images are too few to check it")
    figures = {name: _interval(right[name] - right["off"], weights) for name in candidates if name != "off"}
    evidence = _evidence(figures, len(right["off"]))
    harmless = [n for n in figures if n != "default" and figures[n][2] >= 0]
    better = [n for n in harmless if _interval(right[n] - right["default"], weights)[1] > 0]
    if better:
        name = max(better, key=lambda n: figures[n][0])
        return replace(candidates[name], origin=f"chosen on this data, {name}: {evidence}")
    mean, _, high = figures["default"]
    if high < 0 or (mean <= -MUCH and mean + (high - mean) * PROBABLY / QUANTILE < 0):
        return None
    return replace(default, origin=f"{default.origin}; this data does not speak against it: {evidence}")


def _safer(default: Policy, off: Policy, right: dict[str, Tensor], weights: Tensor) -> Policy:
    """Classical moves alone where they are better than the images as they are, which else are served."""
    evidence = _evidence({"default": _interval(right["default"] - right["off"], weights)}, len(right["off"]))
    moved, *_ = _interval(right["off"] - right["real"], weights)
    found = f"{evidence}, and classical augmentation {moved:+.1f} over the images as they are"
    if moved <= 0:
        return replace(off, origin=f"do not augment, the default lowers accuracy on this data: {found}")
    moves = "affine" if default.moves in ("affine", "elastic") else "colour"
    alone = replace(off, p_jitter=1.0, scale=0.0, keep_detail=True, moves=moves)
    return replace(alone, origin=f"moved and not jittered, since the default lowers accuracy on this data: {found}")


def _evidence(figures: dict[str, tuple[float, float, float]], images: int) -> str:
    said = "; ".join(f"{n} {mean:+.1f} ({low:+.1f} to {high:+.1f})" for n, (mean, low, high) in figures.items())
    return f"{said} points over classical augmentation on {images} held-out images"


def _interval(differences: Tensor, weights: Tensor) -> tuple[float, float, float]:
    """Mean and 95 % interval of weighted per-image differences [N]."""
    images, weighted = len(differences), weights * differences
    mean = weighted.mean().item()
    # One discordant image each way is added, so that few images do not look certain (Agresti and Min 2005).
    discordant = 100.0**2 * weights.square().mean().item()
    spread = (weighted.square().sum().item() + 2 * discordant) / (images + 2) - mean**2
    reach = QUANTILE * math.sqrt(spread / (images + 2))
    return mean, mean - reach, mean + reach


def _batches(bank: VAEBank, data: FitData, classical: Moves | None, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless shuffled batches of the images that a wrapper serves, with classical augmentation on top if wanted."""
    order, moves = generator(seed, "policy", "order"), generator(seed, "policy", "classical")
    labels = torch.searchsorted(torch.tensor(sorted(data.names)), data.labels)
    served = Served(bank, data, seed)
    for epoch in count():
        for some in torch.randperm(len(data.images), generator=order).split(BATCH):
            images = served.batch(some, epoch).float().div_(255)  # [B, C, H, W]
            yield images if classical is None else classical.draw(images, moves), labels[some]


class Served:
    """Images of a fit, served by the bank's policy as a `VAEAugmentedDataset` of them serves them.

    Args:
        bank: on the CPU.
        data: images of its classes, at its size.
        seed: of the draws.
    """

    def __init__(self, bank: VAEBank, data: FitData, seed: int) -> None:
        rows = torch.tensor([bank.row_of[label] for label in data.labels.tolist()])
        self._bank, self._images, self._seed = bank, data.images, seed
        self._shares = shares_of(bank, rows, torch.tensor([bank.policy.p_generate, bank.policy.p_jitter]))  # [N, 2]
        self._synthesis = Synthesis(bank, Source(TensorDataset(data.images, data.labels)), rows)

    def batch(self, items: Tensor, epoch: int) -> Tensor:
        """Items [B] as a wrapper with the same seed serves them in an epoch: uint8 [B, C, H, W]."""
        draws = draw_batch(self._bank, items.tolist(), self._shares[items], seed=self._seed, epoch=epoch)
        made = (draws.kind != REAL).nonzero()[:, 0]
        images = self._images[items]
        if len(made):
            synthetic = self._synthesis.items(items[made], draws.pick(made))
            images[made] = torch.stack([image for image, _ in synthetic])
        return images
