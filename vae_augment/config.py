"""The options of a fit, and the limits of what a bank can be: each is written here and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

MIN_SIDE, MAX_SIDE = 8, 128  # pixels, of the images that a bank models
MAX_CHANNELS = 16  # of those images
MAX_LATENT_DIM, MAX_WIDTH, MAX_EXEMPLARS = 512, 512, 65_536
NORM_GROUPS = 8  # that GroupNorm divides channels into: the width is a multiple of it
MAX_PIXELS = 89_478_485  # of an image file, unless told: those from which Pillow warns
MOST_PIXELS = 2 * MAX_PIXELS  # those from which Pillow refuses

# A preset's values. Steps are those of a full-sized dataset; `FitConfig.resolve` lowers them for a small one.
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"latent_dim": 16, "image_size": 32, "width": 32, "steps": 500},
    "default": {"latent_dim": 16, "image_size": 64, "width": 32, "steps": 2500},
    "best": {"latent_dim": 24, "image_size": 128, "width": 48, "steps": 7500},
}
CHOICES = {
    "preset": tuple(PRESETS),
    "sharing": ("warm-start", "none"),
    "invariances": ("auto", "none", "affine", "colour", "elastic", "elastic-colour", "custom"),
    "policy": ("auto", "none"),
}
RANGES = {
    "latent_dim": (1, MAX_LATENT_DIM),
    "image_size": (MIN_SIDE, MAX_SIDE),
    "steps": (1, 10_000_000),
    "width": (NORM_GROUPS, MAX_WIDTH),
    "batch_size": (1, 65_536),
    "exemplars": (0, MAX_EXEMPLARS),
}
# The sizes below which steps stop falling and above which they stop rising.
SMALL_DATASET, LARGE_DATASET = 5_000, 50_000


@dataclass(frozen=True)
class FitConfig:
    """How a bank is fitted. `None` means the preset's value.

    Example:
        >>> FitConfig(preset="fast", latent_dim=8)

    Args:
        preset: "fast" (seconds, for a look), "default", or "best" (three times the steps of a wider model).
        latent_dim: latent dimensions of each class's VAE.
        image_size: longer side in pixels, 8 to 128, of the images a bank models. By default the dataset's most
            common size, capped by the preset at 32, 64 or 128.
        sharing: "warm-start" trains one VAE on all classes first and fine-tunes a copy per class; "none" trains
            each class from random weights.
        invariances: how copies of the images are moved for the VAEs to train on (`vae_augment.images.moves`): "affine"
            (rotated, shifted and scaled), "colour" (brightness and contrast too), "elastic" (slanted and bent),
            "elastic-colour", "none", or any transform of one float image [C, H, W] in [0, 1] that draws from torch's
            global generator, as torchvision's do. "auto": for classes of fewer than 1,000 images affine if they are
            grey, elastic-colour otherwise; else none.
        steps: optimizer steps behind each class's VAE, the shared ones of the warm start (three quarters) included.
            Where there are more than 12 classes each is tuned for fewer, so that all of them take as long as 12.
        policy: "auto" takes how often and how strongly to augment from the kind and number of images, and checks it
            on held-out ones; "none" stores a bank that augments only where the wrapper is told to.
        width: channels of the finest convolution; the coarser ones have twice as many.
        batch_size: images a step in fine-tuning; the warm start takes twice as many, small classes take fewer.
        learning_rate: Adam's peak rate in fine-tuning; twice as high in the warm start.
        exemplars: codes of training images kept per class, the kernels that new images are drawn around. 0 keeps
            none: a bank then holds no code of any single image, and draws from a Gaussian.

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

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices and not (name == "invariances" and callable(self.invariances)):
                expected = ", ".join(repr(c) for c in choices)
                raise ValueError(f"{name} must be one of {expected}, got {getattr(self, name)!r}.")
        for name, (low, high) in RANGES.items():
            self._check_int(name, low, high)
        if self.width is not None and self.width % NORM_GROUPS:
            raise ValueError(f"width must be a multiple of {NORM_GROUPS}, got {self.width}.")
        is_number = isinstance(self.learning_rate, (int, float)) and not isinstance(self.learning_rate, bool)
        if not is_number or not 0 < self.learning_rate <= 1:
            raise ValueError(f"learning_rate must be in (0, 1], got {self.learning_rate!r}.")

    def _check_int(self, name: str, low: int, high: int) -> None:
        value = getattr(self, name)
        if value is None and name in PRESETS["default"]:
            return
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}.")

    def resolve(self, images: int) -> FitConfig:
        """A copy whose `None` fields hold the preset's values for a dataset of `images` images.

        `image_size` stays as given: the size of the images decides it (`image_size_cap`).
        """
        preset = PRESETS[self.preset]
        size = min(max(images, SMALL_DATASET), LARGE_DATASET)
        scaled_steps = round(preset["steps"] * math.sqrt(size / LARGE_DATASET))
        filled: dict[str, Any] = {
            "latent_dim": self.latent_dim or preset["latent_dim"],
            "width": self.width or preset["width"],
            "steps": self.steps or scaled_steps,
        }
        return replace(self, **filled)

    @property
    def image_size_cap(self) -> int:
        """The longest side in pixels that a bank of this preset models unless `image_size` says otherwise."""
        return int(PRESETS[self.preset]["image_size"])

    def to_dict(self) -> dict[str, Any]:
        """The options as a bank's metadata has them: a transform of the caller's is "custom"."""
        options = {field.name: getattr(self, field.name) for field in fields(self)}
        return options | ({"invariances": "custom"} if callable(self.invariances) else {})
