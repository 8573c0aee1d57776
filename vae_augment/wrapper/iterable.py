"""VAEAugmentedIterable: the wrapper of datasets that are read in a stream, without len() and indices."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from vae_augment.bank import VAEBank
from vae_augment.bank.draws import JITTERED, REAL, draw_batch, shares_of
from vae_augment.bank.item_cache import MOST_BYTES
from vae_augment.bank.synthesis import Synthesis
from vae_augment.data.items import Sample, put_together, taken_apart, with_source
from vae_augment.data.labels import plain
from vae_augment.data.source import Source
from vae_augment.exceptions import check_number, check_type, check_whole
from vae_augment.files.untrusted_json import brief
from vae_augment.images.conversion import IMAGES, Range, as_tensor, extremes, needs_range, size_of, to_tensor
from vae_augment.processes import own_defaults
from vae_augment.seeding import check_seed
from vae_augment.wrapper.class_options import share_of_policy

BUFFER, BUFFER_PIXELS = 128, 2**23  # items that are read ahead, so that synthetic ones are made together
KEY = "__key__"  # webdataset's name of an item
Mark = tuple[int, bytes]  # class position and hash of an image
SLACK = 0.02  # of the range of values: half precision leaves it by less, normalising by far more
OF_A_WORKER = 2**40  # items without a key that each worker may serve


class VAEAugmentedIterable(IterableDataset[Any]):
    """A stream of items that are sometimes jittered or newly generated images of the same class.

    For an IterableDataset, a webdataset pipeline or a streamed dataset of Hugging Face. An item keeps its label, and
    its image its type, mode, dtype, range and size; transforms follow behind. Which worker reads what is left to the
    stream. Up to 128 items are read ahead, fewer of large images, so no two may share memory.

    Example:
        >>> stream = wds.WebDataset(tars).decode("pil").to_tuple("jpg", "cls")
        >>> stream = VAEAugmentedIterable(stream, "photos.safetensors")

    Args:
        iterable: of (image, label, ...) items, or of dicts as `VAEAugmentedDataset` takes them, with webdataset's
            "jpg", "png", "webp" and "cls" too. Labels are the bank's, numbers or names.
        bank: a `VAEBank`, or the path of one.
        p_generate: probability that an item is a newly generated image of its class, in [0, 1]; None: the policy's.
        p_jitter: probability that an item is a latent-jittered version of itself, in [0, 1]; None: the policy's.
        scale: jitter in standard deviations of the class's spread in latent space; None: the policy's.
        seed: None draws from torch's global generator, which the DataLoader seeds for each worker and epoch; an int
            makes an item a function of seed, epoch and its "__key__" alone, in any number of workers; of items without
            a key, of its place in its worker's stream.
        return_source: 0 (real), 1 (jittered) or 2 (generated) is added to items: last in a tuple, "source" in a dict.

    Raises:
        TypeError: `iterable` cannot be iterated over, or an option is of another type; while iterating, an item that is
            no (image, label).
        ValueError: an option out of range; while iterating, a label that the bank lacks.
        FileNotFoundError: no bank at the path.
    """

    serves_synthetic = True  # so that nothing is fitted on it

    @own_defaults()
    def __init__(
        self,
        iterable: Iterable[Any],
        bank: VAEBank | str | Path,
        *,
        p_generate: float | None = None,
        p_jitter: float | None = None,
        scale: float | None = None,
        seed: int | None = None,
        return_source: bool = False,
    ) -> None:
        if not hasattr(iterable, "__iter__"):
            kind = type(iterable).__name__
            raise TypeError(f"iterable must be iterable, got {kind}: wrap a map-style dataset by VAEAugmentedDataset.")
        if getattr(iterable, "serves_synthetic", False):
            raise TypeError("iterable serves synthetic images already; wrap what it was made from.")
        if isinstance(bank, (str, Path)):
            bank = VAEBank.load(bank)
        check_type("bank", bank, VAEBank, "a VAEBank or the path of one")
        check_type("return_source", return_source, bool, "True or False")
        if seed is not None:
            check_seed(seed)
        told = {"p_generate": p_generate, "p_jitter": p_jitter}
        for name, value in told.items():
            if value is not None:
                check_number(name, value, "in [0, 1]", low=0.0, high=1.0)
        if scale is not None:
            check_number("scale", scale, "a finite number of at least 0", low=0.0)
        if (p_generate or 0.0) + (p_jitter or 0.0) > 1:
            raise ValueError(f"p_generate + p_jitter must be at most 1, got {p_generate} + {p_jitter}.")
        self.iterable, self.bank = iterable, bank if bank.device.type == "cpu" else bank.to("cpu")
        self._row_of: dict[str | int, int] = dict(bank.row_of.items())
        self._row_of |= {name: bank.row_of[label] for name, label in bank.class_to_idx.items()}
        policy = bank.policy
        self.p_generate = share_of_policy(policy.p_generate, 1.0, p_jitter or 0.0) if p_generate is None else p_generate
        self.p_jitter = share_of_policy(policy.p_jitter, 1.0, self.p_generate) if p_jitter is None else p_jitter
        usual = policy.served_scale if p_jitter is None else policy.scale
        self.scale = usual if scale is None else scale
        self.seed, self.return_source = seed, return_source
        self._shares = torch.tensor([self.p_generate, self.p_jitter, 0.0])
        self._epoch = torch.zeros(1, dtype=torch.long).share_memory_()  # persistent workers see it change
        self._known = _Known()

    def __len__(self) -> int:
        return len(self.iterable)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        place = 0 if worker is None else worker.id * OF_A_WORKER
        for buffer in _buffers(self.iterable):
            yield from self._served(buffer, place)
            place += len(buffer)

    def set_epoch(self, epoch: int) -> None:
        """Draw the items of a seeded stream anew from now on, in running workers too; the stream is told as well."""
        self._epoch[0] = check_whole("epoch", epoch)
        if hasattr(self.iterable, "set_epoch"):
            self.iterable.set_epoch(epoch)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._epoch.share_memory_()

    def __repr__(self) -> str:
        return (
            f"VAEAugmentedIterable({type(self.iterable).__name__}, p_generate={self.p_generate}, "
            f"p_jitter={self.p_jitter}, seed={self.seed}, bank={self.bank!r})"
        )

    @own_defaults()
    def _served(self, samples: list[Sample], place: int) -> list[Any]:
        """Items of a buffer, the first of which is at a place in the stream."""
        rows = torch.tensor([self._row(sample.target) for sample in samples])  # [B]
        numbers = [_number(sample.whole, place + n) for n, sample in enumerate(samples)]
        shares = shares_of(self.bank, rows, self._shares)
        draws = draw_batch(self.bank, numbers, shares, seed=self.seed, epoch=int(self._epoch))
        made = (draws.kind != REAL).nonzero()[:, 0]
        served = [sample.whole for sample in samples]
        if len(made):
            buffer = _Buffer(samples, self.bank.value_range)
            for n in made.tolist():
                self._check_range(samples[n].image)
            synthesis = Synthesis(self.bank, cast(Source, buffer), rows)
            jittered = (draws.kind == JITTERED).nonzero()[:, 0]
            marks = [(int(rows[n]), _mark(samples[n].image)) for n in jittered.tolist()] if self.scale else []
            self._known.recall(synthesis, jittered, marks)
            synthetic = synthesis.items(made, draws.pick(made), scale=self.scale)
            self._known.keep(synthesis, jittered, marks)
            for n, item in zip(made.tolist(), synthetic, strict=True):
                served[n] = item
        if self.return_source:
            return [with_source(item, kind) for item, kind in zip(served, draws.kind.tolist(), strict=True)]
        return served

    def _check_range(self, image: Any) -> None:
        """Raise ValueError for an image with values outside of the range of the bank's data."""
        if needs_range(image):
            low, high = self.bank.value_range or (0.0, 1.0)
            least, most = extremes(image)
            slack = SLACK * (high - low)
            if not (least >= low - slack and most <= high + slack):  # true for NaN too
                raise ValueError(
                    f"images of the stream must have values from {low:g} to {high:g}, as the bank's data has, got "
                    f"{least:g} to {most:g}. Wrap the stream before images are scaled or normalised."
                )

    def _row(self, label: Any) -> int:
        """The bank's class position of a label."""
        label = plain(label)
        if isinstance(label, float) and label.is_integer():
            label = int(label)
        known = self._row_of.get(label) if isinstance(label, (str, int)) else None
        if known is None:
            has = list(self.bank.classes if isinstance(label, str) else self.bank.row_of)[:20]
            raise ValueError(f"the bank has no class for the label {brief(label)} of an item; it has {has}.")
        return known


