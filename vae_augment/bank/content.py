"""The content of a bank: weights, latent statistics, and facts about its classes and data."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vae_augment.bank.packed_weights import Stored, join
from vae_augment.bank.policy import Policy
from vae_augment.config import FitConfig
from vae_augment.files.untrusted_json import brief
from vae_augment.model.latent import LatentStats, concatenate
from vae_augment.model.samplers import OF_CODES
from vae_augment.model.vae import VAE, Params

POINTS = 32  # of a learning curve: each is the mean over a 32nd of the steps

STATUSES = ("ok", "few-samples", "constant", "collapsed", "blurred", "failed")


@dataclass(frozen=True)
class ClassInfo:
    """A class of a bank, and figures of its fit.

    Args:
        name: the dataset's own name of the class.
        label: the dataset's integer label.
        images: number of images it was fitted on.
        steps: optimizer steps behind its weights, including the warm start's.
        rmse: root mean squared error of reconstructed training images, pixels in 0..1.
        kl: mean KL divergence of the posterior from the prior, in nats per image.
        active: latent dimensions in use (Burda et al. 2016).
        status: one of `STATUSES`.
        note: the reason for a status other than "ok".
    """

    name: str
    label: int
    images: int
    steps: int
    rmse: float
    kl: float
    active: int
    status: str
    note: str = ""


@dataclass(frozen=True)
class Start:
    """The warm start that the classes were tuned from.

    Args:
        params: its weights (K = 1).
        pooled: float32 [L, L], the within-class covariance of the posterior means over all classes.
        steps: optimizer steps it was trained for.
        curve: float16 [POINTS, 2], its learning curve; see `BankContent.curves`.
    """

    params: Params
    pooled: Tensor
    steps: int
    curve: Tensor


@dataclass(frozen=True)
class BankContent:
    """Everything that a bank holds, on the CPU. Weights and statistics have a class axis, ordered by label.

    `start` is the first of `weights.bases`. `curves` is float16 [K, POINTS, 2], the learning curve of each class's own
    training: the reconstruction loss in nats per value of an image, and the KL divergence in nats per image; zeros for
    a class that was not trained by itself. `unlabelled` is int64 [A], the places in the unlabelled dataset of images
    that were taken for the first class of `data["unlabelled"]["adopted"]`, then for the second, and so on.
    """

    vae: VAE
    weights: Stored
    stats: LatentStats
    curves: Tensor
    class_infos: tuple[ClassInfo, ...]
    config: FitConfig
    policy: Policy
    data: dict[str, Any]
    start: Start | None
    value_range: tuple[float, float] | None = None
    unlabelled: Tensor | None = None

    def __post_init__(self) -> None:
        check_unique(self.class_infos)

    def pick(self, rows: Sequence[int]) -> BankContent:
        """Some classes, without the quality figures of all, or all classes in another order."""
        rows = list(rows)
        every = len(rows) == len(self.class_infos)
        return replace(
            self,
            data=self.data if every else without_figures(self.data),
            unlabelled=self.unlabelled if every else None,
            weights=self.weights.pick(rows),
            stats=self.stats.pick(rows),
            curves=self.curves[rows],
            class_infos=tuple(self.class_infos[row] for row in rows),
        )


def merged(a: BankContent, b: BankContent) -> BankContent:
    """The classes of both, in label order; all else is the first's, without figures of its classes together.

    Raises ValueError if their VAEs differ.
    """
    if a.vae != b.vae:
        remedy = "Give both fits the same image_size, latent_dim, width, components and networks"
        raise ValueError(f"banks to merge must have VAEs of the same shapes, got {a.vae} and {b.vae}. {remedy}.")
    infos = (*a.class_infos, *b.class_infos)
    sampled = a.policy.method not in OF_CODES or bool(b.stats.counts.all())
    both = replace(
        a,
        policy=a.policy if sampled else replace(a.policy, method="gaussian"),
        weights=join([a.weights, b.weights]),
        stats=concatenate([a.stats, b.stats]),
        curves=torch.cat([a.curves, b.curves]),
        class_infos=infos,
        config=replace(a.config, share=False),
        data=without_figures(a.data),
        unlabelled=None,
    )
    return both.pick(sorted(range(len(infos)), key=lambda row: infos[row].label))


def without_figures(data: dict[str, Any]) -> dict[str, Any]:
    """`BankContent.data` without what holds for all classes of a fit together: figures, unlabelled images, its key."""
    return {name: value for name, value in data.items() if name not in ("quality", "unlabelled", "membership", "key")}


def find_all(infos: Sequence[ClassInfo], classes: Sequence[str | int]) -> list[int]:
    """Positions of classes, given by name or label, in order. Raises ValueError if one is lacking or none is given."""
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise TypeError(f"classes must be a list of names or labels, got {classes!r}.")
    row_of: dict[str | int, int] = {key: row for row, info in enumerate(infos) for key in (info.name, info.label)}
    rows = set()
    for wanted in classes:
        key = wanted if isinstance(wanted, str) or not hasattr(wanted, "__index__") else operator.index(wanted)
        if not isinstance(key, str | int) or key not in row_of:
            known = ", ".join(f"{info.name!r} (label {info.label})" for info in infos[:20])
            raise ValueError(f"the bank has no class {wanted!r}; it has {known}.")
        rows.add(row_of[key])
    if not rows:
        raise ValueError("classes must name at least one class, got none.")
    return sorted(rows)


def check_unique(infos: Sequence[ClassInfo]) -> None:
    """Raise ValueError unless each class has a name and a label of its own."""
    for what in ("name", "label"):
        value, times = Counter(getattr(info, what) for info in infos).most_common(1)[0] if infos else (None, 0)
        if times > 1:
            raise ValueError(f"each class needs a {what} of its own, got {brief(value)} more than once.")
