"""What a bank holds, and the one safetensors file that holds it. The format is specified in docs/file_format.md.

A file is untrusted input: nothing in it is executed or imported, and its tensors' sizes are checked against what its
metadata declares before any is read.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vae_augment.config import FitConfig
from vae_augment.latent import LatentStats, check_method
from vae_augment.metadata import MAX_BYTES, brief, parse
from vae_augment.model import NORM_GROUPS, VAE, Params
from vae_augment.policy import Policy
from vae_augment.stored import LARGEST, Stored, sizes

FORMAT, VERSION = "vae-augment-bank", 2
METADATA_KEY = "vae_augment"
MAX_CLASSES, MAX_CHANNELS, MAX_LATENT_DIM, MAX_WIDTH = 100_000, 16, 512, 512
CHECKED_AT_ONCE = 2**16  # numbers
STATUSES = ("ok", "few-samples", "constant", "collapsed", "failed")
SIZES = ("image_shape", "latent_dim", "width", "exemplars", "tuned", "bases")
ENTRIES = frozenset(
    ("format", "version", *SIZES, "classes", "config", "policy", "data", "value_range", "start_steps"),
)
# Images of smaller numbers do not overflow; a class with larger ones is tried out when it is read.
ORDINARY_WEIGHT, ORDINARY_CODE = 16.0, 1e5
FAR, TRIED = 8.0, 8  # standard deviations at which it is tried, and in how many directions


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
        _check_unique(self.class_infos)

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
    _check_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = _metadata(path, file.metadata())
            return _read_tensors(path, file, metadata, classes)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a bank, or is cut off: {error}.") from None


def _check_file(path: Path) -> None:
    """Raise for what is not a file, or says that it has a header larger than any bank's."""
    if not path.exists():
        raise FileNotFoundError(f"no bank at {path}. `vae-augment fit` makes one.")
    if not path.is_file():  # a device or a pipe might never end
        what = "a folder" if path.is_dir() else "not a regular file"
        raise ValueError(f"no bank at {path}: it is {what}. Name the .safetensors file that `vae-augment fit` wrote.")
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > MAX_BYTES:
        raise ValueError(
            f"{path} is not a bank, or is cut off: its header must have at most {MAX_BYTES:,} bytes, got {header:,}."
        )


def _damaged(path: Path, reason: object, what: str = "is damaged") -> ValueError:
    return ValueError(f"{path} {what}: {str(reason).rstrip('.')}. Copy the file again, or fit the bank again.")


