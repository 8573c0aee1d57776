"""Weights quantised to int8 differences from the shared warm start."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vae_augment.model.devices import half
from vae_augment.model.vae import VAE, Params

LARGEST = 127  # the largest int8


@dataclass(frozen=True)
class Stored:
    """Weights of K classes, P numbers each: the tensors of `VAE.shapes`, flattened and joined in that order.

    A class that was tuned from a start is kept as its difference from the start, in steps of a 127th of the tensor's
    largest difference. Others are kept in half precision.

    Args:
        vae: the shapes.
        values: int8 [K, Q], differences in steps, of the Q numbers that are not `VAE.fixed`; or float16 [K, P], the
            weights themselves.
        steps: float32 [K, T], the step of each of the T tensors that are not fixed; with float16 values [K, 0].
        base: int64 [K], the start of each class, a row of `bases`; with float16 values [0].
        bases: float16 [S, P], the weights of the starts.
    """

    vae: VAE
    values: Tensor
    steps: Tensor
    base: Tensor
    bases: Tensor

    @classmethod
    def pack(cls, vae: VAE, params: Params, start: Params | None) -> Stored:
        """Quantise the weights of K classes. `start` (K = 1) is rounded to half precision already; None: none."""
        flat = flatten(vae, params)
        if start is None:
            return cls.unpacked(vae, half(flat), torch.zeros(len(flat), 0), None)
        own = own_sizes(vae)
        parts = (flat - flatten(vae, start))[:, : sum(own)].split(own, dim=1)
        steps = torch.stack([part.abs().amax(1) / LARGEST for part in parts], dim=1)
        values = [
            (part / step.clamp_min(1e-30)).round().to(torch.int8)
            for part, step in zip(parts, steps.split(1, dim=1), strict=True)
        ]
        return cls.unpacked(vae, torch.cat(values, dim=1), steps, start)

    @classmethod
    def unpacked(cls, vae: VAE, values: Tensor, steps: Tensor, start: Params | None) -> Stored:
        """The result of `pack` again, from its values and steps and the same start."""
        if start is None:
            return cls(vae, values, steps, torch.zeros(0, dtype=torch.long), torch.zeros(0, sum(sizes(vae))).half())
        return cls(vae, values, steps, torch.zeros(len(values), dtype=torch.long), half(flatten(vae, start)))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def tuned(self) -> bool:
        """True if differences from a start are kept."""
        return self.values.dtype == torch.int8

    def params(self, rows: slice | Sequence[int] = slice(None), prefix: str = "") -> Params:
        """Weights of some classes, and of the names that begin with `prefix`: float32, class axis first."""
        whole, first = {}, 0
        for place, (name, shape) in enumerate(self.vae.shapes.items()):
            last = first + math.prod(shape)
            if name.startswith(prefix):
                if self.tuned and name in self.vae.fixed:
                    part = self.bases[self.base[rows], first:last].float()
                else:
                    part = self.values[rows, first:last].float()
                    if self.tuned:
                        part = part.mul_(self.steps[rows, place, None]).add_(self.bases[self.base[rows], first:last])
                whole[name] = part.view(-1, *shape)
            first = last
        return whole

    def alike(self) -> Tensor:
        """For each class the first with the same weights, int64 [K]: itself, unless it is equal to its start."""
        own = torch.arange(len(self))
        if not self.tuned:
            return own
        for base in range(len(self.bases)):
            same = ((self.base == base) & ~self.steps.any(1)).nonzero()[:, 0]
            own[same] = same[:1]
        return own

    def start(self) -> Params:
        """The first start, float32 (K = 1)."""
        return unflatten(self.vae, self.bases[:1].float())

    def pick(self, rows: Sequence[int]) -> Stored:
        rows = list(rows)
        base = self.base[rows] if self.tuned else self.base
        return replace(self, values=self.values[rows], steps=self.steps[rows], base=base)


def join(parts: Sequence[Stored]) -> Stored:
    """Join weights along the class axis. All keep every bit, unless only some are kept as differences."""
    if len(parts) == 1:
        return parts[0]
    if not all(part.tuned for part in parts):
        whole = [half(flatten(part.vae, part.params())) if part.tuned else part.values for part in parts]
        return replace(
            parts[0],
            values=torch.cat(whole),
            steps=torch.zeros(sum(map(len, parts)), 0),
            base=torch.zeros(0, dtype=torch.long),
        )
    bases: list[Tensor] = []
    places = []
    for part in parts:
        known = [next((i for i, base in enumerate(bases) if torch.equal(base, own)), None) for own in part.bases]
        for row, place in enumerate(known):
            if place is None:
                known[row] = len(bases)
                bases.append(part.bases[row])
        places.append(torch.tensor(known)[part.base])
    values, steps = torch.cat([part.values for part in parts]), torch.cat([part.steps for part in parts])
    return Stored(parts[0].vae, values, steps, torch.cat(places), torch.stack(bases))


def sizes(vae: VAE) -> list[int]:
    """Number of weights in each tensor of a class."""
    return [math.prod(shape) for shape in vae.shapes.values()]


def own_sizes(vae: VAE) -> list[int]:
    """Number of weights in each tensor of a class that is not `VAE.fixed`."""
    return sizes(vae)[: len(vae.shapes) - len(vae.fixed)]


def flatten(vae: VAE, params: Params) -> Tensor:
    """Tensors [K, *shape] as one [K, P]."""
    return torch.cat([params[name].reshape(len(params[name]), -1) for name in vae.shapes], dim=1)


def unflatten(vae: VAE, flat: Tensor) -> Params:
    """The inverse of `flatten`, without a copy."""
    parts = flat.split(sizes(vae), dim=1)
    return {n: part.view(-1, *shape) for (n, shape), part in zip(vae.shapes.items(), parts, strict=True)}


def halved(vae: VAE, params: Params) -> Params:
    """Weights rounded to half precision, as float32."""
    return unflatten(vae, half(flatten(vae, params)).float())
