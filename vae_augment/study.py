"""The images of an evaluation: how each round divides them, and the banks that it fits on its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import Dataset

from vae_augment.arms import InMemory, parse
from vae_augment.bank import VAEBank
from vae_augment.config import FitConfig
from vae_augment.dataset import holds_augmented
from vae_augment.fit_data import common_shape, load_images
from vae_augment.fitting import fit
from vae_augment.raw import common_range
from vae_augment.seeding import derive, generator
from vae_augment.source import Source

logger = logging.getLogger(__name__)

HELD_OUT = 0.25  # of each class, where no test data are given
MOST_TESTED = 10_000  # held-out images of a round
UNEQUAL = 2.0  # classes: the largest over the smallest, from which balanced accuracy decides
TEXTBOOK = FitConfig(sharing="none", invariances="none", policy="none")


class Study:
    """The images of an evaluation, and how each round divides them."""

    def __init__(
        self,
        dataset: Dataset[Any],
        bank: VAEBank | None,
        test: Dataset[Any] | None,
        per_class: int | None,
        config: FitConfig,
        seed: int,
    ) -> None:
        if per_class is not None and per_class < 1:
            raise ValueError(f"per_class must be at least 1, got {per_class}.")
        if holds_augmented(dataset) or holds_augmented(test):
            raise TypeError("dataset and test must be the images themselves, not a VAEAugmentedDataset of them.")
        source = Source(dataset)
        source.value_range = common_range(source.value_range, None if bank is None else bank.value_range)
        self._bank, self._config, self._per_class, self._seed = bank, config, per_class, seed
        self.shape = common_shape(source, config) if bank is None else bank.image_shape
        self.labels = sorted(source.classes)
        self.names = [source.classes[label] for label in self.labels]
        if len(self.labels) < 2:
            raise ValueError(f"dataset must have at least two classes to tell apart, got {self.names}.")
        self._all = self._load(source, {label: place for place, label in enumerate(self.labels)})
        self._test = None if test is None else self._load_test(source, Source(test))
        counts = torch.bincount(self._all.targets)
        self._kept = [self._of_class(int(count)) for count in counts]
        if bank is not None:
            self._check(bank, source)
            if self.train_count < len(self._all):
                logger.warning("the bank given has seen images not trained on: others are fitted, with its options")
                self._config, self._bank = replace(bank.config, policy=config.policy), None
        if self._test is None and all(kept == count for kept, count in zip(self._kept, counts.tolist(), strict=True)):
            raise ValueError("no image is left to test on: use a smaller per_class, or give test data.")

    @property
    def train_count(self) -> int:
        return sum(self._kept)

    @property
    def same_test_images(self) -> bool:
        """Whether all rounds are measured on the same images."""
        return self._test is not None

    @property
    def unequal(self) -> bool:
        return max(self._kept) > UNEQUAL * min(self._kept)

    @property
    def overlap(self) -> float:
        """For the interval: rounds that divide the same images anew are not independent.

        n_2 / n_1 is Nadeau and Bengio's (2003), for rounds that train on most images. Two rounds that train on a
        small share of them have no more than that in common, so the inverse bounds it there.
        """
        if self._test is not None:
            return 0.0
        trained, held_out = self.train_count, len(self._all) - self.train_count
        return min(held_out / trained, trained / held_out)

    def split(self, round_: int) -> tuple[InMemory, InMemory]:
        """Training and held-out images of a round, labels 0 to K-1."""
        chosen = torch.zeros(len(self._all), dtype=torch.bool)
        for label, kept in enumerate(self._kept):
            items = (self._all.targets == label).nonzero()[:, 0]
            order = torch.randperm(len(items), generator=generator(self._seed, "split", round_, label))
            chosen[items[order[:kept]]] = True
        train = InMemory(self._all.images[chosen], self._all.targets[chosen])
        if self._test is not None:
            return train, self._test
        rest = (~chosen).nonzero()[:, 0]
        order = torch.randperm(len(rest), generator=generator(self._seed, "held out", round_))
        rest = rest[order[:MOST_TESTED].sort().values]
        return train, InMemory(self._all.images[rest], self._all.targets[rest])

    def banks(self, arms: Sequence[str], train: InMemory, round_: int, device: str) -> dict[str, VAEBank]:
        """The bank of each source of images that needs one, fitted on a round's training images alone."""
        sources = {parse(arm)[0] for arm in arms}
        seed = derive(self._seed, "bank", round_)
        banks = {}
        if "ours" in sources:
            banks["ours"] = self._given() or fit(train, config=self._config, device=device, seed=seed, progress=False)
        if "textbook" in sources:
            textbook = replace(TEXTBOOK, preset=self._config.preset, image_size=max(self.shape[1:]))
            banks["textbook"] = fit(train, config=textbook, device=device, seed=seed, progress=False)
        return banks

    def _given(self) -> VAEBank | None:
        """The caller's bank, for labels 0 to K-1."""
        if self._bank is None:
            return None
        infos = [self._bank.class_infos[self._bank.row_of[label]] for label in self.labels]
        picked = self._bank.subset([info.label for info in infos]).content
        renamed = tuple(replace(info, label=i) for i, info in enumerate(picked.class_infos))
        data = {key: value for key, value in picked.data.items() if key != "fingerprint"}
        return VAEBank(replace(picked, class_infos=renamed, data=data))

    def _load(self, source: Source, places: dict[int, int]) -> InMemory:
        """All images of a source at the bank's size, its labels changed to the places given."""
        loaded = load_images(source, self.shape)
        values, inverse = loaded.labels.unique(return_inverse=True)
        return InMemory(loaded.images, torch.tensor([places[label] for label in values.tolist()])[inverse])

    def _load_test(self, source: Source, test: Source) -> InMemory:
        test.value_range = common_range(test.value_range, source.value_range)
        loaded = self._load(test, _places(source, test))
        seen = {image.numpy().tobytes() for image in self._all.images}
        shared = sum(image.numpy().tobytes() in seen for image in loaded.images)
        if shared:
            logger.warning(
                "%d of the %d test images are in dataset too: figures look better than they are", shared, len(loaded)
            )
        return loaded

    def _check(self, bank: VAEBank, source: Source) -> None:
        """Raise ValueError for a class that a given bank lacks; warn of one fitted on other data."""
        lacking = sorted(set(self.labels) - set(bank.row_of))
        if lacking:
            raise ValueError(
                f"bank has no class for label {lacking[0]} ({source.classes[lacking[0]]!r}) of dataset; "
                f"it has labels {sorted(bank.row_of)}."
            )
        if bank.data.get("fingerprint") not in (None, source.fingerprint()):
            logger.warning("the bank given was fitted on other data than dataset; on test images, figures mislead")

    def _of_class(self, count: int) -> int:
        """How many of a class's images a round trains on."""
        if self._per_class is not None:
            return min(count, self._per_class)
        return count if self._test is not None else count - round(count * HELD_OUT)


def _places(source: Source, test: Source) -> dict[int, int]:
    """Which of the dataset's classes each label of the test data is: by name, or where no name is shared by label."""
    places = {label: place for place, label in enumerate(sorted(source.classes))}
    known: dict[Any, int] = {name: places[label] for label, name in source.classes.items()}
    wanted: dict[int, Any] = dict(test.classes)
    if not (source.has_names and test.has_names and set(known) & set(test.classes.values())):
        if source.has_names and test.has_names:
            logger.warning("no class of test has a name of dataset's; going by the label")
        known, wanted = places, {label: label for label in test.classes}
    unknown = [label for label, key in wanted.items() if key not in known]
    if unknown:
        raise ValueError(f"test has a class that dataset lacks: {test.classes[unknown[0]]!r}.")
    return {label: known[key] for label, key in wanted.items()}
