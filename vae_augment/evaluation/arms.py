"""Training batches of each arm of an evaluation. All arms see the same images in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from vae_augment.bank import VAEBank
from vae_augment.bank.matching import suited
from vae_augment.data.source import Source
from vae_augment.fitting.classifier import BATCH
from vae_augment.fitting.cross_validation import moved_batches
from vae_augment.images.callers_moves import one_by_one
from vae_augment.images.moves import classical_moves
from vae_augment.seeding import derive, generator
from vae_augment.wrapper import VAEAugmentedDataset
from vae_augment.wrapper.sampling_strategy import Strategy

SOURCES = ("none", "ours", "moves", "pseudo", "oversampling", "mixup", "cutmix", "textbook")
CLASSICAL = "classical"
# torchvision's, with its defaults
AUTOMATIC = {"randaugment": "RandAugment", "trivialaugment": "TrivialAugmentWide", "augmix": "AugMix"}
RECIPES = (CLASSICAL, *AUTOMATIC)
MIXED = ("mixup", "cutmix")  # sources whose batches are mixed last
TEXTBOOK_SHARE = 0.5  # of a batch that the textbook arm generates
MIXUP_ALPHA = 0.2

Batch = tuple[Tensor, Tensor]
Classical = Callable[[Tensor, torch.Generator], Tensor]  # float images [B, C, H, W] in [0, 1] to the same shape


class InMemory(Dataset[tuple[Tensor, int]]):
    """Images as a torchvision-style dataset.

    Args:
        images: uint8 [N, C, H, W].
        labels: int64 [N].
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.targets = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], int(self.targets[index])


def parse(arm: str) -> tuple[str, str]:
    """An arm's source of images, and the recipe that follows, "" for none. Raises ValueError for an unknown arm."""
    source, plus, recipe = arm.partition("+")
    if arm in RECIPES:
        return "none", arm
    if source not in SOURCES or (plus and (recipe not in RECIPES or source == "none")):
        known, recipes = (", ".join(map(repr, names)) for names in ((*SOURCES, *RECIPES), RECIPES))
        raise ValueError(
            f"an arm must be one of {known}, or one of {', '.join(map(repr, SOURCES[1:]))} + one of {recipes} "
            f"(such as 'ours+classical'), got {arm!r}."
        )
    return source, recipe


def default_classical(channels: int) -> Classical:
    """The usual augmentation of images with so many channels."""
    return classical_moves(channels).draw


def check_channels(arm: str, channels: int) -> None:
    """Raise ValueError for an arm whose recipe knows grey and colour images alone."""
    if parse(arm)[1] in AUTOMATIC and channels not in (1, 3):
        raise ValueError(f"arm {arm!r} takes images of 1 or 3 channels, as torchvision does, got {channels}.")


def _recipe(name: str, classical: Classical) -> Classical:
    """The function of a recipe; torchvision's draw for each image anew."""
    if name == CLASSICAL:
        return classical
    from torchvision.transforms import v2

    return one_by_one(getattr(v2, AUTOMATIC[name])())


def batches(
    arm: str,
    data: InMemory,
    bank: VAEBank | None,
    *,
    classical: Classical,
    sampling_strategy: Strategy | None,
    seed: int,
    unlabelled: Tensor | None = None,
) -> Iterator[Batch]:
    """Float images [B, C, H, W] in [0, 1] and labels without end: int64 [B], or probabilities [B, K] where mixed.

    Args:
        arm: see `parse`.
        data: real images, labels 0 to K-1.
        bank: for the sources "ours", "moves", "pseudo" and "textbook".
        classical: augments float images [B, C, H, W].
        sampling_strategy: the wrapper's, for "ours" and "moves".
        seed: of a stream for each kind of randomness, so that arms draw alike what they have in common.
        unlabelled: uint8 [M, C, H, W], the images that the bank was fitted with, for the sources "ours" and "pseudo".
    """
    source, recipe = parse(arm)
    if bank is None or bank.content.unlabelled is None:
        unlabelled = None  # none of them was new
    if source == "pseudo":
        items = _pseudo(data, bank, unlabelled, seed)
    elif source == "ours":
        items = _ours(data, bank, sampling_strategy, seed, unlabelled=unlabelled)
    else:
        items = _SOURCES[source](data, bank, sampling_strategy, seed)
    moves, pairs = generator(seed, "classical"), generator(seed, "mixup")
    move = _recipe(recipe, classical) if recipe else None
    mix = _mixer(source, data) if source in MIXED else None
    for images, labels in items:
        moved = images if move is None else move(images, moves)
        yield (moved, labels) if mix is None else mix(moved, labels, pairs)


