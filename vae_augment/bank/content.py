"""What a bank holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from vae_augment.bank.packed_weights import Stored
from vae_augment.bank.policy import Policy
from vae_augment.config import FitConfig
from vae_augment.files.untrusted_json import brief
from vae_augment.model.latent import LatentStats
from vae_augment.model.vae import VAE, Params

POINTS = 32  # of a curve: each is the mean over a 32nd of the steps

STATUSES = ("ok", "few-samples", "constant", "collapsed", "failed")


@dataclass(frozen=True)
class ClassInfo:
    """One class of a bank, and how its fit went.

    Args:
        name: the dataset's own name of the class.
        label: the dataset's integer label.
        images: how many images it was fitted on.
        steps: optimizer steps behind its weights, the warm start's included.
        rmse: root mean squared error of reconstructed training images, pixels in 0..1.
        kl: mean KL divergence of the posterior from the prior, in nats per image.
        active: latent dimensions in use (Burda et al. 2016).
        status: "ok", or what is wrong: "few-samples", "constant", "collapsed", "failed".
        note: the reason, where the status has one.
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
    """What the classes began from: the warm start's weights (K = 1).

    Args:
        params: the weights.
        pooled: float32 [L, L], the within-class covariance of the posterior means over all classes.
        steps: that it was trained for.
        curve: float16 [POINTS, 2], how its training went; see `BankContent.curves`.
    """

    params: Params
    pooled: Tensor
    steps: int
    curve: Tensor


@dataclass(frozen=True)
class BankContent:
    """Everything a bank is, on the CPU: weights and statistics stacked along the class axis, by label.

    Where there is a start, it is the first of `weights.bases`. `curves` is float16 [K, POINTS, 2]: how the
    reconstruction loss in nats per value of an image, and the KL divergence in nats per image, went while each class
    was trained by itself; zeros where it was not.
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

    def __post_init__(self) -> None:
        check_unique(self.class_infos)

    def pick(self, rows: Sequence[int]) -> BankContent:
        """Some classes, without the quality of all, or all of them in another order."""
        rows = list(rows)
        return replace(
            self,
            data=self.data if len(rows) == len(self.class_infos) else without_quality(self.data),
            weights=self.weights.pick(rows),
            stats=self.stats.pick(rows),
            curves=self.curves[rows],
            class_infos=tuple(self.class_infos[row] for row in rows),
        )


def without_quality(data: dict[str, Any]) -> dict[str, Any]:
    """What a bank says of its data, without figures that were of other classes and the key of one fit."""
    return {name: value for name, value in data.items() if name not in ("quality", "key")}


def find_all(infos: Sequence[ClassInfo], classes: Sequence[str | int]) -> list[int]:
    """Positions of classes, in label order. Raises ValueError if one is lacking or none is asked for."""
    rows = sorted({find(infos, c) for c in classes})
    if not rows:
        raise ValueError("classes must name at least one class, got none.")
    return rows


def find(infos: Sequence[ClassInfo], name_or_label: str | int) -> int:
    """Position of a class, by name or integer label. Raises ValueError if there is none."""
    for row, info in enumerate(infos):
        if name_or_label == (info.name if isinstance(name_or_label, str) else info.label):
            return row
    known = ", ".join(f"{info.name!r} (label {info.label})" for info in infos[:20])
    raise ValueError(f"the bank has no class {name_or_label!r}; it has {known}.")


def check_unique(infos: Sequence[ClassInfo]) -> None:
    """Raise ValueError unless each class has a name and a label of its own."""
    for what in ("name", "label"):
        value, times = Counter(getattr(info, what) for info in infos).most_common(1)[0] if infos else (None, 0)
        if times > 1:
            raise ValueError(f"each class needs a {what} of its own, got {brief(value)} more than once.")
