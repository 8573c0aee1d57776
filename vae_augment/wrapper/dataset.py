"""VAEAugmentedDataset: the one line that people add to their training loop."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

from vae_augment.bank import VAEBank
from vae_augment.bank.draws import REAL, draw_batch, shares_of
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

    Item i keeps the label of base item i. A synthetic image has the type, mode, dtype, range and size of the raw image
    of base item i, and goes through the base's transforms as a real one does.

    Example:
        >>> train_ds = VAEAugmentedDataset(train_ds)
        >>> loader = DataLoader(train_ds, batch_size=64, shuffle=True, num_workers=2)

    Args:
        base_ds: a map-style dataset of (image, label, ...) items, or of dicts that hold an image under "image", "img",
            "pixel_values" or "images" and a label under "label", "labels", "target", "targets", "fine_label" or
            "class". Never changed.
        bank: a `VAEBank`, the path of one, or None: fit one now, or take it from the per-user cache if the same images,
            labels and options were fitted before.
        p_generate: probability that an item is a newly generated image of its class, in [0, 1]; None: the policy's, at
            most 1 - p_jitter.
        p_jitter: probability that an item is a latent-jittered version of itself, in [0, 1]; None: the policy's, at
            most 1 - p_generate.
        scale: jitter in standard deviations of the class's spread in latent space; None: the policy's.
        sampling_strategy: as in imbalanced-learn: synthetic items are added at the end until classes have these totals
            ("not majority", "all", a dict of label or class name to total, a callable, ...); None adds nothing.
        seed: None draws from torch's global generator, which the DataLoader seeds for each worker and epoch; an int
            makes item i a function of (seed, epoch, i) alone, for any number of workers and any batch size. The epoch
            is 0 until `set_epoch` is called.
        return_source: 0 (real), 1 (jittered) or 2 (generated) is added to items: last in a tuple, "source" in a dict.

    Raises:
        TypeError: base_ds is iterable, or its items are not (image, label).
        ValueError: an option out of range, or a bank that lacks one of the base's classes.
        FileNotFoundError: no bank at the path.
    """

    @torch.inference_mode(False)  # else set_epoch could not change the epoch later
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
        for name, value in (("p_generate", p_generate), ("p_jitter", p_jitter)):
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {value}.")
        if scale is not None and not 0 <= scale < float("inf"):
            raise ValueError(f"scale must be a finite number of at least 0, got {scale}.")
        if p_generate is not None and p_jitter is not None and p_generate + p_jitter > 1:
            raise ValueError(f"p_generate + p_jitter must be at most 1, got {p_generate} + {p_jitter}.")
        if seed is not None:
            check_seed(seed)
        if holds_augmented(base_ds):
            raise TypeError("base_ds is a VAEAugmentedDataset already; wrap the dataset that it was made from.")
        self._source = source = Source(base_ds)
        totals = {}
        if sampling_strategy is not None:
            totals = wanted_totals(sampling_strategy, source.labels, source.classes, by_name=source.by_name)
        added = added_items(totals, source.labels)
        self.bank = find_bank(bank, base_ds, source)
        source.number_as(self.bank.class_to_idx)
        if bank is not None and source.stable:
            warn_of_other_data(self.bank, source)
        source.value_range = common_range(source.value_range, self.bank.value_range)
        policy = self.bank.policy
        self.p_generate = float(min(policy.p_generate, 1 - (p_jitter or 0.0)) if p_generate is None else p_generate)
        self.p_jitter = float(min(policy.p_jitter, 1 - self.p_generate) if p_jitter is None else p_jitter)
        if p_generate is None and p_jitter is None and policy.off and not totals:
            warn(f"serving the images as they are: {policy.origin}", PolicyWarning)
        self.scale = scale
        self.seed = seed
        self.return_source = return_source
        self._origin = torch.cat([torch.arange(len(source)), added])  # [N], the base item behind each item
        self._rows = rows_of(self.bank, source)[self._origin]  # [N], class positions in the bank
        self._shares = self._share_table()  # [N, 2]
        self._synthesis = Synthesis(self.bank, source, self._rows[: len(source)])
        self._epoch = torch.zeros(1, dtype=torch.long).share_memory_()  # persistent workers see it change

    # ---- the interface of a torchvision dataset ----

    def __len__(self) -> int:
        return len(self._origin)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """Items of a whole batch, with their synthetic images made together. A DataLoader calls this."""
        positions = [self._index(index) for index in indices]
        origins = self._origin[positions]  # [B], base items
        draws = draw_batch(self.bank, positions, self._shares[positions], seed=self.seed, epoch=int(self._epoch))
        # Real items come from the base as they are; the places of both kinds put the batch together again.
        real, made = ((draws.kind == REAL).nonzero()[:, 0], (draws.kind != REAL).nonzero()[:, 0])  # [R], [S]
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
        """int64 [N], labels of the base and of the added items; if the base's labels are names, the bank's numbers."""
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
        """bool [N], True for items that sampling_strategy added."""
        return torch.arange(len(self)) >= len(self._source)

    @property
    def transform(self) -> Any:
        """The base's transform. If assigned, the new one applies to real, jittered and generated images alike."""
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
        """Draw the items of a seeded dataset anew from now on, in running workers too."""
        self._epoch[0] = epoch

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._epoch.share_memory_()

    def __copy__(self) -> VAEAugmentedDataset:
        """A copy with an epoch and transforms of its own."""
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
        """A card for notebooks: of each class the number of items, and how many are synthetic on average."""
        labels = self._source.labels[self._origin]
        generates, jitters = self._shares.double().unbind(1)
        jitters = torch.minimum(jitters, 1 - generates)  # the rest, for an added item
        rows = []
        for label, name in sorted(self._source.classes.items()):
            own = labels == label
            added = int((own & self.is_synthetic).sum())
            rows.append((name, int(own.sum()), added, f"{jitters[own].sum():.0f}", f"{generates[own].sum():.0f}"))
        seed = "torch's global generator" if self.seed is None else f"seed {self.seed}, epoch {int(self._epoch)}"
        facts = [("randomness", seed), ("bank", repr(self.bank)), ("policy", self.bank.policy.origin)]
        headers = ("class", "items", "of them added", "jittered", "newly generated")
        return card(f"VAEAugmentedDataset of {len(self)} items", facts, headers, rows)

    # ---- parts of a batch ----

    def _index(self, index: Any) -> int:
        position, length = operator.index(index), len(self)
        if not -length <= position < length:
            raise IndexError(f"index must be in [{-length}, {length}), got {position}.")
        return position % length

    def _share_table(self) -> Tensor:
        """Probabilities of each item to be generated and to be jittered, [N, 2]. Added items are never real."""
        shares = shares_of(self.bank, self._rows, self.p_generate, self.p_jitter)
        p_generate = self.p_generate / (self.p_generate + self.p_jitter) if self.p_generate else 0.0
        # Their share of jitter is 1, so that the rest is jittered whatever rounding does.
        shares[self.is_synthetic] = torch.tensor([p_generate, 1.0], dtype=torch.float32)
        return shares


def holds_augmented(dataset: Any) -> bool:
    """True if a dataset is a VAEAugmentedDataset, or made of one."""
    if isinstance(dataset, Subset):
        return holds_augmented(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        return any(map(holds_augmented, dataset.datasets))
    return isinstance(dataset, VAEAugmentedDataset)
