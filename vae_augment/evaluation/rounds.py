"""The images of an evaluation, their division in each round, and the banks that are fitted on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from vae_augment.bank import VAEBank
from vae_augment.config import FitConfig
from vae_augment.data import open_unlabelled
from vae_augment.data.loading import common_shape, load_images, range_beside
from vae_augment.data.source import Source
from vae_augment.data.unlabelled import others_than
from vae_augment.evaluation.arms import InMemory, parse
from vae_augment.exceptions import DataWarning, LeakageWarning, warn
from vae_augment.fitting import RECIPE, fit
from vae_augment.images.conversion import common_range
from vae_augment.images.kinds import kind_of_images
from vae_augment.images.moves import colour_channels
from vae_augment.images.tensors import digests
from vae_augment.seeding import derive, generator
from vae_augment.wrapper.sampling_strategy import Strategy

ROUNDS = 2  # raised when a round of the same images, options and seed comes to give other predictions
HELD_OUT = 0.25  # of each class, where no test data are given
MOST_TESTED = 10_000  # held-out images of a round
UNEQUAL = 2.0  # the largest class over the smallest; beyond it balanced accuracy decides
UNEQUALLY_HELD_OUT = 1.5  # the same, of images that per_class leaves to test on
OURS = {"ours", "moves", "pseudo"}  # sources of a bank of ours
TEXTBOOK = FitConfig(sharing="none", invariances="none", policy="none")
FILLED_IN = ("latent_dim", "width", "steps")  # options that a preset fills in


class Study:
    """The images of an evaluation, and their division in each round."""

    def __init__(
        self,
        source: Source,
        bank: VAEBank | str | Path | None,
        test: Source | None,
        per_class: int | None,
        config: FitConfig,
        seed: int,
        unlabelled: Dataset[Any] | str | Path | None = None,
    ) -> None:
        if isinstance(bank, (str, Path)):
            bank = VAEBank.load(bank)
        if bank is not None:
            source.number_as(bank.class_to_idx)
        source.value_range = common_range(source.value_range, None if bank is None else bank.value_range)
        self._per_class, self._seed = per_class, seed
        self._bank, self._config = bank, config if bank is None else _overridden(bank.config, config)
        self._textbook = {name: getattr(config, name) for name in FILLED_IN if getattr(config, name) is not None}
        self.shape = common_shape(source, config) if bank is None else bank.image_shape
        self.labels = sorted(source.classes)
        self.names = [source.classes[label] for label in self.labels]
        if len(self.labels) < 2:
            raise ValueError(f"dataset must have at least two classes to tell apart, got {self.names}.")
        self._all = self._load(source, {label: place for place, label in enumerate(self.labels)})
        self._counts: list[int] = torch.bincount(self._all.targets).tolist()
        marks = digests(self._all.images)
        # The same number for identical images, [N]; with test data these need not be kept together.
        numbers = np.unique(marks, return_inverse=True)[1] if test is None else np.arange(len(marks))
        self._identity = torch.from_numpy(numbers)
        self.shared = 0  # number of test images that are in dataset too
        self._test = None if test is None else self._load_test(source, test, set(marks))
        self._kept = [self._of_class(count) for count in self._counts]
        if bank is not None:
            self._check(bank, source)
        if self._bank is not None and unlabelled is not None:
            raise ValueError("unlabelled is for banks that are fitted here; a bank is given.")
        others = open_unlabelled(unlabelled, source, seed)
        self._sources = [source, test, None if others is None else others.source]
        self._unlabelled = None if others is None else others.sample(self.shape)[0]  # uint8 [M, C, H, W]
        if self._test is None and self._kept == self._counts:
            raise ValueError("no image is left to test on: use a smaller per_class, or give test data.")

    def key(self, *facts: Any) -> str:
        """Hash of the images, of the options here, and of others: equal keys, equal rounds."""
        seen = [None if each is None else each.fingerprint() for each in self._sources]
        options = sorted(self._config.to_dict().items()), self._per_class, self._textbook, self.labels, self.shape
        bank = None if self._bank is None else self._bank.sha256
        return f"{derive(self._seed, RECIPE, ROUNDS, repr((seen, options, bank, facts))):016x}"

    def fit_steps(self, sources: Set[str]) -> int:
        """Steps of the fits in each round."""
        banks = (self._bank is None and bool(sources & OURS)) + ("textbook" in sources)
        images = self.train_count + (0 if self._unlabelled is None else len(self._unlabelled))
        return banks * (self._config.resolve(images).steps or 0)

    @property
    def train_count(self) -> int:
        return sum(self._kept)

    @property
    def fewest_and_most(self) -> list[int]:
        """Number of training images of the smallest and of the largest class."""
        return [min(self._kept), max(self._kept)]

    @property
    def same_test_images(self) -> bool:
        """True if all rounds are measured on the same images."""
        return self._test is not None

    @property
    def channels(self) -> int:
        """Channels that matter: 1 for grey images, in whatever mode they are stored."""
        return colour_channels(self._all.images)

    @property
    def unequal(self) -> bool:
        """True if classes are unequal in training images, or in images that `per_class` leaves to test on."""
        if max(self._kept) > UNEQUAL * min(self._kept):
            return True
        if self._per_class is None or self._test is not None:
            return False
        left = [count - kept for count, kept in zip(self._counts, self._kept, strict=True) if count > kept]
        return max(left) > UNEQUALLY_HELD_OUT * min(left)

    @property
    def overlap(self) -> float:
        """Correction of the interval for rounds that divide the same images, and so are not independent.

        It is n_2 / n_1 (Nadeau and Bengio 2003) for rounds that train on most images. Rounds that train on a small
        share of them have no more than that share in common, so that the inverse bounds it.
        """
        if self._test is not None:
            return 0.0
        trained, held_out = self.train_count, len(self._all) - self.train_count
        return min(held_out / trained, trained / held_out)

    def strategy(self, strategy: Strategy) -> Strategy:
        """A sampling strategy in terms of the dataset's labels and names, in terms of classes 0 to K-1."""
        place: dict[Any, int] = {key: row for keys in (self.labels, self.names) for row, key in enumerate(keys)}
        if callable(strategy):
            labels = np.array(self.labels)
            return lambda targets: _by_place(strategy(labels[targets]), place)
        if isinstance(strategy, Mapping):
            return _by_place(strategy, place)
        if isinstance(strategy, Sequence) and not isinstance(strategy, str):
            return [place.get(key, repr(key)) for key in strategy]
        return strategy

    def split(self, round_: int) -> tuple[InMemory, InMemory]:
        """Training and held-out images of a round, labels 0 to K-1."""
        chosen, rest = self._sides(round_)
        train = InMemory(self._all.images[chosen], self._all.targets[chosen])
        if self._test is not None:
            return train, self._test
        return train, InMemory(self._all.images[rest], self._all.targets[rest])

    def unmeasured(self, rounds: int) -> list[str]:
        """Names of the classes that no round tests on. Without test data there is a warning too.

        Raises:
            ValueError: in some round fewer than two classes have an image to test on.
        """
        if self._test is not None:
            tested = [self._test.targets]
        else:
            tested = [self._all.targets[self._sides(i)[1]] for i in range(rounds)]
        measured = torch.stack([torch.bincount(targets, minlength=len(self.names)) > 0 for targets in tested])  # [R, K]
        lacking = [name for name, some in zip(self.names, measured.any(0).tolist(), strict=True) if not some]
        if self._test is not None:
            return lacking
        fewest = int(measured.sum(1).min())
        if fewest < 2:
            raise ValueError(
                "at least two classes must have an image left to test on, in each round, "
                f"got {fewest} of {len(self.names)}: use a smaller per_class, or give test data."
            )
        if lacking:
            warn(f"no image is left to test on of {', '.join(map(repr, lacking))}: not measured", DataWarning)
        return lacking

    def _sides(self, round_: int) -> tuple[Tensor, Tensor]:
        """Places of the images that a round trains on, and of those that it holds out without test data.

        Identical images are on one side; where a class's share ends among some, the rest of these is left out.
        """
        chosen = torch.zeros(len(self._all), dtype=torch.bool)
        for label, kept in enumerate(self._kept):
            items = (self._all.targets == label).nonzero()[:, 0]
            order = torch.randperm(len(items), generator=generator(self._seed, "split", round_, label))
            chosen[items[_together(order, self._identity[items])[:kept]]] = True
        rest = (~chosen & ~torch.isin(self._identity, self._identity[chosen])).nonzero()[:, 0]
        order = torch.randperm(len(rest), generator=generator(self._seed, "held out", round_))
        return chosen.nonzero()[:, 0], rest[order[:MOST_TESTED].sort().values]

    def banks(self, arms: Sequence[str], train: InMemory, round_: int, device: str) -> dict[str, VAEBank]:
        """The banks of a round by source of images, fitted on its training images and the unlabelled ones alone."""
        sources = {parse(arm)[0] for arm in arms}
        seed = derive(self._seed, "bank", round_)
        banks = {}
        if sources & OURS:
            more = self.unlabelled(round_)
            banks["ours"] = banks["moves"] = banks["pseudo"] = self._given() or fit(
                train,
                config=self._config,
                unlabelled=None if more is None else TensorDataset(more),
                device=device,
                seed=seed,
                progress=False,
            )
        if "textbook" in sources:
            size = max(self.shape[1:])
            textbook = replace(TEXTBOOK, preset=self._config.preset, image_size=size, **self._textbook)
            banks["textbook"] = fit(train, config=textbook, device=device, seed=seed, progress=False)
        return banks

    def unlabelled(self, round_: int) -> Tensor | None:
        """Unlabelled images that are not held out in a round, uint8 [M, C, H, W]."""
        if self._unlabelled is None:
            return None
        new = others_than(self.split(round_)[1].images, self._unlabelled)
        return self._unlabelled[new] if len(new) else None

    def _given(self) -> VAEBank | None:
        """The caller's bank, for labels 0 to K-1."""
        if self._bank is None:
            return None
        infos = [self._bank.class_infos[self._bank.row_of[label]] for label in self.labels]
        picked = self._bank.subset([info.label for info in infos]).content
        renamed = tuple(replace(info, label=i) for i, info in enumerate(picked.class_infos))
        data = {key: value for key, value in picked.data.items() if key != "fingerprint"}
        kind = kind_of_images(self._all.images)
        policy = self._bank.policy_for(self._counts, classes=self.labels, kind=kind)  # by the whole bank, as a wrapper
        return VAEBank(replace(picked, class_infos=renamed, data=data, policy=policy))

    def _load(self, source: Source, places: dict[int, int]) -> InMemory:
        """All images of a source at the bank's size, with each label replaced by its place."""
        loaded = load_images(source, self.shape)
        values, inverse = loaded.labels.unique(return_inverse=True)
        return InMemory(loaded.images, torch.tensor([places[label] for label in values.tolist()])[inverse])

    def _load_test(self, source: Source, test: Source, known: set[bytes]) -> InMemory:
        """The test images, read as the dataset's are. Raises ValueError if the digests of all are `known`."""
        test.value_range = range_beside(source, test, "test")
        loaded = self._load(test, _places(source, test))
        self.shared = sum(digest in known for digest in digests(loaded.images))
        if self.shared == len(loaded):
            raise ValueError(
                f"test must hold images that dataset does not, got {len(loaded)} that are all in dataset too."
            )
        if self.shared:
            warn(
                f"{self.shared} of the {len(loaded)} test images are in dataset too: figures look better than they are",
                LeakageWarning,
            )
        return loaded

    def _check(self, bank: VAEBank, source: Source) -> None:
        """Raise ValueError if a given bank lacks a class; warn if it was fitted on other data, or on too many."""
        if lacking := source.lacking_in(bank.class_to_idx):
            raise ValueError(f"bank has no class {lacking[0]} of dataset; it has {lacking[1]}.")
        if bank.data.get("fingerprint") not in (None, source.fingerprint()):
            warn(
                "the bank given was fitted on other data than dataset; on test images, figures mislead", LeakageWarning
            )
        if self.train_count < len(self._all):
            warn("the bank given has seen images not trained on: others are fitted, with its options", LeakageWarning)
            self._bank = None

    def _of_class(self, count: int) -> int:
        """Number of training images of a class of `count` images in a round."""
        if self._per_class is not None:
            return min(count, self._per_class)
        return count if self._test is not None else count - round(count * HELD_OUT)


