"""What a bank holds, and the one safetensors file that holds it. The format is specified in docs/file_format.md.

A file is untrusted input: nothing in it is executed or imported, and its tensors' sizes are checked against what its
metadata declares before any is read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vae_augment.config import FitConfig
from vae_augment.latent import LatentStats
from vae_augment.model import NORM_GROUPS, VAE, Params, pick
from vae_augment.policy import Policy

FORMAT, VERSION = "vae-augment-bank", 1
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
    """Everything a bank is, on the CPU: weights (float16) and statistics stacked along the class axis, by label."""

    vae: VAE
    params: Params
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
            params=pick(self.params, rows),
            stats=self.stats.pick(rows),
            class_infos=tuple(self.class_infos[row] for row in rows),
        )


def without_quality(data: dict[str, Any]) -> dict[str, Any]:
    """What a bank says of its data, without figures that were of other classes."""
    return {name: value for name, value in data.items() if name != "quality"}


def as_stored(params: Params) -> Params:
    """Weights in half precision, as a file and a bank in memory keep them."""
    largest = torch.finfo(torch.float16).max
    return {name: tensor.clamp(-largest, largest).half() for name, tensor in params.items()}


def serialize(content: BankContent) -> bytes:
    """The file's bytes, the same for the same content. Raises ValueError if a number is not finite."""
    tensors = {f"class.{name}": tensor for name, tensor in content.params.items()}
    tensors |= {f"latent.{name}": tensor for name, tensor in _stats_tensors(content.stats).items()}
    if content.start is not None:
        tensors |= {f"start.{name}": tensor.half() for name, tensor in content.start.params.items()}
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


def _read_tensors(path: Path, file: Any, metadata: dict[str, Any], classes: Sequence[str | int] | None) -> BankContent:
    try:
        vae = _vae(metadata)
        infos = tuple(ClassInfo(**entry) for entry in metadata["classes"])
        config = FitConfig.from_dict(metadata["config"])
        policy = Policy.from_dict(metadata["policy"])
        exemplars, start_steps = metadata["exemplars"], metadata["start_steps"]
        if not (start_steps is None or (type(start_steps) is int and start_steps >= 0)):
            raise ValueError(f"start_steps must be null or a whole number, got {start_steps!r}")
        data = dict(metadata["data"])
        value_range = _value_range(metadata["value_range"])
        _check_infos(infos, exemplars)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} has damaged metadata: {error}.") from None
    expected = _expected_shapes(vae, len(infos), exemplars, with_start=start_steps is not None)
    _check_shapes(path, file, expected)
    rows = list(range(len(infos))) if classes is None else find_all(infos, classes)

    def load(name: str) -> Tensor:
        if name.startswith("start.") or len(rows) == len(infos):
            tensor: Tensor = file.get_tensor(name)
        else:
            part = file.get_slice(name)
            tensor = torch.cat([part[row : row + 1] for row in rows])
        _require_finite(name, tensor)
        return tensor

    stats = LatentStats(*(load(f"latent.{name}") for name in ("mean", "cov", "exemplars", "counts")))
    if len(rows) and not bool(((stats.counts >= 0) & (stats.counts <= exemplars)).all()):
        raise ValueError(f"{path} is damaged: latent.counts is out of range.")
    if not stats.usable():
        raise ValueError(f"{path} is damaged: a matrix in latent.cov is no covariance.")
    start = None
    if start_steps is not None:
        start = Start({n: load(f"start.{n}").float() for n in vae.shapes}, load("start.pooled"), start_steps)
    return BankContent(
        vae,
        {name: load(f"class.{name}") for name in vae.shapes},
        stats,
        tuple(infos[row] for row in rows),
        config,
        policy,
        data,
        start,
        value_range,
    )


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


def _expected_shapes(vae: VAE, classes: int, exemplars: int, *, with_start: bool) -> dict[str, list[int]]:
    latent = vae.latent_dim
    shapes = {f"class.{name}": [classes, *shape] for name, shape in vae.shapes.items()}
    shapes |= {
        "latent.mean": [classes, latent],
        "latent.cov": [classes, latent, latent],
        "latent.exemplars": [classes, exemplars, latent],
        "latent.counts": [classes],
    }
    if with_start:
        shapes |= {f"start.{name}": [1, *shape] for name, shape in vae.shapes.items()}
        shapes["start.pooled"] = [latent, latent]
    return shapes


def _dtype(name: str) -> str:
    if name == "latent.counts":
        return "I64"
    return "F32" if name.startswith("latent.") or name == "start.pooled" else "F16"


def _check_shapes(path: Path, file: Any, expected: dict[str, list[int]]) -> None:
    names = set(file.keys())
    odd = sorted(names ^ set(expected))
    if odd:
        what = "lacks" if odd[0] in expected else "has an unknown"
        raise ValueError(f"{path} is damaged: it {what} tensor {odd[0]!r}.")
    for name, shape in expected.items():
        part = file.get_slice(name)
        if part.get_shape() != shape or part.get_dtype() != _dtype(name):
            raise ValueError(
                f"{path} is damaged: tensor {name!r} must be {_dtype(name)} {shape}, "
                f"got {part.get_dtype()} {part.get_shape()}."
            )


def _stats_tensors(stats: LatentStats) -> dict[str, Tensor]:
    return {"mean": stats.mean, "cov": stats.cov, "exemplars": stats.exemplars, "counts": stats.counts}


def _require_finite(name: str, tensor: Tensor) -> None:
    # in parts: what a large temporary leaves behind in the heap, each forked worker would come to own a copy of
    if not all(bool(torch.isfinite(part).all()) for part in tensor.flatten().split(CHECKED_AT_ONCE)):
        raise ValueError(f"tensor {name!r} of the bank holds a number that is not finite.")
