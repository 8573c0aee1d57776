"""VAEAugmentedDataset: the line that people add to a training loop they will not rewrite."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

from vae_augment.bank import VAEBank
from vae_augment.bank.draws import REAL, Draws, draw_fresh, draw_seeded, shares_of
from vae_augment.bank.matching import rows_of, warn_of_other_data
from vae_augment.bank.notebook import card
from vae_augment.bank.synthesis import Synthesis
from vae_augment.data.items import with_source
from vae_augment.data.source import Source
from vae_augment.exceptions import PolicyWarning, warn
from vae_augment.images.conversion import common_range
from vae_augment.seeding import check_seed
from vae_augment.wrapper.bank_cache import find_bank
from vae_augment.wrapper.sampling_strategy import Strategy, added_items, wanted_totals


class VAEAugmentedDataset(Dataset[Any]):
    """A dataset whose items are sometimes jittered or newly generated images of the same class.

    Item i keeps base item i's label, and a synthetic image has the type, mode, dtype, range and size of base item i's
    raw image before the base's transforms are applied to it as to a real one.

    Example:
        >>> train_ds = VAEAugmentedDataset(train_ds)
        >>> loader = DataLoader(train_ds, batch_size=64, shuffle=True, num_workers=2)

    Args:
        base_ds: a map-style dataset of (image, label, ...) items, or of dicts that hold an image under "image", "img",
            "pixel_values" or "images" and a label under "label", "labels", "target", "targets", "fine_label" or
            "class". Never changed.
        bank: a `VAEBank`, the path of one, or None: fit one now, or take it from the per-user cache if the same images,
            labels and options were fitted before.
        p_generate: probability that an item is a newly generated image of its class, in [0, 1]; None: what the bank's
            policy says, at most 1 - p_jitter.
        p_jitter: probability that an item is a latent-jittered version of itself, likewise.
        scale: jitter in standard deviations of the class's spread in latent space; None: the policy's.
        sampling_strategy: imbalanced-learn's: synthetic items are added at the end until classes have the wanted
            totals ("not majority", "all", a dict of label or class name to total, a callable, ...); None adds nothing.
        seed: None draws from torch's global generator, which the DataLoader seeds for each worker and epoch; an int
            makes item i a function of (seed, epoch, i) alone, for any number of workers and any batch size. The epoch
            is 0 until `set_epoch` is called.
        return_source: 0 (real), 1 (jittered) or 2 (generated) is added to items: last in a tuple, "source" in a dict.

    Raises:
        TypeError: base_ds is iterable, or its items are not (image, label).
        ValueError: an option out of range, or a bank that lacks one of the base's classes.
        FileNotFoundError: no bank at the path.
    """

    @torch.inference_mode(False)  # else set_epoch would be refused later
    def __init__(
        self,
        base_ds: Dataset[Any],
        bank: VAEBank | str | Path | None = None,
        *,
        p_generate: float | None = None,
        p_jitter: float | None = None,
        scale: float | None = None,
        sampling_strategy: Strategy | None = None,
        seed: int | None = None,
        return_source: bool = False,
    ) -> None:
        _check_probability("p_generate", p_generate)
        _check_probability("p_jitter", p_jitter)
        if scale is not None and not 0 <= scale < float("inf"):
            raise ValueError(f"scale must be a finite number of at least 0, got {scale}.")
        if p_generate is not None and p_jitter is not None and p_generate + p_jitter > 1:
            raise ValueError(f"p_generate + p_jitter must be at most 1, got {p_generate} + {p_jitter}.")
        if seed is not None:
            check_seed(seed)
        if holds_augmented(base_ds):
            raise TypeError("base_ds is a VAEAugmentedDataset already; wrap the dataset that it was made from.")
        self._source = Source(base_ds)
        totals = _totals(sampling_strategy, self._source)
        added = added_items(totals, self._source.labels)
        self.bank = find_bank(bank, base_ds, self._source)
        self._source.number_as(self.bank.class_to_idx)
        if bank is not None and self._source.stable:
            warn_of_other_data(self.bank, self._source)
        self._source.value_range = common_range(self._source.value_range, self.bank.value_range)
        self.p_generate, self.p_jitter = _shares(self.bank, p_generate, p_jitter)
        if p_generate is None and p_jitter is None and self.bank.policy.off and not totals:
            warn(f"serving the images as they are: {self.bank.policy.origin}", PolicyWarning)
        self.scale = scale
        self.seed = seed
        self.return_source = return_source
        self._origin = torch.cat([torch.arange(len(self._source)), added])  # [N + added], an item of the base each
        self._length = len(self._origin)
        self._rows = rows_of(self.bank, self._source)[self._origin]
        self._shares = self._share_table()
        self._synthesis = Synthesis(self.bank, self._source, self._rows[: len(self._source)])
        self._epoch = torch.zeros(1, dtype=torch.long).share_memory_()  # persistent workers see it change

    # ---- what a torchvision dataset has ----

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """Items of a whole batch, whose synthetic images are made together. A DataLoader calls this."""
        positions = [self._index(index) for index in indices]
        origins = self._origin[positions]  # [B], the base item behind each
        draws = self._draw(positions)  # the kind of each, and all that is random about it
        real, made = ((draws.kind == REAL).nonzero()[:, 0], (draws.kind != REAL).nonzero()[:, 0])
        samples: list[Any] = [None] * len(positions)
        for place, item in zip(real.tolist(), self._source.items(origins[real].tolist()), strict=True):
            samples[place] = item
        if len(made):
            synthetic = self._synthesis.items(origins[made], draws.pick(made), scale=self.scale)
            for place, item in zip(made.tolist(), synthetic, strict=True):
                samples[place] = item
        if self.return_source:
            return [with_source(s, kind) for s, kind in zip(samples, draws.kind.tolist(), strict=True)]
        return samples

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    @property
    def targets(self) -> Tensor:
        """int64 [N], the base's own labels and those of the added items; where labels are names, the bank's numbers."""
        return self._source.labels[self._origin]

    @property
    def classes(self) -> list[str]:
        """The base's class names, in label order."""
        return [self._source.classes[label] for label in sorted(self._source.classes)]

    @property
    def class_to_idx(self) -> dict[str, int]:
        return {name: label for label, name in sorted(self._source.classes.items())}

    @property
    def is_synthetic(self) -> Tensor:
        """bool [N], the items that sampling_strategy added."""
        return torch.arange(len(self)) >= len(self._source)

    @property
    def transform(self) -> Any:
        """The base's transform. Assigning another applies it to real, jittered and generated images alike."""
        return self._source.datasets[0].transform("transform")

    @transform.setter
    def transform(self, value: Any) -> None:
        self._source.set_transform("transform", value)

    @property
    def target_transform(self) -> Any:
        return self._source.datasets[0].transform("target_transform")

    @target_transform.setter
    def target_transform(self, value: Any) -> None:
        self._source.set_transform("target_transform", value)

    def set_epoch(self, epoch: int) -> None:
        """Draw a seeded dataset anew from here on; workers that are already running notice."""
        self._epoch[0] = epoch

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._epoch.share_memory_()

    def __copy__(self) -> VAEAugmentedDataset:
        """With an epoch and transforms of its own."""
        other = type(self).__new__(type(self))
        source = self._source.copied()
        state = {"_source": source, "_synthesis": self._synthesis.over(source), "_epoch": self._epoch.clone()}
        other.__setstate__({**self.__dict__, **state})
        return other

    def __repr__(self) -> str:
        return (
            f"VAEAugmentedDataset({len(self)} items, p_generate={self.p_generate:g}, p_jitter={self.p_jitter:g}, "
            f"seed={self.seed}, bank={self.bank!r})"
        )

    def _repr_html_(self) -> str:
        """What comes of each class: its items, and of how many synthetic images take the place in the mean."""
        labels = self._source.labels[self._origin]
        generates, jitters = self._shares.double().unbind(1)
        jitters = torch.minimum(jitters, 1 - generates)  # of an added item it is the rest
        rows = []
        for label, name in sorted(self._source.classes.items()):
            own = labels == label
            added = int((own & self.is_synthetic).sum())
            rows.append((name, int(own.sum()), added, f"{jitters[own].sum():.0f}", f"{generates[own].sum():.0f}"))
        seed = "torch's global generator" if self.seed is None else f"seed {self.seed}, epoch {int(self._epoch)}"
        facts = [("randomness", seed), ("bank", repr(self.bank)), ("policy", self.bank.policy.origin)]
        headers = ("class", "items", "of them added", "jittered", "newly generated")
        return card(f"VAEAugmentedDataset of {len(self)} items", facts, headers, rows)

    # ---- how a batch is made ----

    def _index(self, index: Any) -> int:
        position, length = operator.index(index), self._length
        if not -length <= position < length:
            raise IndexError(f"index must be in [{-length}, {length}), got {position}.")
        return position % length

    def _share_table(self) -> Tensor:
        """Each item's probabilities of being generated and jittered, [N, 2]. Added items are never real."""
        shares = shares_of(self.bank, self._rows, self.p_generate, self.p_jitter)
        p_generate = self.p_generate / (self.p_generate + self.p_jitter) if self.p_generate else 0.0
        # The rest is jittered, whatever rounding does.
        shares[self.is_synthetic] = torch.tensor([p_generate, 1.0], dtype=torch.float32)
        return shares

    def _draw(self, positions: list[int]) -> Draws:
        shares = self._shares[positions]
        if self.seed is None:
            return draw_fresh(self.bank, len(positions), shares)
        return draw_seeded(self.bank, positions, shares, seed=self.seed, epoch=int(self._epoch))


def holds_augmented(dataset: Any) -> bool:
    """Whether a dataset is, or is made of, one that is augmented already."""
    if isinstance(dataset, Subset):
        return holds_augmented(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        return any(map(holds_augmented, dataset.datasets))
    return isinstance(dataset, VAEAugmentedDataset)


def _check_probability(name: str, value: float | None) -> None:
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}.")


def _totals(strategy: Strategy | None, source: Source) -> dict[int, int]:
    """Wanted images of each class, by its label; nothing without a strategy."""
    if strategy is None:
        return {}
    return wanted_totals(strategy, source.labels, source.classes, by_name=source.by_name)


def _shares(bank: VAEBank, p_generate: float | None, p_jitter: float | None) -> tuple[float, float]:
    """Both probabilities, an unset one from the policy and shrunk to what the other leaves."""
    if p_generate is None:
        p_generate = min(bank.policy.p_generate, 1 - (p_jitter or 0.0))
    if p_jitter is None:
        p_jitter = min(bank.policy.p_jitter, 1 - p_generate)
    return float(p_generate), float(p_jitter)
