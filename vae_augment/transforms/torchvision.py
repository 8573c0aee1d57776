"""RandomVAEJitter: latent jitter as a torchvision.transforms.v2 transform."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2._utils import _parse_labels_getter
from torchvision.transforms.v2.functional import is_pure_tensor

from vae_augment.bank import VAEBank
from vae_augment.images import conversion
from vae_augment.images.tensors import to_float
from vae_augment.processes import own_defaults
from vae_augment.transforms.jittering import (
    fitted,
    jittered,
    open_bank,
    require_probability,
    require_unit_range,
    rows_of,
)


class RandomVAEJitter(v2.Transform):  # type: ignore[misc]
    """Jitter images in latent space, along the variation of their class, which their label tells.

    Takes one image with its label, or a batch with its labels, in any nested structure, as v2.MixUp does. Use it in a
    joint transform or behind the DataLoader, where the bank follows the images to their device. Images keep type,
    dtype, size and channels; labels, boxes, masks and anything else pass through. To an image larger than the bank's
    only the difference is added, so its detail is kept. Images of a class whose fit failed stay as they are. All
    randomness comes from torch's global generator.

    Example:
        >>> jitter = RandomVAEJitter("mnist.safetensors", p=0.5)
        >>> for images, labels in loader:  # uint8 or float in [0, 1], [B, C, H, W]; int64 [B]
        ...     images, labels = jitter(images, labels)

    Args:
        bank: a `VAEBank` or the path of one.
        p: probability that an image is jittered, in [0, 1], drawn for each image of a batch.
        scale: jitter in standard deviations of the class in latent space; None: the scale of the bank's policy.
        labels_getter: function that finds the label(s) in a sample, or "default": that of v2.MixUp, which here also
            takes an int as the second item.

    Raises:
        TypeError: no bank, no image in the sample, or images that are neither uint8 nor float.
        ValueError: an option out of range, labels that are not found or not in the bank, or float images outside
            [0, 1].
        FileNotFoundError: no bank at the path.
    """

    _transformed_types = (is_pure_tensor, tv_tensors.Image, PIL.Image.Image)

    def __init__(
        self,
        bank: VAEBank | str | Path,
        *,
        p: float = 0.5,
        scale: float | None = None,
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
        self._check([leaf for leaf, needed in zip(leaves, is_image, strict=True) if needed], len(rows))
        chosen = (torch.rand(len(rows)) < self.p) & fitted(self.bank, rows)
        if not bool(chosen.any()):
            return sample
        params = {"rows": rows, "chosen": chosen, "noise": torch.randn(len(rows), self.bank.latent_dim)}
        leaves = [
            self.transform(leaf, params) if needed else leaf for leaf, needed in zip(leaves, is_image, strict=True)
        ]
        return tree_unflatten(leaves, spec)

    @own_defaults()
    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Jitter an image or batch, with `params` (rows, chosen, noise) drawn for the whole sample."""
        if isinstance(inpt, PIL.Image.Image):
            # Only images deeper than 8 bits need a range: the bank's, or one by their own values.
            value_range = self.bank.value_range or conversion.value_range_of([inpt])
            pixels = to_float(conversion.to_tensor(inpt, value_range))
            return conversion.like(self._jittered(pixels, params), inpt, value_range)
        made = self._jittered(inpt.detach().as_subclass(Tensor), params)
        return made if is_pure_tensor(inpt) else tv_tensors.wrap(made, like=inpt)

    def extra_repr(self) -> str:
        return f"p={self.p}, scale={self.scale}, bank={self.bank!r}"

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
        return _parse_labels_getter("default")(sample)

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
        made = jittered(self._bank_for(images.device), batch, **params, scale=self.scale)
        return made if images.ndim == 4 else made[0]

    def _bank_for(self, device: torch.device) -> VAEBank:
        if device == self.bank.device:
            return self.bank
        if device not in self._bank_on:
            self._bank_on[device] = self.bank.to(device)
        return self._bank_on[device]
