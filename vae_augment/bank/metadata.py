"""The metadata of a bank's file, each entry checked: the file is untrusted input."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

from vae_augment.bank.content import POINTS, STATUSES, ClassInfo, check_unique
from vae_augment.bank.packed_weights import own_sizes, sizes
from vae_augment.bank.policy import Policy
from vae_augment.config import (
    MAX_CHANNELS,
    MAX_EXEMPLARS,
    MAX_LATENT_DIM,
    MAX_SIDE,
    MAX_WIDTH,
    MIN_SIDE,
    NORM_GROUPS,
    FitConfig,
)
from vae_augment.files.class_names import MAX_CLASSES
from vae_augment.files.untrusted_json import brief, from_dict
from vae_augment.model.conv_vae import ConvVAE
from vae_augment.model.network_vae import Networks, NetworkVAE
from vae_augment.model.vae import VAE

CHANCE, HIDDEN = 0.5, 0.6  # areas under the ROC curve: of no knowledge, and the most that an interval may reach to
TOLD_APART = 0.55  # area under the ROC curve, beyond which training images are told from others


class NetworksError(Exception):
    """Networks that are not given, or are not those of a bank: the file is not damaged."""


@dataclass(frozen=True)
class Metadata:
    """The entries of the JSON object, in the order of the file. docs/file_format.md explains each."""

    format: str
    version: int
    image_shape: list[int]
    latent_dim: int
    width: int
    exemplars: int
    tuned: bool
    bases: int
    classes: list[Any]
    config: dict[str, Any]
    policy: dict[str, Any]
    data: dict[str, Any]
    value_range: list[float] | None
    start_steps: int | None
    components: int = 0
    networks: list[Any] | None = None


@dataclass(frozen=True)
class LearnedFrom:
    """A summary of the unlabelled images that a bank's VAEs were trained on beside the labelled ones.

    Args:
        images: how many there were.
        right: share of labelled images that classifiers trained without them label correctly, all classes alike.
        sure: mean probability of the labels that were believed; 0 if none was.
        adopted: how many were taken for images of each class, by name.
        content: hash of their number and of some of them.
        name: of their data, if the command opened it.
    """

    images: int
    right: float
    sure: float
    adopted: dict[str, Any]
    content: str = ""
    name: str | None = None

    def check(self) -> None:
        """Raise ValueError for a figure out of range."""
        counts = list(self.adopted.values())
        whole = all(type(count) is int and 0 <= count <= self.images for count in counts)
        if not (whole and self.images >= 0 and 0 <= self.right <= 1 and 0 <= self.sure <= 1):
            raise ValueError(f"data.unlabelled must be shares and numbers of images, got {brief(asdict(self))}")

    def __str__(self) -> str:
        adopted = sum(self.adopted.values())
        named = f" of {self.name.rsplit('/')[-1]}" if self.name else ""
        told = f"classifiers label {100 * self.right:.0f} % of labelled images left out correctly"
        if not adopted:
            return f"{self.images:,} unlabelled images{named}, of which none is taken for a class; {told}"
        return (
            f"{self.images:,} unlabelled images{named}, of which {adopted:,} are taken for a class, sure by "
            f"{100 * self.sure:.1f} % on average; {told}"
        )


@dataclass(frozen=True)
class Membership:
    """Figures of attacks that tell a bank's training images from images held out of its fit.

    An area under the ROC curve of 0.5 is chance. Each is a list of the area and the two ends of its 95 % interval.

    Args:
        images: held-out images, attacked beside as many training images.
        reconstruction: area of the attack by the error of reconstructed images.
        generated: area of the attack by the distance to the nearest of many generated images.
        made_distance: median distance of generated images to the nearest training image of their class, as root mean
            squared difference of pixels in 0..1.
        real_distance: the same of held-out images.
    """

    images: int
    reconstruction: list[float]
    generated: list[float]
    made_distance: float
    real_distance: float

    def check(self) -> None:
        """Raise ValueError for a figure out of range."""
        areas = [*self.reconstruction, *self.generated]
        numbers = all(type(value) in (int, float) and 0 <= value <= 1 for value in areas)
        both = (self.reconstruction, self.generated)
        ordered = numbers and all(len(each) == 3 and each[1] <= each[0] <= each[2] for each in both)
        if not (ordered and self.images >= 0 and min(self.made_distance, self.real_distance) >= 0):
            raise ValueError(f"data.membership must be areas and distances, got {brief(asdict(self))}")

    @property
    def hides(self) -> bool:
        """True if enough images were attacked to say that neither attack tells much."""
        return max(self.reconstruction[2], self.generated[2]) <= HIDDEN

    @property
    def tells(self) -> bool:
        """True if an attack does, and not by chance."""
        return any(area > TOLD_APART and low > CHANCE for area, low, _ in (self.reconstruction, self.generated))

    def __str__(self) -> str:
        areas = (f"{area:.2f} ({low:.2f} to {high:.2f})" for area, low, high in (self.reconstruction, self.generated))
        by_error, by_distance = areas
        return (
            f"training images are told from {self.images:,} held out with an area under the ROC curve of {by_error} by "
            f"their reconstruction and of {by_distance} by generated images, where 0.5 is chance; generated images lie "
            f"at {self.made_distance:.3f} from the nearest training image, real ones at {self.real_distance:.3f}"
        )


@dataclass(frozen=True)
class Declared:
    """The bank that the metadata declares: its entries, and what is made of them."""

    entries: Metadata
    vae: VAE
    infos: tuple[ClassInfo, ...]
    config: FitConfig
    policy: Policy
    value_range: tuple[float, float] | None

    @classmethod
    def of(cls, metadata: dict[str, Any], networks: Networks | None = None) -> Declared:
        """Check each entry as far as possible without the tensors. Raises ValueError for an impossible one.

        `networks` makes the modules of a bank that was fitted with such; raises NetworksError if they are not its own.
        """
        entries = from_dict(Metadata, metadata, "the bank")
        steps, bases, tuned = entries.start_steps, entries.bases, entries.tuned
        if steps is not None and steps < 0:
            raise ValueError(f"start_steps must be null or at least 0, got {steps}")
        if not (tuned or steps is not None) <= bases <= MAX_CLASSES:  # with a start or tuned classes, a base at least
            raise ValueError(f"tuned {tuned} with {bases} bases and start_steps {steps}")
        if not 0 <= entries.exemplars <= MAX_EXEMPLARS:
            raise ValueError(f"exemplars must be from 0 to {MAX_EXEMPLARS:,}, got {entries.exemplars}")
        _check_data(entries.data)
        infos = tuple(map(_info, class_entries(entries.classes)))
        check_unique(infos)
        config, policy = from_dict(FitConfig, entries.config, "config"), Policy.from_dict(entries.policy)
        return cls(entries, _vae(entries, networks), infos, config, policy, _value_range(entries.value_range))

    def tensors(self) -> dict[str, tuple[str, list[int]]]:
        """The type and shape of each tensor that the file must hold."""
        classes, latent, numbers = len(self.infos), self.vae.latent_dim, sum(sizes(self.vae))
        own = own_sizes(self.vae)
        weights = ("I8", [classes, sum(own)]) if self.entries.tuned else ("F16", [classes, numbers])
        tensors: dict[str, tuple[str, list[int]]] = {
            "class.weights": weights,
            "latent.mean": ("F32", [classes, latent]),
            "latent.cov": ("F32", [classes, latent, latent]),
            "latent.exemplars": ("F16", [classes, self.entries.exemplars, latent]),
            "latent.counts": ("I64", [classes]),
            "class.curve": ("F16", [classes, POINTS, 2]),
        }
        if self.entries.tuned:
            tensors |= {"class.steps": ("F32", [classes, len(own)]), "class.base": ("I64", [classes])}
        if self.entries.bases:
            tensors["base.weights"] = ("F16", [self.entries.bases, numbers])
        if self.entries.start_steps is not None:
            tensors |= {"start.pooled": ("F32", [latent, latent]), "start.curve": ("F16", [POINTS, 2])}
        if "unlabelled" in self.entries.data:
            tensors["unlabelled.items"] = ("I64", [sum(self.entries.data["unlabelled"]["adopted"].values())])
        return tensors


SUMMARIES: dict[str, tuple[str, type[LearnedFrom] | type[Membership]]] = {
    "unlabelled": ("also seen", LearnedFrom),
    "membership": ("privacy", Membership),
}


def _vae(entries: Metadata, networks: Networks | None) -> VAE:
    shape, latent_dim, width = entries.image_shape, entries.latent_dim, entries.width
    if len(shape) != 3 or any(type(n) is not int for n in shape) or shape[0] > MAX_CHANNELS:
        raise ValueError(f"image_shape must be of 1 to {MAX_CHANNELS} channels, height and width, got {brief(shape)}")
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in shape[1:]):
        raise ValueError(f"image_shape must be (C, H, W) with sides of {MIN_SIDE} to {MAX_SIDE}, got {brief(shape)}")
    if not 1 <= latent_dim <= MAX_LATENT_DIM:
        raise ValueError(f"latent_dim must be from 1 to {MAX_LATENT_DIM}, got {latent_dim}")
    if entries.networks is not None:
        return _network_vae((shape[0], shape[1], shape[2]), latent_dim, entries.networks, networks)
    if networks is not None:
        raise NetworksError("it was fitted with the networks of this library. Leave networks out")
    if not NORM_GROUPS <= width <= MAX_WIDTH or width % NORM_GROUPS:
        raise ValueError(f"width must be a multiple of {NORM_GROUPS}, at most {MAX_WIDTH}, got {width}")
    return ConvVAE((shape[0], shape[1], shape[2]), latent_dim, width, entries.components)


def networks_entry(vae: NetworkVAE) -> list[Any]:
    """The entry that describes somebody's networks: name and shape of each tensor, and True if it is fixed."""
    return [[name, list(shape), name in vae.fixed] for name, shape in vae.shapes.items()]


