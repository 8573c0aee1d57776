"""VAEJitter: latent jitter as an albumentations 2.0 transform. Import this module before `A.from_dict` reads one."""

from __future__ import annotations

import base64
import os
import random
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

from vae_augment.bank import VAEBank
from vae_augment.bank.file import serialize
from vae_augment.processes import own_defaults
from vae_augment.seeding import derive
from vae_augment.transforms.jittering import (
    fitted,
    jittered,
    mover_of,
    open_bank,
    refuse_beside,
    require_probability,
    require_unit_range,
    rows_of,
    scale_of,
)
from vae_augment.transforms.requirement import problem_with_albumentations

PLACED = ("mask", "masks", "bboxes", "keypoints")
INLINE_KEY = "safetensors"  # of a bank in a serialised pipeline: {INLINE_KEY: its file in base64}


def _require_albumentations() -> None:
    """Raise ImportError unless this module works with the `albumentations` that is installed."""
    problem = problem_with_albumentations()
    if problem is not None:
        raise ImportError(" ".join(problem))


_require_albumentations()  # before the code of a fork with the same import name can run
# On import albumentations asks pypi.org for a newer version, for up to 2 s, and warns if it gets no answer.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
from albumentations.core.transforms_interface import ImageOnlyTransform  # type: ignore[import-untyped]  # noqa: E402


