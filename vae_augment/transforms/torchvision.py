"""RandomVAEJitter: latent jitter as a torchvision.transforms.v2 transform."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import is_pure_tensor

from vae_augment.bank import VAEBank
from vae_augment.images import conversion
from vae_augment.images.tensors import to_float
from vae_augment.processes import own_defaults
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

PLACED = tuple(
    getattr(tv_tensors, name) for name in ("BoundingBoxes", "Mask", "KeyPoints") if hasattr(tv_tensors, name)
)


class RandomVAEJitter(v2.Transform):  # type: ignore[misc]
    """Jitter images in latent space, along the variation of their class, which their label tells; then move them.

    Takes one image with its label, or a batch with its labels, in any nested structure, as v2.MixUp does. Use it in a
    joint transform or behind the DataLoader, where the bank follows the images to their device. Images keep type,
    dtype, size and channels; labels and anything else pass through. To an image larger than the bank's only the
    difference is added, so its detail is kept. For the same draws an image is that of the wrapper. Images of a class
    whose fit failed stay as they are. All randomness comes from torch's global generator.

    Example:
        >>> jitter = RandomVAEJitter("mnist.safetensors", p=0.5)
        >>> for images, labels in loader:  # uint8 or float in [0, 1], [B, C, H, W]; int64 [B]
        ...     images, labels = jitter(images, labels)

    Args:
        bank: a `VAEBank` or the path of one.
        p: probability that an image is jittered, in [0, 1], drawn for each image of a batch.
        scale: jitter in standard deviations of the class in latent space; None: the policy's, 0 for the policy's moves
            where it leaves the VAE out.
        moves: random moves of the images that are jittered: "policy", those of the bank's policy; a name in
            `vae_augment.images.moves.MOVES`; or None for none. Boxes, masks and key points are not moved along.
        labels_getter: function that finds the label(s) in a sample, or "default": the second item if it is an int or a
            tensor, or what a dict, which may be that item, holds under "labels" or else a key with "label" in it.

    Raises:
        TypeError: no bank, no image in the sample, or images that are neither uint8 nor float.
        ValueError: an option out of range, labels that are not found or not in the bank, float images outside [0, 1],
            or boxes, masks or key points beside an image that is moved.
        FileNotFoundError: no bank at the path.
    """

    _transformed_types = (is_pure_tensor, tv_tensors.Image, PIL.Image.Image)

    def __init__(
        self,
        bank: VAEBank | str | Path,
        *,
        p: float = 0.5,
        scale: float | None = None,
        moves: str | None = "policy",
        labels_getter: Callable[[Any], Any] | str = "default",
    ) -> None:
        super().__init__()
        require_probability(p)
        if scale is not None and not 0 <= scale < float("inf"):
            raise ValueError(f"scale must be a finite number of at least 0, got {scale}.")
        if labels_getter != "default" and not callable(labels_getter):
            raise ValueError(f'labels_getter must be "default" or a callable, got {labels_getter!r}.')
        self.bank = open_bank(bank)
        self.p = p
        self.scale = scale
        self.moves = moves
        mover_of(self.bank, moves)
        self._labels_getter = labels_getter
        self._bank_on: dict[torch.device, VAEBank] = {}

    @own_defaults()
    def forward(self, *inputs: Any) -> Any:
        """Return a sample like the one given; the same object if nothing was jittered."""
        sample = inputs if len(inputs) > 1 else inputs[0]
        if self.p == 0:
            return sample
        labels = self._labels(sample)
        rows = rows_of(self.bank, labels)
        leaves, spec = tree_flatten(sample)
        is_image = self._needs_transform_list([None if leaf is labels else leaf for leaf in leaves])
        mover = mover_of(self.bank, self.moves)
        refuse_beside(mover, (type(leaf).__name__ for leaf in leaves if isinstance(leaf, PLACED)))
        self._check([leaf for leaf, needed in zip(leaves, is_image, strict=True) if needed], len(rows))
        chosen = (torch.rand(len(rows)) < self.p) & fitted(self.bank, rows)
        if not bool(chosen.any()):
            return sample
        params = {"rows": rows, "chosen": chosen, "noise": torch.randn(len(rows), self.bank.latent_dim)}
        if mover is not None:
            params["uniform"] = torch.rand(len(rows), mover.width)
        leaves = [
            self.transform(leaf, params) if needed else leaf for leaf, needed in zip(leaves, is_image, strict=True)
        ]
        return tree_unflatten(leaves, spec)

    @own_defaults()
    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Jitter an image or batch, with `params` (rows, chosen, noise, uniform) drawn for the whole sample."""
        if isinstance(inpt, PIL.Image.Image):
            # Only images deeper than 8 bits need a range: the bank's, or one by their own values.
            value_range = self.bank.value_range or conversion.value_range_of([inpt])
            pixels = to_float(conversion.to_tensor(inpt, value_range))
            return conversion.like(self._jittered(pixels, params), inpt, value_range)
        made = self._jittered(inpt.detach().as_subclass(Tensor), params)
        return made if is_pure_tensor(inpt) else tv_tensors.wrap(made, like=inpt)

    def extra_repr(self) -> str:
        return f"p={self.p}, scale={self.scale}, moves={self.moves!r}, bank={self.bank!r}"

    def __getstate__(self) -> dict[str, Any]:
        """State without the banks on other devices: a worker or a copy moves its own."""
        return {**super().__getstate__(), "_bank_on": {}}

    def _labels(self, sample: Any) -> Any:
        if self._labels_getter != "default":
            return self._labels_getter(sample)  # type: ignore[operator]
        pair = isinstance(sample, (tuple, list))
        if isinstance(sample, (Tensor, PIL.Image.Image)) or (pair and len(sample) < 2):
            raise ValueError(
                "RandomVAEJitter needs the label beside the image: call it with both, in a joint transform "
                "or behind the DataLoader."
            )
        if pair and isinstance(sample[1], (int, np.integer)):
            return sample[1]  # the label of a single image, which MixUp's getter does not know
        return _labels_in(sample)

    def _check(self, images: list[Any], count: int) -> None:
        if not images:
            raise TypeError("no image was found in the sample: expected a PIL image, tv_tensors.Image or tensor.")
        for image in images:
            have = 1
            if isinstance(image, Tensor):
                if image.ndim not in (3, 4):
                    raise ValueError(f"images must be [C, H, W] or [B, C, H, W], got {list(image.shape)}.")
                require_unit_range(image)
                have = len(image) if image.ndim == 4 else 1
            if have != count:
                raise ValueError(f"labels must have one entry per image, got {count} for {have}.")

    def _jittered(self, images: Tensor, params: dict[str, Any]) -> Tensor:
        """Jitter the chosen ones of [C, H, W] or [B, C, H, W]."""
        batch = images if images.ndim == 4 else images[None]
        mover = mover_of(self.bank, self.moves)
        scale = scale_of(self.bank, self.moves, self.scale)
        made = jittered(self._bank_for(images.device), batch, **params, scale=scale, moves=mover)
        return made if images.ndim == 4 else made[0]

    def _bank_for(self, device: torch.device) -> VAEBank:
        if device == self.bank.device:
            return self.bank
        if device not in self._bank_on:
            self._bank_on[device] = self.bank.to(device)
        return self._bank_on[device]


def _labels_in(sample: Any) -> Any:
    """Labels of a sample of several images, as v2.MixUp finds them. Raises ValueError if there are none."""
    held = sample[1] if isinstance(sample, (tuple, list)) else sample
    if isinstance(held, Mapping):
        keys = [key for key in held if isinstance(key, str) and "label" in key.lower()]
        if keys:
            return held[min(keys, key=lambda key: key.lower() != "labels")]
    elif is_pure_tensor(held):
        return held
    raise ValueError(
        "RandomVAEJitter found no labels: expected them as the second item of a tuple, or in a dict under 'labels'. "
        "Give labels_getter=."
    )