def _metadata(path: Path, entries: dict[str, str] | None) -> dict[str, Any]:
    text = (entries or {}).get(METADATA_KEY, "")
    try:
        metadata = parse(text)
        is_bank = metadata["format"] == FORMAT
    except (KeyError, TypeError, json.JSONDecodeError, RecursionError):
        is_bank = False
    except ValueError as error:
        if FORMAT in text:
            raise _damaged(path, error, "has damaged metadata") from None
        is_bank = False
    if not is_bank:
        raise ValueError(f"{path} is a safetensors file but not a bank: `vae-augment fit` makes banks.")
    version = metadata.get("version")
    if type(version) is not int or version != VERSION:
        raise ValueError(
            f"{path} has bank format {brief(version)}, this vae-augment reads {VERSION}. "
            "Upgrade vae-augment to read it."
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
        unknown = sorted(set(metadata) - ENTRIES)
        if unknown:
            raise ValueError(f"it has an unknown entry {brief(unknown[0])}")
        declared = cls(
            _vae(metadata),
            _infos(metadata["classes"]),
            metadata["exemplars"],
            metadata["tuned"],
            metadata["bases"],
            metadata["start_steps"],
            FitConfig.from_dict(metadata["config"]),
            Policy.from_dict(metadata["policy"]),
            _data(metadata["data"]),
            _value_range(metadata["value_range"]),
        )
        declared._check()
        return declared

    def _check(self) -> None:
        steps, bases = self.start_steps, self.bases
        if not (steps is None or (type(steps) is int and steps >= 0)):
            raise ValueError(f"start_steps must be null or a whole number, got {brief(steps)}")
        least = 1 if self.tuned or steps is not None else 0
        if type(self.tuned) is not bool or type(bases) is not int or not least <= bases <= MAX_CLASSES:
            raise ValueError(f"tuned {brief(self.tuned)} with {brief(bases)} bases and start_steps {brief(steps)}")
        if type(self.exemplars) is not int or not 0 <= self.exemplars <= 65_536:
            raise ValueError(f"{len(self.infos)} classes with up to {brief(self.exemplars)} exemplars is out of range")

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
    except KeyError as error:
        raise _damaged(path, f"it lacks {brief(error.args[0])}", "has damaged metadata") from None
    except (TypeError, ValueError) as error:
        raise _damaged(path, error, "has damaged metadata") from None
    _check_tensors(path, file, declared.tensors())
    infos = declared.infos
    rows = list(range(len(infos))) if classes is None else find_all(infos, classes)

    def load(name: str) -> Tensor:
        if not name.startswith(("class.", "latent.")) or len(rows) == len(infos):
            tensor: Tensor = file.get_tensor(name)
        else:
            part = file.get_slice(name)
            tensor = torch.cat([part[row : row + 1] for row in rows])
        try:
            _require_finite(name, tensor)
        except ValueError as error:
            raise _damaged(path, error) from None
        return tensor

    stats = LatentStats(*(load(f"latent.{name}") for name in ("mean", "cov", "exemplars", "counts")))
    if len(rows) and not bool(((stats.counts >= 0) & (stats.counts <= declared.exemplars)).all()):
        raise _damaged(path, "latent.counts is out of range")
    if not stats.usable():
        raise _damaged(path, "a matrix in latent.cov is no covariance")
    weights = _weights(declared, load)
    if not bool(((weights.base >= 0) & (weights.base < declared.bases)).all()):
        raise _damaged(path, "class.base is out of range")
    try:
        check_method(stats.counts, declared.policy.method)
        _check_images(weights, stats)
    except ValueError as error:
        raise _damaged(path, error) from None
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
        declared.data if len(rows) == len(infos) else without_quality(declared.data),
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


@torch.no_grad()
def _check_images(weights: Stored, stats: LatentStats) -> None:
    """Raise if numbers that are finite themselves give images that are not."""
    draws, vae = torch.Generator().manual_seed(0), weights.vae
    noise = FAR * torch.randn(TRIED, vae.latent_dim, generator=draws)
    images = torch.cat([torch.rand(1, *vae.image_shape, generator=draws), torch.zeros(1, *vae.image_shape)])
    images = torch.cat([images, torch.ones_like(images[:1])])
    for row in _extraordinary(weights, stats):
        own, params = stats.pick([row]), weights.params([row])
        far = own.spread(torch.zeros(TRIED, dtype=torch.long), noise)
        exemplars = own.exemplars[0].float()
        largest = exemplars.abs().sum(1).topk(min(TRIED, len(exemplars))).indices
        codes = torch.cat([vae.encode(params, images[None])[0][0], own.mean, exemplars[largest]])
        z = torch.cat([noise, codes, *(code + far for code in codes)])
        if not bool(torch.isfinite(vae.decode(params, z[None])).all()):
            raise ValueError("its weights or latent statistics are so large that images overflow")


def _extraordinary(weights: Stored, stats: LatentStats) -> list[int]:
    """Classes with weights or codes of a size that no fit is known to give."""
    if weights.tuned:
        largest = weights.steps.amax(1) * LARGEST + weights.bases.abs().amax(1).float()[weights.base]
    else:
        largest = torch.stack([values.abs().max().float() for values in weights.values])
    codes = torch.maximum(stats.mean.abs().amax(1), stats.cov.abs().amax((1, 2)).sqrt())
    return (~((largest <= ORDINARY_WEIGHT) & (codes <= ORDINARY_CODE))).nonzero()[:, 0].tolist()


def _vae(metadata: dict[str, Any]) -> VAE:
    shape, latent_dim, width = metadata["image_shape"], metadata["latent_dim"], metadata["width"]
    numbers = [*shape, latent_dim, width]
    limits = [MAX_CHANNELS, 128, 128, MAX_LATENT_DIM, MAX_WIDTH]
    if len(numbers) != len(limits) or not all(
        type(n) is int and 1 <= n <= limit for n, limit in zip(numbers, limits, strict=True)
    ):
        raise ValueError(
            f"image_shape {brief(shape)}, latent_dim {brief(latent_dim)} or width {brief(width)} is out of range"
        )
    if width % NORM_GROUPS:
        raise ValueError(f"width {width} is not a multiple of {NORM_GROUPS}")
    return VAE((shape[0], shape[1], shape[2]), latent_dim, width)


def _value_range(values: Any) -> tuple[float, float] | None:
    if values is None:
        return None
    low, high = values if isinstance(values, list) and len(values) == 2 else (math.nan, math.nan)
    if not all(type(v) in (int, float) for v in (low, high)) or not -math.inf < low < high < math.inf:
        raise ValueError(f"value_range must be null or two rising numbers, got {brief(values)}")
    return float(low), float(high)


def _infos(entries: Any) -> tuple[ClassInfo, ...]:
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_CLASSES:
        count = f"{len(entries)} classes" if isinstance(entries, list) else brief(entries)
        raise ValueError(f"classes must be a list of 1 to {MAX_CLASSES:,}, got {count}")
    infos = tuple(map(_info, entries))
    _check_unique(infos)
    return infos


def _info(entry: Any) -> ClassInfo:
    names = [field.name for field in fields(ClassInfo)]
    if not isinstance(entry, dict):
        raise ValueError(f"a class must be an object of {', '.join(names)}, got {brief(entry)}")
    odd = sorted(set(names) ^ {"note", *entry})
    if odd:
        raise ValueError(f"a class has an unknown or lacks entry {brief(odd[0])}")
    info = ClassInfo(**entry)
    is_label = type(info.label) is int and -(2**63) <= info.label < 2**63
    if not isinstance(info.name, str) or not is_label or info.status not in STATUSES:
        raise ValueError(f"class {brief(info.name)} with label {brief(info.label)} and status {brief(info.status)}")
    for name in ("images", "steps", "active"):
        value = getattr(info, name)
        if type(value) is not int or not 0 <= value < 2**63:
            raise ValueError(f"{name} of class {brief(info.name)} must be a whole number, got {brief(value)}")
    for name in ("rmse", "kl"):
        value = getattr(info, name)
        if type(value) not in (int, float):
            raise ValueError(f"{name} of class {brief(info.name)} must be a number, got {brief(value)}")
    if not isinstance(info.note, str):
        raise ValueError(f"note of class {brief(info.name)} must be a text, got {brief(info.note)}")
    return info


def _check_unique(infos: Sequence[ClassInfo]) -> None:
    for what in ("name", "label"):
        value, times = Counter(getattr(info, what) for info in infos).most_common(1)[0] if infos else (None, 0)
        if times > 1:
            raise ValueError(f"each class needs a {what} of its own, got {brief(value)} more than once.")


def _data(data: Any) -> dict[str, Any]:
    """What a bank says of its data; `info` and warnings print it."""
    if not isinstance(data, dict):
        raise ValueError(f"data must be an object, got {brief(data)}")
    for name, kind in {"name": str, "source": str, "fingerprint": str, "images": int, "seed": int}.items():
        if data.get(name) is not None and type(data[name]) is not kind:
            expected = "a text" if kind is str else "a whole number"
            raise ValueError(f"data.{name} must be {expected} or null, got {brief(data[name])}")
    figures = data.get("quality", {})
    if not isinstance(figures, dict) or not all(type(f) in (int, float) and f >= 0 for f in figures.values()):
        raise ValueError(f"data.quality must be figures of at least 0, got {brief(figures)}")
    return data


def _check_tensors(path: Path, file: Any, expected: dict[str, tuple[str, list[int]]]) -> None:
    odd = sorted(set(file.keys()) ^ set(expected))
    if odd:
        what = "lacks" if odd[0] in expected else "has an unknown"
        raise _damaged(path, f"it {what} tensor {brief(odd[0])}")
    for name, (dtype, shape) in expected.items():
        part = file.get_slice(name)
        if part.get_shape() != shape or part.get_dtype() != dtype:
            got = f"{part.get_dtype()} {part.get_shape()}"
            raise _damaged(path, f"tensor {name!r} must be {dtype} {shape}, got {got}")


def _require_finite(name: str, tensor: Tensor) -> None:
    # in parts: what a large temporary leaves behind in the heap, each forked worker would come to own a copy of
    if not tensor.is_floating_point():
        return
    if not all(bool(torch.isfinite(part).all()) for part in tensor.flatten().split(CHECKED_AT_ONCE)):
        raise ValueError(f"tensor {name!r} of the bank holds a number that is not finite.")