def _buffers(items: Iterable[Any]) -> Iterator[list[Sample]]:
    """Items taken apart, as many at a time as make a buffer."""
    buffer: list[Sample] = []
    pixels = 0
    for item in items:
        buffer.append(taken_apart(item))
        if not isinstance(image := buffer[-1].image, IMAGES):
            kind = type(image).__name__
            raise TypeError(f"an image must be a PIL image, numpy array or tensor, got {kind}: decode it before.")
        pixels += math.prod(size_of(image))
        if len(buffer) == BUFFER or pixels >= BUFFER_PIXELS:
            yield buffer
            buffer, pixels = [], 0
    if buffer:
        yield buffer


class _Buffer:
    """The items of a buffer as `Synthesis` reads a dataset's."""

    stable = in_memory = True

    def __init__(self, samples: list[Sample], value_range: Range | None) -> None:
        self._samples, self.value_range = samples, value_range

    def __len__(self) -> int:
        return len(self._samples)

    def raw(self, index: int, *, blank: bool = False) -> Sample:
        return self._samples[index]

    def pixels(self, index: int, image: Any) -> Tensor:
        return to_tensor(image, self.value_range)

    def relabel(self, items: list[int], targets: list[Any]) -> list[int]:
        return []

    def finish(self, index: int, sample: Sample, image: Any) -> Any:
        return put_together(sample.whole, image, sample.target)


