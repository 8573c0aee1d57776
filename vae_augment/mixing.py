"""Which items become what, and those that do not stay real."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.codes import Codes
from vae_augment.images import resize, to_float
from vae_augment.mixed import single_thread
from vae_augment.raw import kind_of, like_all, match_channels, size_of, to_tensor
from vae_augment.sample import Sample
from vae_augment.seeding import derive
from vae_augment.source import Source

REAL, JITTERED, GENERATED = 0, 1, 2
# Images a pass through a model. A few of one class is what a shuffled batch holds, and one fixed number makes a result
# the same in every batch: matrix products of different sizes round differently.
SERVE_BLOCK = 4


@dataclass(frozen=True)
class Draws:
    """The randomness of a batch of items.

    Args:
        kind: int64 [B], REAL, JITTERED or GENERATED.
        chosen: float32 [B] in [0, 1), picks an exemplar.
        noise: float32 [B, L], standard normal.
    """

    kind: Tensor
    chosen: Tensor
    noise: Tensor

    def pick(self, items: Tensor) -> Draws:
        return Draws(self.kind[items], self.chosen[items], self.noise[items])


def draw_fresh(count: int, latent_dim: int, shares: Tensor) -> Draws:
    """Draws from torch's global generator, which a DataLoader seeds afresh in each worker and epoch.

    Args:
        count: B.
        latent_dim: L.
        shares: float [B, 2], each item's probabilities of being generated and of being jittered.
    """
    uniform = torch.rand(count, 2)
    return Draws(_kinds(uniform[:, 0], shares), uniform[:, 1], torch.randn(count, latent_dim))


def draw_seeded(indices: Sequence[int], latent_dim: int, shares: Tensor, *, seed: int, epoch: int) -> Draws:
    """Draws that are a pure function of (seed, epoch, index).

    A counter is hashed as in SplitMix64 (Steele et al. 2014, "Fast Splittable Pseudorandom Number Generators").
    """
    width = 2 + latent_dim
    key = np.uint64(derive(seed, "epoch", epoch))
    counter = np.asarray(indices, dtype=np.uint64)[:, None] * np.uint64(width) + np.arange(width, dtype=np.uint64)
    bits = _splitmix(key + (counter + np.uint64(1)) * GOLDEN)  # [B, 2 + L]
    uniform = torch.from_numpy((bits[:, :2] >> np.uint64(40)).astype(np.float32) * np.float32(2**-24))  # [0, 1)
    inside = (bits[:, 2:] >> np.uint64(11)).astype(np.float64) * 2**-53 + 2**-54  # (0, 1)
    noise = torch.special.ndtri(torch.from_numpy(inside)).float()
    return Draws(_kinds(uniform[:, 0], shares), uniform[:, 1], noise)


GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _splitmix(z: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """SplitMix64's mixing of 64-bit integers; they wrap around."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray[Any, Any] = z ^ (z >> np.uint64(31))
    return mixed


def _kinds(uniform: Tensor, shares: Tensor) -> Tensor:
    generated = uniform < shares[:, 0]
    jittered = ~generated & (uniform < shares.sum(1))
    return torch.where(generated, GENERATED, torch.where(jittered, JITTERED, REAL))


@torch.no_grad()
def synthesise(
    bank: VAEBank, source: Source, codes: Codes, items: Tensor, rows: Tensor, draws: Draws, *, scale: float | None
) -> list[Any]:
    """Items of a dataset with jittered and generated images in place of their own.

    Args:
        bank: on the CPU.
        source: of the items.
        codes: of the source's items under the bank's models; those found missing are added.
        items: int64 [B].
        rows: int64 [B], the class position of each in the bank.
        draws: JITTERED or GENERATED for each.
        scale: of the jitter; None: the policy's.
    """
    jittered = (draws.kind == JITTERED).nonzero()[:, 0]
    generated = (draws.kind == GENERATED).nonzero()[:, 0]
    with single_thread():
        z = torch.empty(len(items), bank.latent_dim)
        if len(generated):
            z[generated] = bank.draw(rows[generated], draws.noise[generated], draws.chosen[generated])
        known = codes.get(items[jittered])
        samples, kept = _read(bank, source, items, jittered, known)
        if len(jittered):
            moving = [samples[i] for i in jittered.tolist()]
            _encode(bank, source, codes, items[jittered], rows[jittered], moving, known)
            z[jittered] = bank.moved(known, rows[jittered], draws.noise[jittered], scale)
        detailed = torch.zeros(len(items), dtype=torch.bool)
        detailed[jittered] = torch.tensor(kept, dtype=torch.bool)
        at = torch.cat([z, known[detailed[jittered]]])  # both ends of a difference go through the models together
        decoded = bank.decode_rows(at, torch.cat([rows, rows[detailed]]), block=SERVE_BLOCK)
        pixels = decoded[: len(items)]
        pixels[detailed] -= decoded[len(items) :]
        images = _finished(source, samples, pixels, detailed.tolist())
    return [source.finish(i, sample, image) for i, sample, image in zip(items.tolist(), samples, images, strict=True)]


def _read(
    bank: VAEBank, source: Source, items: Tensor, jittered: Tensor, known: Tensor
) -> tuple[list[Sample], list[bool]]:
    """The raw sample of each item, its pixels where they matter; and which of the jittered ones keep their detail."""
    needed = dict(zip(jittered.tolist(), known[:, 0].isnan().tolist(), strict=True))
    samples, kept = [], []
    for place, item in enumerate(items.tolist()):
        known_to_matter = place in needed and (needed[place] or bank.policy.keep_detail)
        sample = source.raw(item) if known_to_matter else source.blank(item)
        if place in needed:
            kept.append(bank.keeps_detail(size_of(sample.image)))
            if kept[-1] and not known_to_matter:
                sample = source.raw(item)
        samples.append(sample)
    return samples, kept


def _encode(
    bank: VAEBank, source: Source, codes: Codes, items: Tensor, rows: Tensor, samples: list[Sample], known: Tensor
) -> None:
    """Fill in the codes that are not known."""
    missing = known[:, 0].isnan().nonzero()[:, 0]
    if not len(missing):
        return
    size, channels = bank.image_shape[1:], bank.image_shape[0]
    small = []
    for i in missing.tolist():
        pixels = to_float(to_tensor(samples[i].image, source.value_range))
        small.append(resize(match_channels(pixels, channels)[None], size))
    known[missing] = bank.encode_rows(torch.cat(small), rows[missing], block=SERVE_BLOCK)[0]
    codes.put(items[missing], known[missing])


def _finished(source: Source, samples: list[Sample], pixels: Tensor, detailed: list[bool]) -> list[Any]:
    """Images of the samples' own kind and size, from decoded ones or, where detail is kept, decoded differences."""
    alike: dict[Any, list[int]] = defaultdict(list)
    for place, sample in enumerate(samples):
        alike[kind_of(sample.image), detailed[place]].append(place)
    images: list[Any] = [None] * len(samples)
    for (_, keeps), places in alike.items():
        originals = [samples[place].image for place in places]
        made = resize(pixels[places], size_of(originals[0]))
        if keeps:
            real = torch.stack([to_float(to_tensor(image, source.value_range)) for image in originals])
            made = real + match_channels(made, real.shape[1], alpha=0.0)
        for place, image in zip(places, like_all(made, originals, source.value_range), strict=True):
            images[place] = image
    return images