def _network_vae(
    shape: tuple[int, int, int], latent_dim: int, declared: list[Any], networks: Networks | None
) -> NetworkVAE:
    """The VAE of somebody's own networks, if they have the tensors that the file declares."""
    if networks is None:
        raise NetworksError(
            "it was fitted with networks of its own. VAEBank.load(path, networks=...) reads it with the function that "
            "makes them, and the bank may be given in place of the path"
        )
    try:
        vae = NetworkVAE(shape, latent_dim, networks)
    except Exception as error:  # of whatever kind somebody's function raises
        raise NetworksError(error) from error
    expected = networks_entry(vae)
    odd = next((theirs or own for theirs, own in zip_longest(declared, expected) if theirs != own), None)
    if odd is not None:
        raise NetworksError(f"these networks are not those that it was fitted with: they differ in {brief(odd)}")
    return vae


def _value_range(values: list[float] | None) -> tuple[float, float] | None:
    if values is None:
        return None
    low, high = values if len(values) == 2 else (math.nan, math.nan)
    if not all(type(v) in (int, float) for v in (low, high)) or not -math.inf < low < high < math.inf:
        raise ValueError(f"value_range must be null or two rising numbers, got {brief(values)}")
    return float(low), float(high)


def class_entries(entries: Any) -> list[Any]:
    """The entries of the classes. Raises ValueError if they are not a list, or too many."""
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_CLASSES:
        count = f"{len(entries)} classes" if isinstance(entries, list) else brief(entries)
        raise ValueError(f"classes must be a list of 1 to {MAX_CLASSES:,}, got {count}")
    return entries


