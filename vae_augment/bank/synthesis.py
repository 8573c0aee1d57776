"""Which items become what, and those that do not stay real."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from vae_augment.bank.bank import VAEBank
from vae_augment.bank.draws import GENERATED, JITTERED, Draws
from vae_augment.bank.item_cache import Cache, Codes
from vae_augment.data.items import Sample
from vae_augment.data.source import Source
from vae_augment.images.conversion import Range, all_to_bytes, all_to_float, is_plain, kind_of, like_all, size_of
from vae_augment.images.moves import Moves
from vae_augment.images.tensors import match_channels, resize, to_float, to_uint8
from vae_augment.model.devices import single_thread

ENCODED_ALONE = 4  # images of a class a pass, always as many: products of different sizes round differently
CACHED_PIXELS = 2**18  # worked on at a time, so that a batch of large photographs does not need much memory


@torch.no_grad()
def synthesise(
    bank: VAEBank, source: Source, cache: Cache, items: Tensor, rows: Tensor, draws: Draws, *, scale: float | None
) -> list[Any]:
    """Items of a dataset with jittered and generated images in place of their own.

    Args:
        bank: on the CPU.
        source: of the items.
        cache: of the source's items; what is found missing is added.
        items: int64 [B].
        rows: int64 [B], the class position of each in the bank.
        draws: JITTERED or GENERATED for each.
        scale: of the jitter; None: the policy's.
    """
    jittered = (draws.kind == JITTERED).nonzero()[:, 0]
    generated = (draws.kind == GENERATED).nonzero()[:, 0]
    with single_thread():
        z = torch.empty(len(items), bank.latent_dim, dtype=torch.float32)
        if len(generated):
            z[generated] = bank.draw(rows[generated], draws.noise[generated], draws.chosen[generated])
        known = cache.codes.get(items[jittered])
        samples, kept = _read(bank, source, items, jittered, known)
        if len(jittered):
            jittering = [samples[i] for i in jittered.tolist()]
            _encode(bank, source, cache.codes, items[jittered], rows[jittered], jittering, known)
            z[jittered] = bank.moved(known, rows[jittered], draws.noise[jittered], scale)
        detailed = torch.zeros(len(items), dtype=torch.bool)
        detailed[jittered] = torch.tensor(kept, dtype=torch.bool)
        pixels = _decode(bank, cache, items, rows, z, detailed, known[detailed[jittered]])
        images = _finished(source, samples, pixels, detailed.tolist(), bank.policy.mover, draws)
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


def _alike(kinds: list[Any], sizes: list[tuple[int, int]]) -> Iterator[list[int]]:
    """Places of one kind, few enough to be worked on together."""
    places: dict[Any, list[int]] = defaultdict(list)
    for place, kind in enumerate(kinds):
        places[kind].append(place)
    for some in places.values():
        height, width = sizes[some[0]]
        few = max(1, CACHED_PIXELS // (height * width))
        for first in range(0, len(some), few):
            yield some[first : first + few]


def _encode(
    bank: VAEBank, source: Source, codes: Codes, items: Tensor, rows: Tensor, samples: list[Sample], known: Tensor
) -> None:
    """Fill in the codes that are not known."""
    missing = known[:, 0].isnan().nonzero()[:, 0]
    alone = []
    for i in missing.tolist():
        together = codes.neighbours(int(items[i]), int(rows[i]))
        if together is None:
            alone.append(i)
        elif codes.get(items[i : i + 1]).isnan().any():  # not done with one before
            images = [source.raw(item).image for item in together.tolist()]
            small = _small(bank, source, together.tolist(), images)
            codes.put(together, bank.encode_rows(small, rows[i].expand(len(together)))[0])
    if alone:
        small = _small(bank, source, items[alone].tolist(), [samples[i].image for i in alone])
        codes_alone = bank.encode_rows(small, rows[alone], block=ENCODED_ALONE)[0]
        known[alone] = codes_alone
        codes.put(items[alone], codes_alone)
    if len(alone) < len(missing):
        known[missing] = torch.where(known[missing].isnan(), codes.get(items[missing]), known[missing])


def _decode(
    bank: VAEBank, cache: Cache, items: Tensor, rows: Tensor, z: Tensor, detailed: Tensor, codes: Tensor
) -> Tensor:
    """Images of latents z, and for `detailed` ones their difference from the images of their items' own codes."""
    kept = detailed.nonzero()[:, 0]
    own = cache.reconstructions.get(items[kept])  # [D, C*H*W]
    missing = own[:, :1].isnan().any(1).nonzero()[:, 0] if len(kept) else kept
    at, of = torch.cat([z, codes[missing]]), torch.cat([rows, rows[kept[missing]]])
    decoded = bank.decode_each(at, of)
    pixels = decoded[: len(items)]
    if len(missing):
        own[missing] = decoded[len(items) :].flatten(1).half()
        cache.reconstructions.put(items[kept[missing]], own[missing])
    if len(kept):
        difference = pixels[kept].sub_(own.float().view(-1, *bank.image_shape))
        difference[(z[kept] == codes).all(1)] = 0.0  # whatever half precision does
        pixels[kept] = difference
    return pixels


