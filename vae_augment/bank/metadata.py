"""What the metadata of a bank's file says, each entry checked: the file is untrusted input."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from vae_augment.bank.content import POINTS, STATUSES, ClassInfo, check_unique
from vae_augment.bank.packed_weights import sizes
from vae_augment.bank.policy import Policy
from vae_augment.config import MAX_CHANNELS, MAX_EXEMPLARS, MAX_LATENT_DIM, MAX_SIDE, MAX_WIDTH, NORM_GROUPS, FitConfig
from vae_augment.files.class_names import MAX_CLASSES
from vae_augment.files.untrusted_json import brief
from vae_augment.model.vae import VAE

SIZES = ("image_shape", "latent_dim", "width", "exemplars", "tuned", "bases")
ENTRIES = frozenset(
    ("format", "version", *SIZES, "classes", "config", "policy", "data", "value_range", "start_steps"),
)


@dataclass(frozen=True)
class Declared:
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
    def of(cls, metadata: dict[str, Any]) -> Declared:
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
        if type(self.exemplars) is not int or not 0 <= self.exemplars <= MAX_EXEMPLARS:
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
            "class.curve": ("F16", [classes, POINTS, 2]),
        }
        if self.tuned:
            tensors |= {"class.steps": ("F32", [classes, len(self.vae.shapes)]), "class.base": ("I64", [classes])}
        if self.bases:
            tensors["base.weights"] = ("F16", [self.bases, numbers])
        if self.start_steps is not None:
            tensors |= {"start.pooled": ("F32", [latent, latent]), "start.curve": ("F16", [POINTS, 2])}
        return tensors


def _vae(metadata: dict[str, Any]) -> VAE:
    shape, latent_dim, width = metadata["image_shape"], metadata["latent_dim"], metadata["width"]
    numbers = [*shape, latent_dim, width]
    limits = [MAX_CHANNELS, MAX_SIDE, MAX_SIDE, MAX_LATENT_DIM, MAX_WIDTH]
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


def class_entries(entries: Any) -> list[Any]:
    """What there is of each class. Raises ValueError if that is no list, or of too many."""
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_CLASSES:
        count = f"{len(entries)} classes" if isinstance(entries, list) else brief(entries)
        raise ValueError(f"classes must be a list of 1 to {MAX_CLASSES:,}, got {count}")
    return entries


def is_label(value: Any) -> bool:
    """Whether it is a whole number that int64 holds."""
    return type(value) is int and -(2**63) <= value < 2**63


def _infos(entries: Any) -> tuple[ClassInfo, ...]:
    infos = tuple(map(_info, class_entries(entries)))
    check_unique(infos)
    return infos


def _info(entry: Any) -> ClassInfo:
    names = [field.name for field in fields(ClassInfo)]
    if not isinstance(entry, dict):
        raise ValueError(f"a class must be an object of {', '.join(names)}, got {brief(entry)}")
    odd = sorted(set(names) ^ {"note", *entry})
    if odd:
        raise ValueError(f"a class has an unknown or lacks entry {brief(odd[0])}")
    info = ClassInfo(**entry)
    if not isinstance(info.name, str) or not is_label(info.label) or info.status not in STATUSES:
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


def _data(data: Any) -> dict[str, Any]:
    """What a bank says of its data; `info` and warnings print it."""
    if not isinstance(data, dict):
        raise ValueError(f"data must be an object, got {brief(data)}")
    texts, numbers = ("name", "source", "fingerprint", "ending"), ("images", "seed", "per_class")
    kinds = {**dict.fromkeys(texts, str), **dict.fromkeys(numbers, int)}
    for name, kind in kinds.items():
        if data.get(name) is not None and type(data[name]) is not kind:
            expected = "a text" if kind is str else "a whole number"
            raise ValueError(f"data.{name} must be {expected} or null, got {brief(data[name])}")
    figures = data.get("quality", {})
    if not isinstance(figures, dict) or not all(type(f) in (int, float) and f >= 0 for f in figures.values()):
        raise ValueError(f"data.quality must be figures of at least 0, got {brief(figures)}")
    return data
