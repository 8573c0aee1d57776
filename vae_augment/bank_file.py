"""What a bank holds, and the one safetensors file that holds it. The format is specified in docs/file_format.md.

A file is untrusted input: nothing in it is executed or imported, and its tensors' sizes are checked against what its
metadata declares before any is read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vae_augment.config import FitConfig
from vae_augment.latent import LatentStats
from vae_augment.model import NORM_GROUPS, VAE, Params
from vae_augment.policy import Policy
from vae_augment.stored import Stored, sizes

FORMAT, VERSION = "vae-augment-bank", 2
METADATA_KEY = "vae_augment"
MAX_CLASSES, MAX_CHANNELS, MAX_LATENT_DIM, MAX_WIDTH = 100_000, 16, 512, 512
CHECKED_AT_ONCE = 2**16  # numbers
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
    """What the classes began from: the warm start's weights (K = 1) and the pooled within-class covariance [L, L]."""

    params: Params
    pooled: Tensor
    steps: int


@dataclass(frozen=True)
class BankContent:
    """Everything a bank is, on the CPU: weights and statistics stacked along the class axis, by label.

    Where there is a start, it is the first of `weights.bases`.
    """

    vae: VAE
    weights: Stored
    stats: LatentStats
    class_infos: tuple[ClassInfo, ...]
    config: FitConfig
    policy: Policy
    data: dict[str, Any]
    start: Start | None
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for what in ("name", "label"):
            values = [getattr(info, what) for info in self.class_infos]
            twice = sorted({v for v in values if values.count(v) > 1}) if len(set(values)) < len(values) else []
            if twice:
                raise ValueError(f"each class needs a {what} of its own, got {twice[0]!r} more than once.")

    def pick(self, rows: Sequence[int]) -> BankContent:
        """Some classes, without the quality of all, or all of them in another order."""
        rows = list(rows)
        return replace(
            self,
            data=self.data if len(rows) == len(self.class_infos) else without_quality(self.data),
            weights=self.weights.pick(rows),
            stats=self.stats.pick(rows),
            class_infos=tuple(self.class_infos[row] for row in rows),
        )


def without_quality(data: dict[str, Any]) -> dict[str, Any]:
    """What a bank says of its data, without figures that were of other classes and the key of one fit."""
    return {name: value for name, value in data.items() if name not in ("quality", "key")}