def _order(count: int, seed: int) -> Iterator[tuple[int, Tensor]]:
    """The epoch and the indices [B] of each batch; each epoch has its own order, without a last short batch."""
    random = generator(seed, "order")
    epoch, size = 0, min(BATCH, count)
    while True:
        for some in torch.randperm(count, generator=random).split(BATCH):
            if len(some) == size:
                yield epoch, some
        epoch += 1


def _real(data: InMemory, bank: VAEBank | None, strategy: Strategy | None, seed: int) -> Iterator[Batch]:
    for _, some in _order(len(data), seed):
        yield data.images[some].float().div_(255), data.targets[some]


def _oversampled(data: InMemory, bank: VAEBank | None, strategy: Strategy | None, seed: int) -> Iterator[Batch]:
    """Random oversampling: every class is equally frequent in a batch."""
    random = generator(seed, "order")
    weights = 1 / torch.bincount(data.targets).double()[data.targets]
    while True:
        some = torch.multinomial(weights, BATCH, replacement=True, generator=random)
        yield data.images[some].float().div_(255), data.targets[some]


def _ours(
    data: InMemory,
    bank: VAEBank | None,
    strategy: Strategy | None,
    seed: int,
    *,
    moved: float | None = None,
    unlabelled: Tensor | None = None,
) -> Iterator[Batch]:
    """Items that the wrapper serves; or as many `moved`, and nothing jittered or generated."""
    none = None if moved is None else 0.0
    dataset = VAEAugmentedDataset(
        data,
        bank,
        unlabelled=None if unlabelled is None else TensorDataset(unlabelled),
        p_generate=none,
        p_jitter=moved,
        scale=none,
        sampling_strategy=strategy,
        seed=derive(seed, "ours"),
    )
    for epoch, some in _order(len(dataset), seed):
        dataset.set_epoch(epoch)
        items = dataset.__getitems__(some.tolist())
        yield torch.stack([image for image, _ in items]).float().div_(255), dataset.targets[some]


def _moves(data: InMemory, bank: VAEBank | None, strategy: Strategy | None, seed: int) -> Iterator[Batch]:
    """Items that the wrapper serves, without what the VAE does: moved as often, and not jittered."""
    assert bank is not None
    policy = suited(bank, Source(data)).policy.without_vae()
    if policy.off and strategy is None:
        return _real(data, None, None, seed)
    return _ours(data, VAEBank(replace(bank.content, policy=policy)), strategy, seed, moved=policy.p_jitter)


def _pseudo(data: InMemory, bank: VAEBank | None, unlabelled: Tensor | None, seed: int) -> Iterator[Batch]:
    """Items that are moved as often as the wrapper's, and for half of each batch unlabelled images with labels found.

    Pseudo-labels (Lee 2013), without a VAE.
    """
    assert bank is not None
    places, more = bank.content.unlabelled, None
    if unlabelled is not None and places is not None and len(places):
        adopted = bank.data["unlabelled"]["adopted"]
        labels = torch.tensor([bank.class_to_idx[name] for name in adopted])
        more = unlabelled[places], labels.repeat_interleave(torch.tensor(list(adopted.values())))
    return moved_batches(data.images, data.targets, bank.policy.without_vae(), BATCH, seed, more)


def _textbook(data: InMemory, bank: VAEBank | None, strategy: Strategy | None, seed: int) -> Iterator[Batch]:
    """Real images, half of which are replaced by images decoded from draws of the prior."""
    assert bank is not None
    random = generator(seed, "textbook")
    for images, labels in _real(data, None, None, seed):
        drawn = torch.rand(len(images), generator=random) < TEXTBOOK_SHARE
        if bool(drawn.any()):
            images[drawn] = bank.sample(labels[drawn], method="prior", generator=random).float().div_(255)
        yield images, labels


_SOURCES: dict[str, Callable[[InMemory, VAEBank | None, Strategy | None, int], Iterator[Batch]]] = {
    "none": _real,
    "moves": _moves,
    "mixup": _real,
    "cutmix": _real,
    "oversampling": _oversampled,
    "textbook": _textbook,
}


def _mixer(source: str, data: InMemory) -> Callable[[Tensor, Tensor, torch.Generator], Batch]:
    """Torchvision's mixup (Zhang et al. 2018) or CutMix (Yun et al. 2019), with draws of a generator of ours."""
    from torchvision.transforms import v2

    classes = int(data.targets.max()) + 1
    mixed = v2.MixUp(alpha=MIXUP_ALPHA, num_classes=classes) if source == "mixup" else v2.CutMix(num_classes=classes)

    def mix(images: Tensor, labels: Tensor, random: torch.Generator) -> Batch:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=random)))
            made: Batch = mixed(images, labels)
        return made

    return mix