def is_label(value: Any) -> bool:
    """True for a whole number that int64 holds."""
    return type(value) is int and -(2**63) <= value < 2**63


def _info(entry: Any) -> ClassInfo:
    what = f"class {brief(entry.get('name') if isinstance(entry, dict) else entry)}"
    info = from_dict(ClassInfo, entry, what)
    if not is_label(info.label) or info.status not in STATUSES:
        raise ValueError(f"{what} with label {brief(info.label)} and status {brief(info.status)}")
    for name in ("images", "steps", "active"):
        if not 0 <= getattr(info, name) < 2**63:
            raise ValueError(f"{name} of {what} must be at least 0 and of 64 bits, got {brief(getattr(info, name))}")
    return info


def _check_data(data: dict[str, Any]) -> None:
    """Raise ValueError if an entry of `data` that commands and warnings print is of another type."""
    texts, numbers = ("name", "source", "fingerprint", "ending"), ("images", "seed", "per_class")
    for name, kind in {**dict.fromkeys(texts, str), **dict.fromkeys(numbers, int)}.items():
        if data.get(name) is not None and type(data[name]) is not kind:
            expected = "a text" if kind is str else "a whole number"
            raise ValueError(f"data.{name} must be {expected} or null, got {brief(data[name])}")
    figures = data.get("quality", {})
    if not isinstance(figures, dict) or not all(type(f) in (int, float) and f >= 0 for f in figures.values()):
        raise ValueError(f"data.quality must be figures of at least 0, got {brief(figures)}")
    for name, (_, summary) in SUMMARIES.items():
        if name in data:
            from_dict(summary, data[name], f"data.{name}").check()


def summaries(data: dict[str, Any]) -> list[tuple[str, str]]:
    """Titles and texts of what a bank's data says of unlabelled images and of membership attacks."""
    return [(title, str(summary(**data[name]))) for name, (title, summary) in SUMMARIES.items() if name in data]