def serialize(content: BankContent) -> bytes:
    """The file's bytes, the same for the same content. Raises ValueError if a number is not finite."""
    weights = content.weights
    tensors = {"class.weights": weights.values}
    if weights.tuned:
        tensors |= {"class.steps": weights.steps, "class.base": weights.base}
    if len(weights.bases):
        tensors["base.weights"] = weights.bases
    tensors |= {f"latent.{name}": tensor for name, tensor in content.stats.tensors().items()}
    if content.start is not None:
        tensors["start.pooled"] = content.start.pooled
    for name, tensor in tensors.items():
        _require_finite(name, tensor)
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "image_shape": list(content.vae.image_shape),
        "latent_dim": content.vae.latent_dim,
        "width": content.vae.width,
        "exemplars": content.stats.exemplars.shape[1],
        "tuned": weights.tuned,
        "bases": len(weights.bases),
        "classes": [asdict(info) for info in content.class_infos],
        "config": content.config.to_dict(),
        "policy": content.policy.to_dict(),
        "data": content.data,
        "value_range": content.value_range,
        "start_steps": None if content.start is None else content.start.steps,
    }
    text = json.dumps(metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return bytes(save({n: t.contiguous() for n, t in tensors.items()}, {METADATA_KEY: text}))


def read(path: str | Path, classes: Sequence[str | int] | None = None) -> BankContent:
    """The content of a bank file, or of some of its classes without reading the others.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no bank, is damaged, or was written by a newer version; or it lacks a class asked for.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no bank at {path}. `vae-augment fit` makes one.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = _metadata(path, file.metadata())
            return _read_tensors(path, file, metadata, classes)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a bank, or is cut off: {error}.") from None


def _metadata(path: Path, entries: dict[str, str] | None) -> dict[str, Any]:
    try:
        metadata = json.loads((entries or {})[METADATA_KEY])
        is_bank = metadata["format"] == FORMAT
    except (KeyError, TypeError, ValueError, RecursionError):
        is_bank = False
    if not is_bank:
        raise ValueError(f"{path} is a safetensors file but not a bank: `vae-augment fit` makes banks.")
    version = metadata.get("version")
    if version != VERSION:
        raise ValueError(
            f"{path} has bank format {version!r}, this vae-augment reads {VERSION}. Upgrade vae-augment to read it."
        )
    return dict(metadata)


@dataclass(frozen=True)
class _Declared:
    """What a file's metadata says, checked as far as it can be without the tensors."""

    vae: VAE
    infos: tuple[ClassInfo, ...]
    exemplars: int
    tuned: bool
    bases: int
    start_steps: int | None
    config: FitConfig
    policy: Policy
    data: dict[str, Any]
    value_range: tuple[float, float] | None

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> _Declared:
        """Raises KeyError, TypeError or ValueError for what a bank cannot say."""
        declared = cls(
            _vae(metadata),
            tuple(ClassInfo(**entry) for entry in metadata["classes"]),
            metadata["exemplars"],
            metadata["tuned"],
            metadata["bases"],
            metadata["start_steps"],
            FitConfig.from_dict(metadata["config"]),
            Policy.from_dict(metadata["policy"]),
            dict(metadata["data"]),
            _value_range(metadata["value_range"]),
        )
        declared._check()
        return declared

    def _check(self) -> None:
        steps, bases = self.start_steps, self.bases
        if not (steps is None or (type(steps) is int and steps >= 0)):
            raise ValueError(f"start_steps must be null or a whole number, got {steps!r}")
        least = 1 if self.tuned or steps is not None else 0
        if type(self.tuned) is not bool or type(bases) is not int or not least <= bases <= MAX_CLASSES:
            raise ValueError(f"tuned {self.tuned!r} with {bases!r} bases and start_steps {steps!r}")
        _check_infos(self.infos, self.exemplars)

    def tensors(self) -> dict[str, tuple[str, list[int]]]:
        """The type and shape of each tensor that the file must hold."""
        classes, latent, numbers = len(self.infos), self.vae.latent_dim, sum(sizes(self.vae))
        tensors = {
            "class.weights": ("I8" if self.tuned else "F16", [classes, numbers]),
            "latent.mean": ("F32", [classes, latent]),
            "latent.cov": ("F32", [classes, latent, latent]),
            "latent.exemplars": ("F16", [classes, self.exemplars, latent]),
            "latent.counts": ("I64", [classes]),
        }
        if self.tuned:
            tensors |= {"class.steps": ("F32", [classes, len(self.vae.shapes)]), "class.base": ("I64", [classes])}
        if self.bases:
            tensors["base.weights"] = ("F16", [self.bases, numbers])
        if self.start_steps is not None:
            tensors["start.pooled"] = ("F32", [latent, latent])
        return tensors


def _read_tensors(path: Path, file: Any, metadata: dict[str, Any], classes: Sequence[str | int] | None) -> BankContent:
    try:
        declared = _Declared.of(metadata)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} has damaged metadata: {error}.") from None
    _check_tensors(path, file, declared.tensors())
    infos = declared.infos
    rows = list(range(len(infos))) if classes is None else find_all(infos, classes)

    def load(name: str) -> Tensor:
        if not name.startswith(("class.", "latent.")) or len(rows) == len(infos):
            tensor: Tensor = file.get_tensor(name)
        else:
            part = file.get_slice(name)
            tensor = torch.cat([part[row : row + 1] for row in rows])
        _require_finite(name, tensor)
        return tensor

    stats = LatentStats(*(load(f"latent.{name}") for name in ("mean", "cov", "exemplars", "counts")))
    if len(rows) and not bool(((stats.counts >= 0) & (stats.counts <= declared.exemplars)).all()):
        raise ValueError(f"{path} is damaged: latent.counts is out of range.")
    if not stats.usable():
        raise ValueError(f"{path} is damaged: a matrix in latent.cov is no covariance.")
    weights = _weights(declared, load)
    if not bool(((weights.base >= 0) & (weights.base < declared.bases)).all()):
        raise ValueError(f"{path} is damaged: class.base is out of range.")
    start = None
    if declared.start_steps is not None:
        start = Start(weights.start(), load("start.pooled"), declared.start_steps)
    return BankContent(
        declared.vae,
        weights,
        stats,
        tuple(infos[row] for row in rows),
        declared.config,
        declared.policy,
        declared.data,
        start,
        declared.value_range,
    )