class VAEJitter(ImageOnlyTransform):  # type: ignore[misc]
    """Jitter images in latent space, along the variation of their class, which their label tells; then move them.

    The label is passed with the image and not changed: `transform(image=image, label=3)`, or
    `transform(images=images, label=labels)` for a batch, which is jittered as a whole or not at all. Images keep dtype,
    size and channels. To an image larger than the bank's only the difference is added, so its detail is kept. Images of
    a class whose fit failed stay as they are.

    Without a seed in Compose, randomness comes from torch's global generator, which a DataLoader seeds for each worker
    and epoch. With Compose(seed=...) each worker has its own stream, which starts anew whenever the workers start.

    A serialised pipeline holds the bank's path if it was given as one, else the bank itself.

    Example:
        >>> transform = A.Compose([VAEJitter("mnist.safetensors"), A.HorizontalFlip()])
        >>> image = transform(image=image, label=3)["image"]  # uint8 or float32 in [0, 1], [H, W, C] or [H, W]

    Args:
        bank: a `VAEBank`, the path of one, or its form in a serialised pipeline.
        scale_range: jitter in standard deviations of the class in latent space, drawn uniformly from (low, high);
            None: the policy's, 0 for the policy's moves where it leaves the VAE out.
        label_key: keyword of the label, an int, or for `images` also int [N].
        moves: random moves of the images that are jittered: "policy", those of the bank's policy; a name in
            `vae_augment.images.moves.MOVES`; or None for none. Boxes, masks and key points are not moved along.
        p: probability that the call jitters, in [0, 1].

    Raises:
        ImportError: on import of this module, for another albumentations than 2.0.8 to below 2.1.
        TypeError: no bank, or images that are neither uint8 nor float.
        ValueError: an option out of range, a label that is missing or not in the bank, float images outside [0, 1], or
            boxes, masks or key points beside an image that is moved.
        FileNotFoundError: no bank at the path.
    """

    def __init__(
        self,
        bank: VAEBank | str | Path | Mapping[str, str],
        scale_range: tuple[float, float] | None = None,
        label_key: str = "label",
        p: float = 0.5,
        *,
        moves: str | None = "policy",
    ) -> None:
        require_probability(p)
        if scale_range is not None:
            scale_range = _checked_range(scale_range)
        self.label_key = label_key  # before super, which asks for the keys
        super().__init__(p=p)
        self.bank = _from_inline(bank) if isinstance(bank, Mapping) else open_bank(bank)
        self.scale_range = scale_range
        self.moves = moves
        mover_of(self.bank, moves)
        self._path = os.fspath(bank) if isinstance(bank, (str, Path)) else None
        self._inline: dict[str, str] | None = None

    # ---- randomness ----

    def set_random_seed(self, seed: int | None) -> None:
        """Use a seed, or for None torch's generator: albumentations' own would repeat in each worker and epoch."""
        super().set_random_seed(seed)
        self._seeded_worker: int | None = None
        if seed is None:
            self.py_random = TorchRandom()

    def set_random_state(self, random_generator: np.random.Generator, py_random: random.Random) -> None:
        """Use these generators as they are."""
        super().set_random_state(random_generator, py_random)
        self.seed = None

    def __call__(self, *args: Any, force_apply: bool = False, **kwargs: Any) -> Any:
        """Return the data with "image" or "images" jittered."""
        if self.label_key not in kwargs:
            raise ValueError(
                f"VAEJitter needs the label of the image: pass {self.label_key}=..., or name it by label_key. "
                f"Got {sorted(kwargs)}."
            )
        if not kwargs.keys().isdisjoint(("volume", "volumes")):
            raise ValueError("VAEJitter works on image and images, not on volumes.")
        rows_of(self.bank, kwargs[self.label_key])  # these raise even if this call does not jitter
        refuse_beside(mover_of(self.bank, self.moves), (key for key in PLACED if kwargs.get(key) is not None))
        worker = get_worker_info()
        if self.seed is not None and worker is not None and worker.id != self._seeded_worker:
            self.py_random = random.Random(derive(self.seed, "worker", worker.id))
            self._seeded_worker = worker.id
        return super().__call__(*args, force_apply=force_apply, **kwargs)

    def get_params(self) -> dict[str, Any]:
        """Scale and a seed for the noise: plain numbers, which ReplayCompose can keep."""
        scale = scale_of(self.bank, self.moves, None)
        if self.scale_range is not None:
            low, high = self.scale_range
            scale = low + (high - low) * self.py_random.random()
        return {"scale": float(scale), "noise_seed": int(self.py_random.random() * 2**53)}

    # ---- what it does ----

    @property
    def targets(self) -> dict[str, Callable[..., Any]]:
        return {"image": self.apply, "images": self.apply_to_images}

    def _set_keys(self) -> None:
        super()._set_keys()
        self._available_keys.add(self.label_key)  # known to Compose(strict=True)

    def apply_with_params(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Add the labels of this call to `params`, which in a replay come from another call."""
        params = {**params, "labels": kwargs[self.label_key]}
        return dict(super().apply_with_params(params, *args, **kwargs))

    def apply(self, img: np.ndarray, *args: Any, **params: Any) -> np.ndarray:
        """Jitter one image [H, W, C] or [H, W]."""
        made: np.ndarray = self.apply_to_images(img[None], **params)[0]
        return made

    @own_defaults()
    def apply_to_images(self, images: np.ndarray, *args: Any, **params: Any) -> np.ndarray:
        """Jitter images [N, H, W, C] or [N, H, W], each by its own noise."""
        if not isinstance(images, np.ndarray):
            raise TypeError(f"VAEJitter needs numpy images; put it before ToTensorV2. Got {type(images).__name__}.")
        rows = rows_of(self.bank, params["labels"])
        if len(rows) not in (1, len(images)):
            raise ValueError(f"{self.label_key} must be one label or one per image, got {len(rows)} for {len(images)}.")
        rows = rows.expand(len(images))
        batch = torch.from_numpy(np.require(images, requirements=["C", "W"]))  # [N, H, W, C]
        require_unit_range(batch)
        batch = batch[:, None] if batch.ndim == 3 else batch.permute(0, 3, 1, 2)  # [N, C, H, W]
        generator = torch.Generator().manual_seed(params["noise_seed"])
        noise = torch.randn(len(rows), self.bank.latent_dim, generator=generator)
        mover = mover_of(self.bank, self.moves)
        uniform = None if mover is None else torch.rand(len(rows), mover.width, generator=generator)
        made = jittered(self.bank, batch, rows, fitted(self.bank, rows), noise, params["scale"], mover, uniform)
        made = made[:, 0] if images.ndim == 3 else made.permute(0, 2, 3, 1)
        return made.contiguous().numpy()

    # ---- as data ----

    def get_transform_init_args(self) -> dict[str, Any]:
        """Arguments as plain values. A bank is serialised once: ReplayCompose asks at every call."""
        if self._path is None and self._inline is None:
            data = base64.b64encode(serialize(self.bank.content)).decode("ascii")
            self._inline = {INLINE_KEY: data}
        scale_range = None if self.scale_range is None else list(self.scale_range)
        held = {"bank": self._path or self._inline, "scale_range": scale_range, "label_key": self.label_key}
        return {**held, "moves": self.moves}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_inline": None}

    def __repr__(self) -> str:
        options = f"scale_range={self.scale_range}, label_key={self.label_key!r}, p={self.p}, moves={self.moves!r}"
        return f"VAEJitter({self.bank!r}, {options})"


class TorchRandom(random.Random):
    """Python's random interface to torch's global generator."""

    def random(self) -> float:
        return float(torch.rand((), dtype=torch.float64))


def _checked_range(scale_range: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = (float(value) for value in scale_range)
    except (TypeError, ValueError):
        raise ValueError(f"scale_range must be (low, high) or None, got {scale_range!r}.") from None
    if not 0 <= low <= high < float("inf"):
        raise ValueError(f"scale_range must be finite with 0 <= low <= high, got {scale_range!r}.")
    return low, high


def _from_inline(bank: Mapping[str, str]) -> VAEBank:
    """Load the bank of a serialised pipeline, by way of a file."""
    if set(bank) != {INLINE_KEY}:
        raise ValueError(f"bank as a dict must have the one key {INLINE_KEY!r}, got {sorted(bank)}.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Windows keeps an open file
        path = Path(folder) / "bank.safetensors"
        try:
            path.write_bytes(base64.b64decode(bank[INLINE_KEY], validate=True))
            return VAEBank.load(path)
        except (TypeError, ValueError) as error:
            raise ValueError(f"bank as a dict does not hold a bank: {error}") from None
