"""Stratified subsamples of datasets, and items that fill small classes up."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from vae_augment.data.source import Source
from vae_augment.seeding import draw_items, generator

logger = logging.getLogger(__name__)


def subsample(dataset: Dataset[Any], count: int, seed: int) -> Subset[Any]:
    """Draw `count` random images per class (all of a class that has fewer), kept in the dataset's order."""
    source = Source(dataset)
    chosen = []
    for label, name in source.classes.items():
        items = draw_items(source.labels, label, generator(seed, "per class", name), count)
        if len(items) < count:
            logger.debug("class %r has only %d images, all are used", name, len(items))
        chosen.append(items)
    return Subset(dataset, torch.cat(chosen).sort().values.tolist())


def added_items(totals: Mapping[int, int], labels: Tensor) -> Tensor:
    """The real item behind each added item, int64 [A]: those of its class in turn."""
    added = []
    for label, total in sorted(totals.items()):
        items = (labels == label).nonzero()[:, 0]
        extra = total - len(items)
        added.append(items.repeat(extra // len(items) + 1)[:extra])
    return torch.cat(added) if added else torch.empty(0, dtype=torch.long)
