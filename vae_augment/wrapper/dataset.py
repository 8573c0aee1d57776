"""VAEAugmentedDataset: the one line that people add to their training loop."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

from vae_augment.bank import VAEBank
from vae_augment.bank.draws import REAL, draw_batch, drawn_kinds, shares_of
from vae_augment.bank.matching import rows_of, suited, warn_of_other_data
from vae_augment.bank.synthesis import Synthesis
from vae_augment.bank.unlabelled_items import unlabelled_items
from vae_augment.data import open_unlabelled
from vae_augment.data.items import batched, holds_other_images, with_source
from vae_augment.data.source import Source
from vae_augment.data.subsample import added_items
from vae_augment.data.untransformed import Untransformed
from vae_augment.exceptions import DataWarning, PolicyWarning, check_type, check_whole, warn
from vae_augment.images.conversion import common_range
from vae_augment.processes import own_defaults
from vae_augment.seeding import check_seed
from vae_augment.wrapper.bank_cache import find_bank
from vae_augment.wrapper.class_options import ClassOptions, Numbers, one_or_each
from vae_augment.wrapper.notebook import card_of
from vae_augment.wrapper.sampling_strategy import Strategy, wanted_totals


class VAEAugmentedDataset(Dataset[Any]):
    """A dataset whose items are sometimes jittered or newly generated images of the same class, or unlabelled ones.

    Item i keeps the label of base item i. Its image has the type, mode, dtype, range and size of the raw image of base
    item i, and goes through the base's transforms as that does.

    Example:
        >>> train_ds = VAEAugmentedDataset(train_ds)
        >>> loader = DataLoader(train_ds, batch_size=64, shuffle=True, num_workers=2)

    Args:
        base_ds: a map-style dataset of (image, label, ...) items, or of dicts that hold an image under "image", "img",
            "pixel_values" or "images" and a label under "label", "labels", "target", "targets", "fine_label" or
            "class". Never changed.
        bank: a `VAEBank`, the path of one, or None: fit one now, or take it from the per-user cache if the same images,
            labels and options were fitted before. One that has seen far more images than the base holds, such as
            somebody else's, has another policy here than for its own data (`VAEBank.policy_for`).
        labels: integers or names [N] that tell the class of each item in place of the base's own labels, for example
            where these are one-hot, or where it has none. Items are served with the base's own.
        unlabelled: further images without labels, that `fit` learns from where no bank is given; else those that the
            bank was fitted with. Some items are images that the fit took for their class (`p_unlabelled`).
        p_generate: probability that an item is a newly generated image of its class, in [0, 1], or a dict of class name
            or label to it; None, and for classes not in the dict: the policy's, at most 1 - p_jitter.
        p_jitter: probability that an item is a latent-jittered version of itself, in [0, 1], or a dict of it; None: the
            policy's, at most 1 - p_generate.
        p_unlabelled: probability that an item is an unlabelled image taken for its class, in [0, 1], or a dict of it;
            None: the policy's. What other probabilities the policy tells are of the other items.
        scale: jitter in standard deviations of the class's spread in latent space, or a dict of it; None: the policy's.
        sampling_strategy: as in imbalanced-learn: synthetic items are added at the end until classes have these totals
            ("not majority", "all", a list of classes, a ratio for two classes, a dict of label or class name to total,
            a callable, ...); None adds nothing.
        seed: None draws from torch's global generator, which the DataLoader seeds for each worker and epoch; an int
            makes item i a function of (seed, epoch, i) alone, for any number of workers and any batch size. The epoch
            is 0 until `set_epoch` is called.
        return_source: 0 (real), 1 (jittered), 2 (generated) or 3 (unlabelled) is added to items: last in a tuple,
            "source" in a dict.

    Raises:
        TypeError: base_ds is iterable, its items are not (image, label), or an option is of another type.
        ValueError: an option out of range, a bank that lacks one of the base's classes, or `unlabelled` images that the
            bank was not fitted with.
        FileNotFoundError: no bank at the path.
    """

    serves_synthetic = True  # so that nothing is fitted on it

    @own_defaults()
    @torch.inference_mode(False)  # else set_epoch could not change the epoch later
    def __init__(
        self,
        base_ds: Dataset[Any],
        bank: VAEBank | str | Path | None = None,
        *,
        labels: Sequence[int | str] | Tensor | None = None,
        unlabelled: Dataset[Any] | str | Path | None = None,
        p_generate: Numbers = None,
        p_jitter: Numbers = None,
        p_unlabelled: Numbers = None,
        scale: Numbers = None,
        sampling_strategy: Strategy | None = None,
        seed: int | None = None,
        return_source: bool = False,
    ) -> None:
        if seed is not None:
            check_seed(seed)
        check_type("return_source", return_source, bool, "True or False")
        if holds_augmented(base_ds):
            raise TypeError("base_ds is a VAEAugmentedDataset already; wrap the dataset that it was made from.")
        if p_unlabelled is not None and unlabelled is None:
            raise ValueError("p_unlabelled needs unlabelled images, got none.")
        self._source = source = Source(base_ds, labels)
        totals = {}
        if sampling_strategy is not None:
            numbers, by_name = source.class_to_idx, source.by_name
            totals = wanted_totals(sampling_strategy, source.labels, source.classes, numbers=numbers, by_name=by_name)
        added = added_items(totals, source.labels)
        options = ClassOptions(source, p_generate, p_jitter, scale, p_unlabelled)  # checked before a fit
        others = open_unlabelled(unlabelled, source, seed=0)
        self.bank = find_bank(bank, base_ds, source, labels, others)
        source.number_as(self.bank.class_to_idx)
        if bank is not None and source.stable:
            warn_of_other_data(self.bank, source)
        source.value_range = common_range(source.value_range, self.bank.value_range)
        if bank is not None and p_generate is None and p_jitter is None:
            self.bank = suited(self.bank, source)
        policy = self.bank.policy
        adopted = unlabelled_items(self.bank, others, source, fitted=bank is None)
        shares = options.shares(policy, {} if adopted is None else adopted.counts)
        self.p_generate, self.p_jitter, self.p_unlabelled = (
            one_or_each({name: each[kind] for name, each in shares.items()}) for kind in range(3)
        )
        self.scale = scale
        if p_generate is None and p_jitter is None and policy.off and not self.p_unlabelled and not totals:
            warn(f"serving the images as they are: {policy.origin}", PolicyWarning)
        self.seed = seed
        self.return_source = return_source
        if any(map(any, shares.values())) and holds_other_images(source.raw(0)):
            warn(
                "items hold other images beside theirs, such as masks or views: these stay the real one's where an "
                "image is synthetic.",
                DataWarning,
            )
        self._origin = torch.cat([torch.arange(len(source)), added])  # [N], the base item behind each item
        self._rows = rows_of(self.bank, source)[self._origin]  # [N], class positions in the bank
        self._shares = self._share_table(shares)  # [N, 3]
        self._scales = self._of_items(options.scales(policy))  # [N]
        self._synthesis = Synthesis(self.bank, source, self._rows[: len(source)], adopted)
        self._epoch = torch.zeros(1, dtype=torch.long).share_memory_()  # persistent workers see it change

    # ---- the interface of a torchvision dataset ----

    def __len__(self) -> int:
        return len(self._origin)

    def __getitem__(self, index: Any) -> Any:
        """An item; or a batch of items, for a list or slice of indices, if the base gives one."""
        if isinstance(index, slice):
            index = range(len(self))[index]
        if isinstance(index, (list, tuple, range)) or (isinstance(index, (Tensor, np.ndarray)) and index.ndim):
            indices = np.asarray(index)
            if indices.dtype == bool and len(indices) != len(self):
                raise IndexError(f"a mask must have an entry for each of {len(self)} items, got {len(indices)}.")
            positions = np.flatnonzero(indices) if indices.dtype == bool else indices
            return batched(self.__getitems__(positions.tolist()), self._source.batch_of_one())
        return self.__getitems__([index])[0]

    @own_defaults()
    def __getitems__(self, indices: list[int]) -> list[Any]:
        """Items of a whole batch, with their synthetic images made together. A DataLoader calls this."""
        positions = [self._index(index) for index in indices]
        origins = self._origin[positions]  # [B], base items
        draws = draw_batch(self.bank, positions, self._shares[positions], seed=self.seed, epoch=int(self._epoch))
        # Real items come from the base as they are; the places of both kinds put the batch together again.
        real, made = ((draws.kind == REAL).nonzero()[:, 0], (draws.kind != REAL).nonzero()[:, 0])  # [R], [S]
        samples: list[Any] = [None] * len(positions)
        if len(real):
            for place, item in zip(real.tolist(), self._source.items(origins[real].tolist()), strict=True):
                samples[place] = item
        if len(made):
            synthetic = self._synthesis.items(origins[made], draws.pick(made), scale=self._scales[positions][made])
            for place, item in zip(made.tolist(), synthetic, strict=True):
                samples[place] = item
        if self.return_source:
            return [with_source(s, kind) for s, kind in zip(samples, draws.kind.tolist(), strict=True)]
        return samples

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    @property
    def targets(self) -> Any:
        """Labels [N] of the base and of the added items, a list or an array where the base's are, else an int64 tensor.

        If the base's labels are names, they are the bank's numbers.
        """
        labels = self._source.labels[self._origin]
        kind = self._source.kind_of_targets
        return labels.tolist() if kind is list else labels.numpy() if kind is np.ndarray else labels

    @property
    def samples(self) -> list[Any]:
        """File and label of each item, if the base has them as torchvision's folders do."""
        return self._source.samples(self._origin.tolist())

    imgs = samples

    @property
    def root(self) -> Any:
        """The base's folder, if it has one."""
        return self._source.datasets[0].dataset.root

    @property
    def classes(self) -> list[str]:
        """The base's class names, those without images too."""
        return self._source.all_classes

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The base's label of each class name."""
        return self._source.class_to_idx

    @property
    def is_synthetic(self) -> Tensor:
        """bool [N], True for items that sampling_strategy added."""
        return torch.arange(len(self), device="cpu") >= len(self._source)

    @property
    def transform(self) -> Any:
        """The base's transform. If assigned, the new one applies to all images alike."""
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
        self._epoch[0] = check_whole("epoch", epoch)

    def real(self) -> VAEAugmentedDataset:
        """The same items without synthetic images, for example to measure on a part of a dataset that is wrapped.

        Example:
            >>> val_ds = torch.utils.data.Subset(augmented.real(), val_indices)
        """
        other = copy.copy(self)
        other._shares = torch.zeros_like(self._shares)
        return other

    def untransformed(self) -> VAEAugmentedDataset:
        """The same items before the base's transforms: pairs of an image, as the base reads it, and its label."""
        other = copy.copy(self)
        other._source = Untransformed(self._source)
        other._synthesis = self._synthesis.over(other._source)
        return other

    @own_defaults()
    def sources(self) -> Tensor:
        """int64 [N], the source of each item of a seeded dataset in this epoch, as `return_source` tells it."""
        return drawn_kinds(self.bank, self._shares, seed=self.seed, epoch=int(self._epoch))

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
            f"VAEAugmentedDataset({len(self)} items, p_generate={self.p_generate}, p_jitter={self.p_jitter}, "
            f"{f'p_unlabelled={self.p_unlabelled}, ' if self.p_unlabelled else ''}seed={self.seed}, bank={self.bank!r})"
        )

    @own_defaults()
    def _repr_html_(self) -> str:
        """A card for notebooks: of each class the number of items, and how many are synthetic on average."""
        return card_of(self, int(self._epoch))

    # ---- parts of a batch ----

    def _index(self, index: Any) -> int:
        position, length = operator.index(index), len(self)
        if not -length <= position < length:
            raise IndexError(f"index must be in [{-length}, {length}), got {position}.")
        return position % length

    def _of_items(self, by_name: Mapping[str, Any]) -> Tensor:
        """Numbers of each item's class, float32 [N, ...]."""
        labels, inverse = self._source.labels[self._origin].unique(return_inverse=True)
        each = [by_name[self._source.classes[label]] for label in labels.tolist()]
        return torch.tensor(each, dtype=torch.float32)[inverse]

    def _share_table(self, shares: Mapping[str, tuple[float, float, float]]) -> Tensor:
        """Probabilities of each item to be generated, jittered or unlabelled, [N, 3]."""
        wanted = self._of_items(shares)
        # Added items are real in failed classes alone: their last kind has share 1, the rest whatever rounding does.
        of_added = {
            name: (g / (g + j + u), j / (g + j + u), 1.0) if u else (g / (g + j) if g else 0.0, 1.0, 0.0)
            for name, (g, j, u) in shares.items()
        }
        wanted[self.is_synthetic] = self._of_items(of_added)[self.is_synthetic]
        return shares_of(self.bank, self._rows, wanted)


def holds_augmented(dataset: Any) -> bool:
    """True if a dataset is a VAEAugmentedDataset, or made of one."""
    if isinstance(dataset, Subset):
        return holds_augmented(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        return any(map(holds_augmented, dataset.datasets))
    return isinstance(dataset, VAEAugmentedDataset)
