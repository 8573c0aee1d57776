"""VAEBank: what people do with a fitted bank."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vae_augment.bank.content import BankContent, ClassInfo, find_all, merged
from vae_augment.bank.file import read, serialize
from vae_augment.bank.inference import Models
from vae_augment.bank.jitter import jitter
from vae_augment.bank.notebook import bank_card, bank_picture
from vae_augment.bank.policy import Policy, policy_beside
from vae_augment.config import FitConfig
from vae_augment.exceptions import check_type
from vae_augment.files.writing import atomic_write, named_file
from vae_augment.images.tensors import to_float, to_uint8
from vae_augment.model.devices import usable_device
from vae_augment.model.network_vae import Networks
from vae_augment.model.samplers import draw
from vae_augment.model.vae import VAE
from vae_augment.processes import own_defaults

if TYPE_CHECKING:
    from PIL import Image


class VAEBank:
    """One VAE per class of a dataset, made by `fit` or `VAEBank.load`.

    In all methods `images` are uint8, or float in [0, 1], [B, C, H, W], and are resized to the bank's size. `labels`
    are int64 [B], in any order, which results keep. Random numbers come from `generator`, on the CPU, or torch's own.

    Example:
        >>> bank = VAEBank.load("mnist.safetensors")
        >>> images = bank.sample(torch.tensor([3, 1, 3]))  # uint8 [3, 1, 28, 28]
    """

    @own_defaults()
    def __init__(self, content: BankContent, device: torch.device | str = "cpu") -> None:
        self.content = content
        self.device = torch.device(device)
        self.models = Models(content.vae, content.weights, self.device)
        self.stats = replace(content.stats.to(self.device), posterior_logvar=self.models.posterior_logvar)
        self.row_of = {info.label: row for row, info in enumerate(content.class_infos)}  # class positions

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of their labels."""
        return tuple(info.name for info in self.class_infos)

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The dataset's integer label of each class name."""
        return {info.name: info.label for info in self.class_infos}

    @property
    def class_infos(self) -> tuple[ClassInfo, ...]:
        """Name, label and figures of the fit of each class."""
        return self.content.class_infos

    @property
    def vae(self) -> VAE:
        """The shapes of its weights, and its functions of them."""
        return self.content.vae

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images that it models."""
        return self.vae.image_shape

    @property
    def latent_dim(self) -> int:
        return self.vae.latent_dim

    @property
    def config(self) -> FitConfig:
        return self.content.config

    @property
    def policy(self) -> Policy:
        """Default probabilities and strength of augmentation."""
        return self.content.policy

    @property
    def data(self) -> dict[str, Any]:
        """Facts about the dataset it was fitted on: "name", "source", "fingerprint" and others."""
        return self.content.data

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The values of black and white in the images it was fitted on; None for bytes."""
        return self.content.value_range

    def __repr__(self) -> str:
        channels, height, width = self.image_shape
        count = len(self.classes)
        return (
            f"VAEBank({count} class{'es' * (count != 1)}, images {channels}x{height}x{width}, "
            f"latent_dim={self.latent_dim}, data={self.data.get('name')!r})"
        )

    def _repr_html_(self) -> str:
        return bank_card(self)

    @own_defaults()
    def show(self, images: int = 8, *, seed: int = 0) -> Image.Image:
        """A picture of generated images, a row for each of the first twenty classes.

        Args:
            images: number of each class.
            seed: of the draws; torch's global generator is left alone.
        """
        return bank_picture(self, images, seed=seed)

    @own_defaults()
    @torch.no_grad()
    def encode(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and log-variance of each image under its class's VAE, float32 [B, L] each."""
        return self.models.encode(self._checked(images), self._rows(labels, len(images)))

    @own_defaults()
    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor) -> Tensor:
        """Images of latent codes [B, L]: float32 [B, C, H, W] in [0, 1]."""
        if z.ndim != 2 or z.shape[1] != self.latent_dim:
            raise ValueError(f"z must be [B, {self.latent_dim}], got {list(z.shape)}.")
        if not bool(z.isfinite().all()):
            raise ValueError("z must hold finite numbers, got some that are not.")
        return self.models.decode(z.to(self.device, torch.float32), self._rows(labels, len(z)))

    @own_defaults()
    @torch.no_grad()
    def reconstruct(self, images: Tensor, labels: Tensor) -> Tensor:
        """Each image encoded to its posterior mean and decoded: float32 [B, C, H, W] in [0, 1], the bank's size."""
        return self.decode(self.encode(images, labels)[0], labels)

    @own_defaults()
    @torch.no_grad()
    def sample(
        self,
        labels: Tensor,
        *,
        method: str | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """New images, one of each label: uint8 [B, C, H, W].

        Args:
            labels: int64 [B].
            method: a name in `vae_augment.model.samplers.SAMPLERS`; None: the policy's.
            temperature: 1 draws as the method is defined, a smaller one closer to its centres.
            generator: a CPU generator; None: torch's global one.

        Raises:
            ValueError: an unknown method or label, or a temperature below 0.
        """
        rows = self._rows(labels)
        noise = torch.randn(len(rows), self.latent_dim, generator=generator)
        chosen = torch.rand(len(rows), generator=generator)
        return self.models.decode(self.draw(rows, noise, chosen, method, temperature), rows, as_bytes=True)

    @own_defaults()
    @torch.no_grad()
    def jitter(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        scale: float | None = None,
        keep_detail: bool | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Images moved in latent space along the variation of their class: uint8, of the images' own shape.

        Args:
            images: [B, C, H, W]; the decoded image or difference is resized to their size.
            labels: int64 [B].
            scale: how far, in standard deviations of the class's spread; None: the policy's.
            keep_detail: True adds D(z') - D(z), smoothed if the policy says so, and keeps the image's detail; False
                decodes z'. None: the policy's, but True for images larger than the bank's.
            generator: a CPU generator; None: torch's global one.

        Raises:
            ValueError: an unknown label, images that do not fit, or a scale below 0.
        """
        if keep_detail is not None:
            check_type("keep_detail", keep_detail, bool, "True, False or None")
        rows = self._rows(labels, len(images))
        noise = torch.randn(len(rows), self.latent_dim, generator=generator)
        return to_uint8(jitter(self, self._checked(images), rows, noise, scale=scale, keep_detail=keep_detail))

    @own_defaults()
    @torch.no_grad()
    def interpolate(self, images_a: Tensor, images_b: Tensor, labels: Tensor, *, t: float | Tensor) -> Tensor:
        """Images on the straight line between the codes of two images of a class: uint8 [B, C, H, W].

        Args:
            images_a: the images at t = 0.
            images_b: the images at t = 1.
            labels: int64 [B], of both.
            t: one number, or one for each pair [B].
        """
        weight = torch.as_tensor(t, dtype=torch.float32, device=self.device)
        if weight.shape not in ((), (len(labels),)) or not bool(weight.isfinite().all()):
            got = "one that is not finite" if weight.numel() and not weight.isfinite().all() else list(weight.shape)
            raise ValueError(f"t must be a finite number or [B] of them with B = {len(labels)}, got {got}.")
        z_a, z_b = self.encode(images_a, labels)[0], self.encode(images_b, labels)[0]
        return to_uint8(self.decode(z_a + weight.reshape(-1, 1) * (z_b - z_a), labels))

    def draw(
        self, rows: Tensor, noise: Tensor, chosen: Tensor, method: str | None = None, temperature: float = 1.0
    ) -> Tensor:
        """Latents [B, L] of new images of class positions [B], from normal noise [B, L] and uniform numbers [B]."""
        method = self.policy.method if method is None else method
        noise, chosen = noise.to(self.device), chosen.to(self.device)
        return draw(self.stats, rows, noise, chosen, method=method, temperature=temperature)

    @own_defaults()
    def subset(self, classes: Sequence[str | int]) -> VAEBank:
        """A bank of some classes, given by name or integer label; they keep their labels and weights."""
        return VAEBank(self.content.pick(find_all(self.class_infos, classes)), self.device)

    @classmethod
    @own_defaults()
    def merge(cls, bank_a: VAEBank, bank_b: VAEBank) -> VAEBank:
        """A bank of the classes of both, in label order; all else is bank_a's, without its quality figures.

        Raises:
            ValueError: their VAEs have different shapes, or they share a class name or label.
        """
        for name, bank in (("bank_a", bank_a), ("bank_b", bank_b)):
            check_type(name, bank, cls, "a VAEBank, as VAEBank.load(path) gives it")
        return cls(merged(bank_a.content, bank_b.content), bank_a.device)

    def to(self, device: torch.device | str) -> VAEBank:
        """The same bank on another device."""
        return VAEBank(self.content, usable_device(device))

    def with_policy(self, **changes: Any) -> VAEBank:
        """The same bank with fields of its policy replaced, for example `p_jitter=0.3`."""
        return VAEBank(replace(self.content, policy=replace(self.policy, **changes)), self.device)

    @own_defaults()
    def policy_for(
        self, counts: Sequence[int], *, classes: Sequence[str | int] | None = None, kind: str | None = None
    ) -> Policy:
        """The policy for a dataset: the bank's own, or another where its classes have a fifth of the images or less.

        Args:
            counts: images of each class of the dataset.
            classes: their names or labels, in the same order; None: all of the bank's.
            kind: of its images, a name in `vae_augment.images.kinds.KINDS`; None: that of the bank's.
        """
        seen = [info.images for info in self.class_infos]
        shared = seen if classes is None else [seen[row] for row in find_all(self.class_infos, classes)]
        return self.policy if self.config.policy != "auto" else policy_beside(self.policy, counts, seen, shared, kind)

    def with_data(self, **changes: Any) -> VAEBank:
        """The same bank with entries of `data` replaced, for example `name="mnist"`."""
        return VAEBank(replace(self.content, data={**self.data, **changes}), self.device)

    @own_defaults()
    def save(self, path: str | Path) -> None:
        """Write the bank to one file, atomically. Raises ValueError if a weight is not finite."""
        atomic_write(named_file(path), serialize(self.content))

    @classmethod
    @own_defaults()
    def load(
        cls,
        path: str | Path,
        classes: Sequence[str | int] | None = None,
        device: torch.device | str = "cpu",
        networks: Networks | None = None,
    ) -> VAEBank:
        """Read a bank, or some of its classes by name or label without reading the others.

        A file holds no code: `networks` is the function that a bank was fitted with, if it was.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no bank, is damaged or too new, lacks one of `classes`, or was fitted with other networks.
        """
        return cls(read(named_file(path), classes, networks), usable_device(device))

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file that `save` writes, in hexadecimal."""
        return hashlib.sha256(serialize(self.content)).hexdigest()

    def _rows(self, labels: Tensor, expected: int | None = None) -> Tensor:
        """Class positions, on the bank's device, of int64 labels [B]."""
        labels = torch.as_tensor(labels)
        if labels.ndim != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
            raise ValueError(f"labels must be int64 [B], got {labels.dtype} {list(labels.shape)}.")
        if expected is not None and len(labels) != expected:
            raise ValueError(f"labels must have one entry per image, got {len(labels)} for {expected}.")
        unknown = sorted(set(labels.tolist()) - set(self.row_of))
        if unknown:
            raise ValueError(f"labels must be among the bank's {sorted(self.row_of)}, got {unknown[0]}.")
        return torch.tensor([self.row_of[label] for label in labels.tolist()], dtype=torch.long, device=self.device)

    def _checked(self, images: Tensor) -> Tensor:
        """Images on the bank's device: uint8, or float32 in [0, 1]."""
        channels = self.image_shape[0]
        if images.ndim != 4 or images.shape[1] != channels:
            raise ValueError(f"images must be [B, {channels}, H, W], got {list(images.shape)}.")
        if not images.shape[2] * images.shape[3]:
            raise ValueError(f"images must have pixels, got {list(images.shape)}.")
        images = images.to(self.device)
        return images if images.dtype == torch.uint8 else to_float(images)
