"""Options of a fit and limits of a bank, each written here and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

MIN_SIDE, MAX_SIDE = 8, 256  # pixels of the images that a bank models
MAX_CHANNELS = 16
MAX_LATENT_DIM, MAX_WIDTH, MAX_EXEMPLARS = 512, 512, 65_536
NORM_GROUPS = 8  # of GroupNorm: the width is a multiple of it
MAX_PIXELS = 89_478_485  # of an image file by default: above it Pillow warns
MOST_PIXELS = 2 * MAX_PIXELS  # above it Pillow refuses

# Steps are for a large dataset; `FitConfig.resolve` lowers them for a smaller one.
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"latent_dim": 16, "image_size": 32, "width": 32, "steps": 500},
    "default": {"latent_dim": 16, "image_size": 64, "width": 32, "steps": 2500},
    "best": {"latent_dim": 24, "image_size": 128, "width": 48, "steps": 7500},
}
CHOICES = {
    "preset": tuple(PRESETS),
    "sharing": ("warm-start", "none"),
    "invariances": ("auto", "none", "affine", "colour", "elastic", "elastic-colour", "custom"),
    "policy": ("auto", "none", "gentle", "drawings", "photographs", "textures"),
}
RANGES = {
    "latent_dim": (1, MAX_LATENT_DIM),
    "image_size": (MIN_SIDE, MAX_SIDE),
    "steps": (1, 10_000_000),
    "width": (NORM_GROUPS, MAX_WIDTH),
    "batch_size": (1, 65_536),
    "exemplars": (0, MAX_EXEMPLARS),
    "components": (0, MAX_LATENT_DIM),
}
COMPONENTS = 64  # of photographs and textures, measured on hands (docs/photographs.md)
SMALL_DATASET, LARGE_DATASET = 5_000, 50_000  # images between which the number of steps rises


@dataclass(frozen=True)
class FitConfig:
    """Options of `fit`. `None` means the preset's value.

    Example:
        >>> FitConfig(preset="fast", latent_dim=8)

    Args:
        preset: "fast" (seconds, for a look), "default", or "best" (three times the steps of a wider model).
        latent_dim: latent dimensions of each class's VAE.
        image_size: longer side in pixels, 8 to 256, of the images a bank models. By default the dataset's most
            common size, capped by the preset at 32, 64 or 128.
        sharing: "warm-start" trains one VAE on all classes first and fine-tunes a copy per class; "none" trains
            each class from random weights.
        invariances: random moves of the images that the VAEs train on (`vae_augment.images.moves`): "affine" (rotated,
            shifted and scaled), "colour" (brightness and contrast too), "elastic" (slanted and bent too),
            "elastic-colour", "none", or any transform of one float image [C, H, W] in [0, 1] that draws from torch's
            global generator, as torchvision's do. "auto": for classes of fewer than 1,000 images "affine" if they are
            grey, else "elastic-colour"; for larger classes "none".
        steps: optimizer steps behind each class's VAE; three quarters of them are the shared warm start's. More than
            12 classes are fine-tuned for fewer steps each, so that all of them take as long as 12.
        policy: how the wrapper augments. "auto": random moves are tried on held-out images of the data itself, and,
            if there are enough, the VAE with them. Named by hand, without a trial: "drawings" (jittered, moved and
            bent), "photographs"
            (jittered, moved, up to two values changed), "textures" (up to four slight changes), "gentle" (a little of
            many), or "none", only where the wrapper is told to.
        width: channels of the finest convolution; coarser ones have twice as many.
        batch_size: images per step of fine-tuning, fewer for small classes; twice as many in the warm start, or a
            quarter for few photographs with components.
        learning_rate: Adam's peak rate in fine-tuning; twice as high in the warm start.
        exemplars: latent codes of training images kept per class; new images are drawn around them. With 0 the bank
            holds no code of any single image and draws from a Gaussian.
        share: True makes a bank for others: without exemplars, of one VAE for all classes with the statistics of each,
            and fitted without a tenth of the images, on which it is measured how well it hides the others
            (`bank.data["membership"]`).
        components: principal components of all classes' images, at 16 pixels, that the VAEs add to: so many of the
            latent dimensions. By default 64 for photographs and textures, which come out sharper and without seams
            (docs/photographs.md), at most `latent_dim` where that is given; 0 for drawings, without a warm start, and
            for a bank to share, since with them training images are told from others more easily.

    Raises:
        ValueError: an option is out of range; the text names it.
    """

    preset: str = "default"
    latent_dim: int | None = None
    image_size: int | None = None
    sharing: str = "warm-start"
    invariances: str | Callable[[Any], Any] = "auto"
    steps: int | None = None
    policy: str = "auto"
    width: int | None = None
    batch_size: int = 128
    learning_rate: float = 2e-3
    exemplars: int = 512
    share: bool = False
    components: int | None = None

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices and not (name == "invariances" and callable(self.invariances)):
                expected = ", ".join(repr(c) for c in choices)
                raise ValueError(f"{name} must be one of {expected}, got {getattr(self, name)!r}.")
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is None and (name in PRESETS["default"] or name == "components"):
                continue
            if not isinstance(value, Integral) or isinstance(value, bool) or not low <= int(value) <= high:
                raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}.")
            object.__setattr__(self, name, int(value))  # NumPy's integers would not be written as JSON
        if self.width is not None and self.width % NORM_GROUPS:
            raise ValueError(f"width must be a multiple of {NORM_GROUPS}, got {self.width}.")
        is_number = isinstance(self.learning_rate, Real) and not isinstance(self.learning_rate, bool)
        if not is_number or not 0 < float(self.learning_rate) <= 1:
            raise ValueError(f"learning_rate must be in (0, 1], got {self.learning_rate!r}.")
        object.__setattr__(self, "learning_rate", float(self.learning_rate))
        if not isinstance(self.share, bool):
            raise ValueError(f"share must be True or False, got {self.share!r}.")
        if self.share and self.sharing == "none":
            raise ValueError("share=True needs sharing='warm-start', got 'none': classes fitted apart give more away.")
        if self.share:
            object.__setattr__(self, "exemplars", 0)
        if self.components and self.sharing == "none":
            raise ValueError("components need sharing='warm-start', got 'none': they are those of all classes.")
        if (self.components or 0) > (self.latent_dim or MAX_LATENT_DIM):
            raise ValueError(f"components must be at most latent_dim, {self.latent_dim}, got {self.components}.")

    def resolve(self, images: int, components: int = 0) -> FitConfig:
        """Copy with the preset's values for a dataset of `images` images in place of `None`.

        `image_size` and `components` may stay `None`: the images decide them (`image_size_cap`). There are as many
        latent dimensions as `components` at least.
        """
        preset = PRESETS[self.preset]
        size = min(max(images, SMALL_DATASET), LARGE_DATASET)
        return replace(
            self,
            latent_dim=self.latent_dim or max(preset["latent_dim"], self.components or components),
            width=self.width or preset["width"],
            steps=self.steps or round(preset["steps"] * math.sqrt(size / LARGE_DATASET)),
        )

    @property
    def image_size_cap(self) -> int:
        """The preset's limit in pixels to the longer side, for an `image_size` of `None`."""
        return int(PRESETS[self.preset]["image_size"])

    def to_dict(self) -> dict[str, Any]:
        """Options as a bank's metadata holds them, components only where their number was given.

        A callable `invariances` becomes "custom".
        """
        options = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.components is None:
            del options["components"]
        return options | ({"invariances": "custom"} if callable(self.invariances) else {})