def _weights(declared: _Declared, load: Callable[[str], Tensor]) -> Stored:
    values = load("class.weights")
    bases = load("base.weights") if declared.bases else torch.zeros(0, values.shape[1]).half()
    if declared.tuned:
        return Stored(declared.vae, values, load("class.steps"), load("class.base"), bases)
    return Stored(declared.vae, values, torch.zeros(len(values), 0), torch.zeros(0, dtype=torch.long), bases)


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


def _vae(metadata: dict[str, Any]) -> VAE:
    shape, latent_dim, width = metadata["image_shape"], metadata["latent_dim"], metadata["width"]
    numbers = [*shape, latent_dim, width]
    limits = [MAX_CHANNELS, 128, 128, MAX_LATENT_DIM, MAX_WIDTH]
    if len(numbers) != len(limits) or not all(
        type(n) is int and 1 <= n <= limit for n, limit in zip(numbers, limits, strict=True)
    ):
        raise ValueError(f"image_shape {shape}, latent_dim {latent_dim} or width {width} is out of range")
    if width % NORM_GROUPS:
        raise ValueError(f"width {width} is not a multiple of {NORM_GROUPS}")
    return VAE((shape[0], shape[1], shape[2]), latent_dim, width)


def _value_range(values: Any) -> tuple[float, float] | None:
    if values is None:
        return None
    low, high = values
    if not all(type(v) in (int, float) for v in values) or not -math.inf < low < high < math.inf:
        raise ValueError(f"value_range must be null or two rising numbers, got {values!r}")
    return float(low), float(high)


def _check_infos(infos: Sequence[ClassInfo], exemplars: int) -> None:
    if not 1 <= len(infos) <= MAX_CLASSES or type(exemplars) is not int or not 0 <= exemplars <= 65_536:
        raise ValueError(f"{len(infos)} classes with up to {exemplars!r} exemplars is out of range")
    for info in infos:
        if not isinstance(info.name, str) or type(info.label) is not int or info.status not in STATUSES:
            raise ValueError(f"class {info.name!r} with label {info.label!r} and status {info.status!r}")


def _check_tensors(path: Path, file: Any, expected: dict[str, tuple[str, list[int]]]) -> None:
    odd = sorted(set(file.keys()) ^ set(expected))
    if odd:
        what = "lacks" if odd[0] in expected else "has an unknown"
        raise ValueError(f"{path} is damaged: it {what} tensor {odd[0]!r}.")
    for name, (dtype, shape) in expected.items():
        part = file.get_slice(name)
        if part.get_shape() != shape or part.get_dtype() != dtype:
            raise ValueError(
                f"{path} is damaged: tensor {name!r} must be {dtype} {shape}, "
                f"got {part.get_dtype()} {part.get_shape()}."
            )


def _require_finite(name: str, tensor: Tensor) -> None:
    # in parts: what a large temporary leaves behind in the heap, each forked worker would come to own a copy of
    if not tensor.is_floating_point():
        return
    if not all(bool(torch.isfinite(part).all()) for part in tensor.flatten().split(CHECKED_AT_ONCE)):
        raise ValueError(f"tensor {name!r} of the bank holds a number that is not finite.")
