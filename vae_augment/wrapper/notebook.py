"""A wrapper's card for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vae_augment.bank.notebook import card

if TYPE_CHECKING:
    from vae_augment.wrapper.dataset import VAEAugmentedDataset


def card_of(dataset: VAEAugmentedDataset, epoch: int) -> str:
    """HTML: of each class the number of items, and how many are synthetic on average."""
    labels, names = dataset._source.labels[dataset._origin], dataset._source.classes
    generates, jitters, others = dataset._shares.double().unbind(1)
    others = torch.minimum(others, (1 - generates - jitters).clamp_min(0))  # the rest, for an added item
    jitters = torch.minimum(jitters, 1 - generates - others)
    rows, kinds = [], ("jittered", "newly generated", "unlabelled")[: 3 if dataset.p_unlabelled else 2]
    for label, name in sorted(names.items()):
        own = labels == label
        added = int((own & dataset.is_synthetic).sum())
        means = (f"{kind[own].sum():.0f}" for kind in (jitters, generates, others)[: len(kinds)])
        rows.append((name, int(own.sum()), added, *means))
    seed = "torch's global generator" if dataset.seed is None else f"seed {dataset.seed}, epoch {epoch}"
    facts = [("randomness", seed), ("bank", repr(dataset.bank)), ("policy", dataset.bank.policy.origin)]
    title = f"VAEAugmentedDataset of {len(dataset)} items"
    return card(title, facts, ("class", "items", "of them added", *kinds), rows)
