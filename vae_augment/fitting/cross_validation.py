"""Held-out log-loss of small classifiers that train on images as a policy serves them, without a VAE."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae_augment.bank.policy import Policy
from vae_augment.data.loading import FitData
from vae_augment.data.subsample import added_items
from vae_augment.fitting.classifier import (
    ClassifierJob,
    PooledCNN,
    SmallCNN,
    logits,
    new_classifier,
    train_classifiers,
)
from vae_augment.images.tensors import digests, resize, to_uint8
from vae_augment.model.devices import single_thread
from vae_augment.seeding import derive, draw_items, generator

FOLDS = 5
STEPS, LONGEST = 200, 500  # of a fold's training; the longest for many images or classes, with fewer folds judged
EPOCHS = 10  # through the images of a fold, evened out, at least, if LONGEST allows
CLASS_STEPS = 4  # steps for each class, at least, if LONGEST allows
BATCH = 32  # images a step
SIDE = 32  # pixels: larger images are reduced, which keeps the order of policies at a quarter of the cost
MOST_IMAGES = 10_000
MOST_EVENED = 1_000_000  # images of all classes once those of rare ones are repeated
TEMPERATURES = torch.logspace(-2, 4, 49, base=2)
TOLD_APART = 3.0  # standard errors by which predictions must be better than chance, and moves than stronger ones
NOTHING = (0.0, math.inf)  # a mean and its standard error where no images are known
JUDGES = (SmallCNN, PooledCNN)  # in turn, fold by fold, so that a policy is not one network's


class CrossValidation:
    """Log-loss of held-out images by policies, over folds of a dataset.

    Classes count the same, held out and in training: images of smaller ones are repeated there. Else a rare class,
    hardly learned by so few steps, would show nothing of what moves do for it.

    At ten images a class log-loss, paired by image, tells policies apart that accuracy cannot. Logits are divided by
    one temperature a policy and network (Guo et al. 2017), since certainty that augmentation takes away is no gain in
    accuracy.

    Args:
        data: of two classes or more; of many images some are drawn.
        seed: of folds, weights and draws, the same for every policy.
        device: where to train.
        even: classes count the same in training; if False, as they are.
    """

    def __init__(self, data: FitData, *, seed: int, device: torch.device, even: bool = True) -> None:
        data = _some(data, seed)
        self._images = reduced(data.images)  # uint8 [N, C, h, w]
        self._labels = torch.searchsorted(torch.tensor(sorted(data.names)), data.labels)  # [N], 0 to K-1
        self.classes = len(data.names)
        self._weights = weights(self._labels)
        self._fold = _folds(data, self._labels, seed)  # [N]
        self._seed, self._device = seed, device
        self._logits: dict[str, Tensor] = {}  # by policy: float32 [N, K], NaN where not yet predicted
        self._models: dict[tuple[str, int], nn.Module] = {}  # by policy and fold
        self._judge = self._fold % len(JUDGES)  # [N], whose logits an image has
        self._even = even
        items = len(evened(self._labels)) if even else len(self._images)
        epochs = round(EPOCHS * items * (FOLDS - 1) / FOLDS / BATCH)
        enough = max(STEPS, epochs, CLASS_STEPS * self.classes)
        self.steps = min(enough, LONGEST)
        self.short = self.steps < enough  # what trains for longer gains more by moves than the folds show
        self.folds = range(FOLDS * STEPS // self.steps)

    def judge(self, policies: dict[str, Policy], folds: Iterable[int]) -> None:
        """Predict the images of folds by classifiers that each policy's images of the other folds trained."""
        for name in policies:
            self._logits.setdefault(name, torch.full((len(self._images), self.classes), torch.nan))
        pairs = product(policies, [fold for fold in folds if fold in self.usable])
        new = [(name, fold) for name, fold in pairs if bool(self._logits[name][self._fold == fold].isnan().any())]
        models = self.train([(policies[name], fold) for name, fold in new])
        self._models |= dict(zip(new, models, strict=True))
        for name in dict(new):
            self._logits[name] = self.predicted(name, self._images)

    def predicted(self, name: str, images: Tensor) -> Tensor:
        """Logits of other versions of the images, by classifiers that a policy's images of the other folds trained.

        Args:
            name: of the policy, which has been judged.
            images: uint8 [N, C, H, W], as many as the dataset has, of any size.

        Returns:
            float32 [N, K], NaN for images of folds that have not been judged.
        """
        found = torch.full((len(self._images), self.classes), torch.nan)
        with single_thread():  # the same bits on any number
            for (_, fold), model in filter(lambda each: each[0][0] == name, self._models.items()):
                held_out = self._fold == fold
                found[held_out] = finite_logits(model, reduced(images[held_out]))
        return found

    @property
    def usable(self) -> list[int]:
        """Folds that hold images, and not all of them."""
        return [fold for fold in self.folds if 0 < int((self._fold == fold).sum()) < len(self._fold)]

    def part(self, fold: int, *, held_out: bool) -> tuple[Tensor, Tensor]:
        """Images of a fold, or of all others: uint8 [n, C, h, w], `reduced`, and labels 0 to K-1, [n]."""
        chosen = (self._fold == fold) == held_out
        return self._images[chosen], self._labels[chosen]

    def train(
        self,
        wanted: Iterable[tuple[Policy, int]],
        more: tuple[Tensor, Tensor] | None = None,
        *,
        steps: int | None = None,
    ) -> list[nn.Module]:
        """Train classifiers, each on the images of all folds but one as a policy serves them: networks in `JUDGES`.

        Args:
            wanted: policies, whose probability to jitter is that to move, and folds of the images that are held out.
            more: other images and their labels, as `part` gives them, for half of each batch. K is the label of images
                of none of the classes, which the network then tells too.
            steps: optimizer steps; None: as many as tell policies apart.
        """
        jobs = [self._job(policy, fold, more) for policy, fold in wanted]
        return train_classifiers(jobs, steps=steps or self.steps)

    def _job(self, policy: Policy, fold: int, more: tuple[Tensor, Tensor] | None) -> ClassifierJob:
        classes = self.classes if more is None else max(self.classes, int(more[1].max()) + 1)
        images, labels = self.part(fold, held_out=False)
        items = evened(labels, self._fold[self._fold != fold] >= 0) if self._even else None
        seed, shape = derive(self._seed, "judge", fold), (images.shape[1], images.shape[2], images.shape[3])
        network = JUDGES[fold % len(JUDGES)]
        model = new_classifier(network, shape, classes, seed, self._device, scaled_to=images)

        def batches() -> Iterator[tuple[Tensor, Tensor]]:
            """Batches of copies that are made when they are needed: there may be many jobs."""
            return moved_batches(*self.part(fold, held_out=False), policy, BATCH, seed, more, items)

        return ClassifierJob(model, batches, seed)

    def over(self, name: str, other: str) -> tuple[float, float]:
        """Mean log-loss of a policy less another's, on the images that both have predicted, and its standard error."""
        return self.difference(self._logits[name], self._logits[other])

    def difference(self, ours: Tensor, theirs: Tensor) -> tuple[float, float]:
        """Mean log-loss of logits [N, K] less that of others, and its standard error."""
        return paired(ours, theirs, self._labels, self._weights, self._judge)

    def best(self, names: Iterable[str]) -> str:
        """The policy whose predictions have the least log-loss."""
        return min(names, key=lambda name: self.over(name, "none")[0])

    def over_chance(self, names: Iterable[str]) -> tuple[float, float]:
        """How far the predictions of policies, taken together, are from chance (0) to all right (1); and its error."""
        found = torch.stack([self._logits[name] for name in names])  # [P, N, K]
        known = ~found[:, :, 0].isnan().any(0)
        labels = self._labels[known]
        if len(labels.unique()) < 2:
            return NOTHING
        right = (found[:, known].argmax(2) == labels).double().mean(0)  # [n], share of policies
        chance = 1 / len(labels.unique())
        return mean_and_error((right * weights(labels) - chance) / (1 - chance))