def _small(bank: VAEBank, source: Source, items: list[int], images: list[Any]) -> Tensor:
    """Raw images of items as a bank sees them, float [B, C, H, W]."""
    channels, size = bank.image_shape[0], bank.image_shape[1:]
    floats = (to_float(source.pixels(item, image)) for item, image in zip(items, images, strict=True))
    return torch.cat([resize(match_channels(pixels, channels)[None], size) for pixels in floats])


def _finished(
    source: Source, samples: list[Sample], pixels: Tensor, detailed: list[bool], mover: Moves | None, draws: Draws
) -> list[Any]:
    """Images of the samples' own kind and size, from decoded ones or, where detail is kept, decoded differences.

    Jittered ones are moved.
    """
    images: list[Any] = [None] * len(samples)
    tensors = all(leaf.after_to_tensor() is not None for leaf in source.leaves)
    kinds = [
        (kind_of(sample.image), keeps, jittered)
        for sample, keeps, jittered in zip(samples, detailed, (draws.kind == JITTERED).tolist(), strict=True)
    ]
    for some in _alike(kinds, [size_of(sample.image) for sample in samples]):
        originals = [samples[place].image for place in some]
        if mover is not None and kinds[some[0]][-1]:
            made = _moved(mover, draws.moves[some], pixels[some], originals, detailed[some[0]], source.value_range)
        else:
            made = _at_size(pixels[some], originals, detailed[some[0]], source.value_range)
        as_tensors = tensors and getattr(originals[0], "mode", None) in ("L", "RGB")
        if as_tensors:
            channels = match_channels(made, len(originals[0].getbands()))
            floats = to_uint8(channels).contiguous().to(torch.get_default_dtype()).div_(255)
            finished: Sequence[Any] = [pixels.clone() for pixels in floats]  # so that an item does not hold its batch
        else:
            finished = like_all(made, originals, source.value_range)
        for place, image in zip(some, finished, strict=True):
            images[place] = image
    return images


def _moved(
    moves: Moves, uniform: Tensor, pixels: Tensor, originals: list[Any], keeps: bool, value_range: Range | None
) -> Tensor:
    """`_at_size`, and moved. What is added to an image need not be made as large first: moving does that."""
    size = size_of(originals[0])
    if not keeps:
        return moves.apply(resize(pixels, size), uniform)
    real = all_to_float(originals, value_range)
    if pixels.shape[2] > size[0] or pixels.shape[3] > size[1]:
        pixels = resize(pixels, size)
    return moves.apply(real, uniform, difference=match_channels(pixels, real.shape[1], alpha=0.0))


def _at_size(pixels: Tensor, originals: list[Any], keeps: bool, value_range: Range | None) -> Tensor:
    """Decoded images, or decoded differences added to the originals, at the originals' size; bytes where they are."""
    size = size_of(originals[0])
    pixels = pixels.contiguous(memory_format=torch.channels_last)  # as most images are stored
    if not is_plain(originals[0]) or tuple(pixels.shape[2:]) == size:
        made = resize(pixels, size)
        if not keeps:
            return made
        real = all_to_float(originals, value_range)
        return real.add_(match_channels(made, real.shape[1], alpha=0.0))
    if not keeps:
        return resize(to_uint8(pixels), size)
    # what brightens and what darkens apart, both as bytes, which take a fifth of the time to resize
    real = all_to_bytes(originals)
    brighter, darker = (
        match_channels(resize(to_uint8(part), size), real.shape[1], alpha=0.0) for part in (pixels, -pixels)
    )
    return real.short().add_(brighter).sub_(darker).clamp_(0, 255).to(torch.uint8)
