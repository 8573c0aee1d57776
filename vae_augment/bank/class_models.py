"""The models of a bank's classes, addressed by their rows and with the randomness handed in."""

from __future__ import annotations

import torch
from torch import Tensor

from vae_augment.bank.content import BankContent
from vae_augment.bank.inference import Weights, decode_each, decode_mixed, encode_mixed
from vae_augment.bank.policy import Policy
from vae_augment.images.tensors import resize
from vae_augment.model.latent import draw
from vae_augment.model.vae import VAE


class ClassModels:
    """What a bank computes, for the wrapper and for export: `rows` int64 [B] are positions of classes, not labels."""

    def __init__(self, content: BankContent, device: torch.device | str = "cpu") -> None:
        self.content = content
        self.device = torch.device(device)
        self._weights = Weights(content.weights, self.device)
        self.stats = content.stats.to(self.device)
        self.row_of = {info.label: row for row, info in enumerate(content.class_infos)}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images it models."""
        return self.vae.image_shape

    @property
    def latent_dim(self) -> int:
        return self.vae.latent_dim

    @property
    def vae(self) -> VAE:
        return self.content.vae

    @property
    def policy(self) -> Policy:
        """What is done where a caller says nothing."""
        return self.content.policy

    def encode_rows(self, x: Tensor, rows: Tensor, *, block: int | None = None) -> tuple[Tensor, Tensor]:
        """`encode` of float images of any size, for class positions [B] instead of labels."""
        return encode_mixed(self.vae, self._weights, resize(x, self.image_shape[1:]), rows, block)

    def decode_rows(self, z: Tensor, rows: Tensor, *, as_bytes: bool = False) -> Tensor:
        """`decode` for class positions [B] instead of labels; `as_bytes` gives uint8."""
        return decode_mixed(self.vae, self._weights, z, rows, as_bytes=as_bytes)

    def decode_each(self, z: Tensor, rows: Tensor) -> Tensor:
        """`decode_rows` for a few images of many classes, each the same whatever the others are; on a CPU."""
        return decode_each(self.vae, self._weights, z, rows)

    def prepare(self) -> None:
        """Work out what serving needs, once, before workers are started that would each do it again."""
        self._weights.steady(self.vae)
        _ = self.stats.scale_tril

    def draw(
        self, rows: Tensor, noise: Tensor, chosen: Tensor, method: str | None = None, temperature: float = 1.0
    ) -> Tensor:
        """Latents [B, L] of new images, from normal noise [B, L] and uniform numbers [B]."""
        method = self.policy.method if method is None else method
        noise, chosen = noise.to(self.device), chosen.to(self.device)
        return draw(self.stats, rows, noise, chosen, method=method, temperature=temperature)

    def move(
        self,
        x: Tensor,
        rows: Tensor,
        noise: Tensor,
        scale: float | None = None,
        keep_detail: bool | None = None,
    ) -> Tensor:
        """`jitter` of float images [B, C, H, W], from normal noise [B, L]: float32, of x's shape, not clipped."""
        size = (x.shape[-2], x.shape[-1])
        z = self.encode_rows(x, rows)[0]
        moved = self.decode_rows(self.moved(z, rows, noise, scale), rows)
        if not self.keeps_detail(size, keep_detail):
            return resize(moved, size)
        return x + resize(moved - self.decode_rows(z, rows), size)

    def moved(self, z: Tensor, rows: Tensor, noise: Tensor, scale: float | None = None) -> Tensor:
        """Latents [B, L] moved along the variation of their classes."""
        scale = self.policy.scale if scale is None else scale
        if not 0 <= scale < float("inf"):
            raise ValueError(f"scale must be a finite number of at least 0, got {scale}.")
        return z + scale * self.stats.spread(rows, noise.to(self.device))

    def keeps_detail(self, size: tuple[int, int], keep_detail: bool | None = None) -> bool:
        """Whether jitter keeps the detail of images of a size: as told, or else the policy's.

        A policy's False is for images of at most the bank's size: decoded anew, larger ones would be blurred.
        """
        larger = size[0] > self.image_shape[1] or size[1] > self.image_shape[2]
        return (self.policy.keep_detail or larger) if keep_detail is None else keep_detail
