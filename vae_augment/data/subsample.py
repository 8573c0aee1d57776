"""Stratified subsamples of datasets."""

from __future__ import annotations

import logging
from typing import Any

import torch
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