class _Known:
    """Codes and reconstructions of images that came before, by class and pixels; each worker has its own."""

    def __init__(self) -> None:
        self._held: OrderedDict[Mark, tuple[Tensor, Tensor]] = OrderedDict()  # the last used at the end

    def recall(self, synthesis: Synthesis, items: Tensor, marks: list[Mark]) -> None:
        """Tell a synthesis what is known of its items."""
        found = [n for n, mark in enumerate(marks) if mark in self._held]
        if found:
            codes, reconstructions = zip(*(self._held[marks[n]] for n in found), strict=True)
            synthesis.learn(items[found], torch.stack(codes), torch.stack(reconstructions))

    def keep(self, synthesis: Synthesis, items: Tensor, marks: list[Mark]) -> None:
        """Keep what a synthesis knows of its items; leave out what was not used for longest."""
        codes, reconstructions = synthesis.known(items)
        for mark, code, reconstruction in zip(marks, codes, reconstructions, strict=False):
            if mark not in self._held:
                self._held[mark] = code.clone(), reconstruction.clone()
            self._held.move_to_end(mark)
        most = MOST_BYTES // (codes.shape[1] * 4 + reconstructions.shape[1] * 2)
        while len(self._held) > most:
            self._held.popitem(last=False)

    def __reduce__(self) -> tuple[type[_Known], tuple[()]]:
        return _Known, ()


def _mark(image: Any) -> bytes:
    """Hash of an image's pixels, mode and size."""
    pixels = as_tensor(image).detach().contiguous()
    digest = hashlib.blake2b(pixels.cpu().view(torch.uint8).numpy().data, digest_size=16)
    digest.update(f"{tuple(pixels.shape)}{pixels.dtype}".encode())
    return digest.digest()


def _number(item: Any, place: int) -> int:
    """Number that an item's draws depend on: a hash of its key, or its place in the stream."""
    if isinstance(item, Mapping) and KEY in item:
        return int.from_bytes(hashlib.blake2b(str(item[KEY]).encode(), digest_size=7).digest(), "big")
    return place