def finite_logits(model: nn.Module, images: Tensor) -> Tensor:
    """Logits [N, K] of images [N, C, h, w]; zeros where a model that went astray has none that are finite."""
    return logits(model, images).nan_to_num(0.0, 0.0, 0.0)


def moved_batches(
    images: Tensor,
    labels: Tensor,
    policy: Policy,
    size: int,
    seed: int,
    more: tuple[Tensor, Tensor] | None = None,
    items: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless shuffled batches of images, some of them moved as a policy tells, and of others for half of each batch.

    Args:
        images: uint8 [N, C, H, W].
        labels: int64 [N].
        policy: its probability to jitter is that to move.
        size: of a batch.
        seed: of the draws.
        more: other images and their labels.
        items: int64 [M], those of an epoch, some of them several times; None: each once.

    Returns:
        Float images [B, C, H, W] in [0, 1], and labels [B].
    """
    if more is None:
        batches = _shuffled(images, labels, size, seed, items)
    else:
        halves = _shuffled(images, labels, size // 2, seed, items), _shuffled(*more, size // 2, derive(seed, "more"))
        batches = ((torch.cat([a, b]), torch.cat([c, d])) for (a, c), (b, d) in zip(*halves, strict=True))
    return _moved(batches, policy, seed)


def _shuffled(
    images: Tensor, labels: Tensor, size: int, seed: int, items: Tensor | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless shuffled batches of at most `size` images: float [B, C, h, w] in [0, 1], and their labels [B]."""
    items = torch.arange(len(images)) if items is None else items
    order, size = generator(seed, "order"), min(size, len(items))
    while True:
        for places in torch.randperm(len(items), generator=order).unfold(0, size, size):
            some = items[places]
            yield images[some].float().div_(255), labels[some]


def _moved(batches: Iterator[tuple[Tensor, Tensor]], policy: Policy, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches with some of the images moved, as the policy tells."""
    chance, draws = generator(seed, "share"), generator(seed, "moves")
    for images, labels in batches:
        some = (torch.rand(len(images), generator=chance) < policy.p_jitter).nonzero()[:, 0]
        if policy.mover is not None:
            images[some] = policy.mover.draw(images[some], draws)
        yield images, labels


def paired(ours: Tensor, theirs: Tensor, labels: Tensor, weight: Tensor, judge: Tensor) -> tuple[float, float]:
    """Mean log-loss of logits [N, K] less that of others, weighted and paired by image, and its standard error.

    Images whose logits are NaN are left out. Logits of each judge, int64 [N], have a temperature of their own.
    """
    known = ~(ours[:, 0].isnan() | theirs[:, 0].isnan())
    weight = weight / weight[known].mean()
    if not bool(known.any()):
        return NOTHING
    differences = []
    for place in judge[known].unique():
        some = known & (judge == place)
        losses = [log_loss(each[some], labels[some], weight[some]) for each in (ours, theirs)]
        differences.append(weight[some] * (losses[0] - losses[1]))
    return mean_and_error(torch.cat(differences))


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Mean of values [N] and its standard error, without end for one value."""
    return values.mean().item(), values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.inf


def log_loss(outputs: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Log-loss [N] of logits [N, K] at the temperature that is best for them."""
    return F.cross_entropy(outputs / temperature(outputs, labels, weight), labels, reduction="none").double()


def temperature(outputs: Tensor, labels: Tensor, weight: Tensor) -> float:
    """Divisor of logits [N, K] at which their weighted log-loss is least, one of TEMPERATURES (Guo et al. 2017)."""
    losses = torch.stack([F.cross_entropy(outputs / t, labels, reduction="none") for t in TEMPERATURES]).double()
    return TEMPERATURES[(losses * weight).mean(1).argmin()].item()


def weights(labels: Tensor) -> Tensor:
    """Weights of images that make every class count the same: float64 [N], 1 on average."""
    counts = torch.bincount(labels).double()
    return len(labels) / int((counts > 0).sum()) / counts[labels]


def evened(labels: Tensor, repeated: Tensor | None = None) -> Tensor:
    """All items of labels [N], then those of smaller classes again until each has as many as the largest: int64 [M].

    Args:
        labels: from 0.
        repeated: bool [N], True for items that may be there several times; None: all. About MOST_EVENED are at most.
    """
    counts = torch.bincount(labels)
    total = min(int(counts.max()), MOST_EVENED // int((counts > 0).sum()))
    fewer = {label: total for label, count in enumerate(counts.tolist()) if 0 < count < total}
    added = added_items(fewer, labels)
    return torch.cat([torch.arange(len(labels)), added if repeated is None else added[repeated[added]]])


def _some(data: FitData, seed: int) -> FitData:
    """At most MOST_IMAGES images, the same share of each class."""
    if len(data.images) <= MOST_IMAGES:
        return data
    share = MOST_IMAGES / len(data.images)
    chosen = []
    for label, name in data.names.items():
        items = draw_items(data.labels, label, generator(seed, "judged", name))
        chosen.append(items[: max(1, round(len(items) * share))])
    items = torch.cat(chosen)
    return FitData(data.images[items], data.labels[items], data.names)


def reduced(images: Tensor) -> Tensor:
    """Images whose longer side is SIDE pixels at most, uint8 [N, C, h, w]."""
    height, width = images.shape[2:]
    share = SIDE / max(height, width)
    if share >= 1:
        return images
    size = (max(8, round(height * share)), max(8, round(width * share)))
    return torch.cat([to_uint8(resize(some.float().div_(255), size)) for some in images.split(500)])


def _folds(data: FitData, labels: Tensor, seed: int) -> Tensor:
    """A fold for each image, those of a class spread evenly, and identical images in one fold: int64 [N].

    Classes without two different images are in none, -1: nothing would be left to learn them from.
    """
    fold = torch.empty_like(labels)
    for place, name in enumerate(data.names[label] for label in sorted(data.names)):
        items = (labels == place).nonzero()[:, 0]
        _, identity = np.unique(digests(data.images[items]), return_inverse=True)
        order = torch.randperm(int(identity.max()) + 1, generator=generator(seed, "folds", name))
        fold[items] = (order[torch.from_numpy(identity)] + place) % FOLDS if len(order) > 1 else -1
    return fold
