"""Synthetic items of a dataset: find codes, move them, decode, and finish as the dataset finishes its own items."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_augment.bank.bank import VAEBank
from vae_augment.bank.draws import GENERATED, JITTERED, UNLABELLED, Draws
from vae_augment.bank.item_cache import Codes, Table
from vae_augment.bank.jitter import WITH_ALPHA, difference, finished, keeps_detail, moved
from vae_augment.bank.unlabelled_items import UnlabelledItems
from vae_augment.data.items import Sample
from vae_augment.data.source import Source
from vae_augment.data.stand_ins import after_to_tensor
from vae_augment.images.conversion import all_to_tensor, channels_of, kind_of, like_all, needs_range, size_of
from vae_augment.images.tensors import match_channels, resize, to_float, to_uint8
from vae_augment.model.devices import single_thread
from vae_augment.processes import callers_defaults

ENCODED_ALONE = 4  # images in every pass of a class, padded: products of different sizes round differently
CACHED_PIXELS = 2**18  # finished at a time, so that a batch of large photographs does not need much memory
SOON_READ = 5_000  # items; of so few each is needed soon, so that reading some early costs nothing in the end


class Synthesis:
    """Jittered, newly generated and unlabelled items of one dataset, made with one bank.

    The wrapper serves these items, and `fit` tries its policy on them. Codes and reconstructions are functions of the
    bank and the item alone, so they are computed once and shared by all workers.

    Args:
        bank: on the CPU.
        source: the dataset, seen raw.
        rows: int64 [N], the class position in the bank of each item.
        unlabelled: images to serve in place of items; None if no item is to be one.
    """

    def __init__(self, bank: VAEBank, source: Source, rows: Tensor, unlabelled: UnlabelledItems | None = None) -> None:
        self.bank, self.source, self.rows, self.unlabelled = bank, source, rows, unlabelled
        together = source.in_memory or len(source) <= SOON_READ
        self._codes = Codes(rows, bank.latent_dim, kept=source.stable, together=together)
        detail = source.stable and bank.policy.keep_detail
        self._reconstructions = Table(len(rows), math.prod(bank.image_shape), dtype=torch.float16, kept=detail)
        # Computed before workers start, each of which would compute it again.
        bank.models.rounds_alike()
        _ = bank.stats.scale_tril
        if bank.policy.p_generate:  # a sampler too may have much to compute of each class
            each = torch.arange(len(bank.classes))
            bank.draw(each, torch.zeros(len(each), bank.latent_dim), torch.zeros(len(each)))

    def over(self, source: Source) -> Synthesis:
        """The same for a source of the same items with other transforms."""
        other = copy.copy(self)
        other.source = source
        return other

    @torch.no_grad()
    def items(self, items: Tensor, draws: Draws, *, scale: float | Tensor | None = None) -> list[Any]:
        """Items with synthetic images in place of their own, through the dataset's transforms.

        Args:
            items: int64 [B].
            draws: of B items, none of them REAL.
            scale: of the jitter, for all or float32 [B]; None: the policy's, 0 without its VAE.
        """
        bank, rows = self.bank, self.rows[items]  # [B], class positions
        jittered, generated = ((draws.kind == kind).nonzero()[:, 0] for kind in (JITTERED, GENERATED))  # [J], [G]
        unlabelled = draws.kind == UNLABELLED  # [B]
        with single_thread():  # as in a worker, so that the main process computes the same bits
            scale = bank.policy.served_scale if scale is None else scale
            scales = scale[jittered] if isinstance(scale, Tensor) else scale
            known = self._codes.get(items[jittered])  # [J, L], NaN if not known yet
            if bank.policy.keep_detail and not np.any(np.asarray(scales)):
                known = torch.zeros_like(known)  # nothing is encoded, since any code will do that does not move
            samples, keeps = self._read(items, jittered, known)  # B samples; bool [B], True where detail is kept
            if changed := self.source.relabel(items.tolist(), [sample.target for sample in samples]):
                self._forget(torch.tensor(changed))
                return self.items(items, draws, scale=scale)
            keeps |= unlabelled  # another image whole, to which a difference of zero is added
            codes = torch.zeros(len(items), bank.latent_dim, dtype=torch.float32)  # [B, L]
            codes[jittered] = self._encode(items[jittered], [samples[place] for place in jittered.tolist()], known)
            z = codes.clone()
            z[jittered] = moved(bank, codes[jittered], rows[jittered], draws.noise[jittered], scales)
            z[generated] = bank.draw(rows[generated], draws.noise[generated], draws.chosen[generated])
            made = self._decode(items, z, keeps, codes[keeps])  # [B, C, h, w], images or differences
            images = self._finish(samples, made, keeps, draws, rows)  # B images of each sample's own kind and size
        with callers_defaults():  # the dataset's transforms are the caller's
            return [
                self.source.finish(item, sample, image)
                for item, sample, image in zip(items.tolist(), samples, images, strict=True)
            ]

    def known(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [B, L] and reconstructions [B, C*h*w] of items, NaN where they are not known."""
        return self._codes.get(items), self._reconstructions.get(items)

    def learn(self, items: Tensor, codes: Tensor, reconstructions: Tensor) -> None:
        """Take codes and reconstructions of items as known."""
        self._codes.put(items, codes)
        self._reconstructions.put(items, reconstructions)

    def _forget(self, items: Tensor) -> None:
        """Take items as those of the classes that they have now."""
        self.rows[items] = torch.tensor([self.bank.row_of[label] for label in self.source.labels[items].tolist()])
        for table in (self._codes, self._reconstructions):
            table.put(items, torch.full((len(items), table.width), torch.nan))

    def _read(self, items: Tensor, jittered: Tensor, known: Tensor) -> tuple[list[Sample], Tensor]:
        """Raw samples of items, pixels read only where they matter; and bool [B], True for items that keep detail."""
        to_encode = dict(zip(jittered.tolist(), known[:, 0].isnan().tolist(), strict=True))
        samples, keeps = [], [False] * len(items)
        for place, item in enumerate(items.tolist()):
            # A generated item, or one that is decoded from a known code, needs the size and kind of its sample alone.
            needed = place in to_encode and (to_encode[place] or self.bank.policy.keep_detail)
            sample = self.source.raw(item, blank=not needed)
            if place in to_encode and keeps_detail(self.bank, size_of(sample.image)):
                keeps[place] = True
                sample = sample if needed else self.source.raw(item)
            samples.append(sample)
        return samples, torch.tensor(keeps)

    def _encode(self, items: Tensor, samples: list[Sample], codes: Tensor) -> Tensor:
        """Codes [J, L] with those that are NaN computed, and kept for the next time."""
        missing = codes[:, 0].isnan().nonzero()[:, 0]
        alone = []
        for place in missing.tolist():
            together = self._codes.neighbours(int(items[place]), int(self.rows[items[place]]))
            if together is None:
                alone.append(place)
            elif self._codes.get(items[place : place + 1]).isnan().any():  # else it was encoded with an earlier one
                images = [self.source.raw(item).image for item in together.tolist()]
                small = self._as_modelled(together.tolist(), images)
                self._codes.put(together, self.bank.models.encode(small, self.rows[together])[0])
        if alone:
            small = self._as_modelled(items[alone].tolist(), [samples[place].image for place in alone])
            codes[alone] = self.bank.models.encode(small, self.rows[items[alone]], block=ENCODED_ALONE)[0]
            self._codes.put(items[alone], codes[alone])
        if len(alone) < len(missing):
            codes[missing] = torch.where(codes[missing].isnan(), self._codes.get(items[missing]), codes[missing])
        return codes

    def _as_modelled(self, items: list[int], images: list[Any]) -> Tensor:
        """Raw images of items with the bank's channels and size, float32 [B, C, h, w]."""
        channels, size = self.bank.image_shape[0], self.bank.image_shape[1:]
        floats = (to_float(self.source.pixels(item, image)) for item, image in zip(items, images, strict=True))
        return torch.cat([resize(match_channels(pixels, channels)[None], size) for pixels in floats])

    def _decode(self, items: Tensor, z: Tensor, keeps: Tensor, codes: Tensor) -> Tensor:
        """Images [B, C, h, w] of codes z [B, L]; for the D items that keep detail, differences from `codes` [D, L]."""
        moving = torch.ones_like(keeps)  # a code that did not move makes no difference, and is not decoded
        moving[keeps] = (z[keeps] != codes).any(1)
        if not bool(moving.all()):
            made = torch.zeros(len(items), *self.bank.image_shape, dtype=torch.float32)
            if bool(moving.any()):
                made[moving] = self._decode(items[moving], z[moving], keeps[moving], codes[moving[keeps]])
            return made
        kept = keeps.nonzero()[:, 0]  # [D]
        own = self._reconstructions.get(items[kept])  # [D, C*h*w], NaN if not known yet
        missing = own[:, :1].isnan().any(1).nonzero()[:, 0] if len(kept) else kept
        # New images and missing reconstructions in one pass, since half of a small pass is overhead.
        rows = self.rows[torch.cat([items, items[kept[missing]]])]
        decoded = self.bank.models.decode_each(torch.cat([z, codes[missing]]), rows)
        made = decoded[: len(items)]  # [B, C, h, w]
        if len(missing):
            own[missing] = decoded[len(items) :].flatten(1).half()
            self._reconstructions.put(items[kept[missing]], own[missing])
        if len(kept):
            made[kept] = difference(made[kept], own.view(-1, *self.bank.image_shape), z[kept], codes)
        return made

    def _finish(self, samples: list[Sample], made: Tensor, keeps: Tensor, draws: Draws, rows: Tensor) -> list[Any]:
        """Images of the samples' own kind and size from decoded ones, moved as the policy tells."""
        images: list[Any] = [None] * len(samples)
        # Where transforms begin with ToTensor its result is made at once, without a PIL image in between.
        kinds = [
            (kind_of(sample.image), kept, kind, after_to_tensor(sample) is not None)
            for sample, kept, kind in zip(samples, keeps.tolist(), draws.kind.tolist(), strict=True)
        ]
        for some in _alike(kinds, [size_of(sample.image) for sample in samples]):
            originals = [samples[place].image for place in some]
            _, kept, kind, as_tensors = kinds[some[0]]
            if kind == UNLABELLED:
                pixels = self._unlabelled(originals, rows[some], draws.chosen[some])
            else:
                needed = kept or (kind == JITTERED and channels_of(originals[0]) in WITH_ALPHA)
                pixels = self._originals(originals, needed=needed)
            pixels = finished(
                made[some],
                pixels,
                keeps=kept,
                smooth=self.bank.policy.smooth,
                moves=self.bank.policy.mover,
                uniform=draws.moves[some],
            )  # [b, C, H, W]
            if as_tensors and getattr(originals[0], "mode", None) in ("L", "RGB"):
                like: Sequence[Any] = _after_to_tensor(pixels, len(originals[0].getbands()))
            else:
                like = like_all(pixels, originals, self.source.value_range)
            for place, image in zip(some, like, strict=True):
                images[place] = image
        return images

    def _unlabelled(self, images: list[Any], rows: Tensor, chosen: Tensor) -> Tensor:
        """Unlabelled images [B, C, H, W] of the size and channels of raw images of one kind."""
        assert self.unlabelled is not None
        picks = zip(rows.tolist(), chosen.tolist(), images, strict=True)
        return torch.stack([self.unlabelled.image(*pick) for pick in picks])

    def _originals(self, images: list[Any], *, needed: bool) -> Tensor:
        """Raw images of one kind as [B, C, H, W]; if their pixels are not needed, an empty tensor of that size."""
        if needed:
            return all_to_tensor(images, self.source.value_range)
        dtype = torch.float32 if needs_range(images[0]) else torch.uint8
        return torch.empty(1, dtype=dtype).expand(len(images), self.bank.image_shape[0], *size_of(images[0]))


def _after_to_tensor(pixels: Tensor, channels: int) -> list[Tensor]:
    """Decoded images as torchvision's ToTensor gives byte images: float [C, H, W] each."""
    levels = to_uint8(match_channels(pixels, channels)).contiguous()
    with callers_defaults():
        dtype = torch.get_default_dtype()
    # Cloned, so that an item does not keep its batch in memory.
    return [image.clone() for image in levels.to(dtype).div_(255)]


def _alike(kinds: list[Any], sizes: list[tuple[int, int]]) -> Iterator[list[int]]:
    """Places of images of one kind, at most CACHED_PIXELS together."""
    places: dict[Any, list[int]] = defaultdict(list)
    for place, kind in enumerate(kinds):
        places[kind].append(place)
    for some in places.values():
        height, width = sizes[some[0]]
        few = max(1, CACHED_PIXELS // (height * width))
        for first in range(0, len(some), few):
            yield some[first : first + few]