def _by_place(totals: Mapping[Any, int], place: Mapping[Any, int]) -> dict[Any, int]:
    """Totals by class 0 to K-1; a class that is not known is named in quotes, and refused later."""
    return {place.get(key, repr(key)): total for key, total in totals.items()}


def _places(source: Source, test: Source) -> dict[int, int]:
    """The dataset's class that each label of the test data stands for: by name, or if no name is shared by label.

    Labels that are names are never matched by number.
    """
    places = {label: place for place, label in enumerate(sorted(source.classes))}
    known: dict[Any, int] = {name: places[label] for label, name in source.classes.items()}
    wanted: dict[int, Any] = dict(test.classes)
    both = source.has_names and test.has_names
    if not (source.by_name or test.by_name or (both and set(known) & set(test.classes.values()))):
        if both:
            warn("no class of test has a name of dataset's; going by the label", DataWarning)
        known, wanted = places, {label: label for label in test.classes}
    unknown = [label for label, key in wanted.items() if key not in known]
    if unknown:
        raise ValueError(f"test has a class that dataset lacks: {test.classes[unknown[0]]!r}.")
    return {label: known[key] for label, key in wanted.items()}


def _overridden(fitted: FitConfig, given: FitConfig) -> FitConfig:
    """A bank's options, except those given that are not the default; another preset fills in its own values."""
    usual = FitConfig()
    options = {field.name: getattr(given, field.name) for field in fields(given)}
    changes: dict[str, Any] = {name: value for name, value in options.items() if value != getattr(usual, name)}
    if given.preset not in (usual.preset, fitted.preset):
        changes = dict.fromkeys(FILLED_IN) | changes
    return replace(fitted, **changes)


def _together(order: Tensor, identity: Tensor) -> Tensor:
    """The order [N] with identical images moved up to the first of them."""
    _, inverse = identity.unique(return_inverse=True)
    first = torch.full_like(order, len(order)).scatter_reduce(0, inverse, order.argsort(), "amin")
    return first[inverse].argsort(stable=True)
