"""A bank as a codec: a dataset's images to latents, and latents to images in class folders.

What is encoded and then decoded is what `reconstruct_to_folder` writes, to the last bit: both compute in the same
batches, on one thread, since products of different sizes round differently.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.data.loading import load_some
from vae_augment.data.source import Source
from vae_augment.exceptions import DataWarning, warn
from vae_augment.exporting.folder import Export
from vae_augment.exporting.item_names import item_names
from vae_augment.exporting.latents import Latents
from vae_augment.exporting.named import NamedExport
from vae_augment.images.tensors import to_uint8
from vae_augment.model.devices import single_thread

BATCH = 256  # images that are in memory at once
METHOD = "reconstruction"  # in a manifest


@dataclass(frozen=True)
class ClassError:
    """How far reconstructed images are from their originals.

    Args:
        name: of the class.
        images: how many.
        rmse: root mean squared error of their pixels, in 0..1.
    """

    name: str
    images: int
    rmse: float

    @property
    def psnr(self) -> float:
        """Peak signal-to-noise ratio in dB; infinite where nothing differs."""
        return -20 * math.log10(self.rmse) if self.rmse else math.inf


@dataclass(frozen=True)
class Reconstruction:
    """What was written, and how near it is.

    Args:
        folder: where to.
        classes: the error of each class that has images.
        whole: that of all images.
    """

    folder: Path
    classes: tuple[ClassError, ...]
    whole: ClassError


def encode_dataset(
    bank: VAEBank, source: Source, *, mean_only: bool = False, on_images: Callable[[int], object] = lambda count: None
) -> Latents:
    """Every image of a dataset to its latents.

    Example:
        >>> latents = encode_dataset(bank, source_for(bank, dataset))

    Args:
        bank: a fitted bank.
        source: of `bank_images.source_for`.
        mean_only: leave the log-variances out, which decoding does not need.
        on_images: called with the number of images just encoded.

    Raises:
        ValueError: an image that cannot be read.
    """
    means, logvars = [], []
    with single_thread():
        for items in _batches(len(source)):
            images = load_some(source, range(len(source))[items], bank.image_shape)
            mean, logvar = bank.encode(images, source.labels[items])
            means.append(mean.cpu())
            if not mean_only:
                logvars.append(logvar.cpu())
            on_images(items.stop - items.start)
    return Latents(
        torch.cat(means),
        torch.cat(logvars) if logvars else None,
        source.labels,
        item_names(source),
        bank.class_to_idx,
        bank.image_shape,
        bank.sha256,
    )


def decode_to_folder(
    bank: VAEBank,
    latents: Latents,
    out: str | Path,
    *,
    other_bank: bool = False,
    overwrite: bool = False,
    on_images: Callable[[int], object] = lambda count: None,
) -> Export:
    """Latents to images OUT/<class>/<name>.png, with classes.json and manifest.json beside the class folders.

    Example:
        >>> decode_to_folder(bank, Latents.load("latents.safetensors"), "images")

    Args:
        bank: the one that encoded them.
        latents: of which the means are decoded.
        out: the folder, made if need be; it must be empty.
        other_bank: decode with this bank though it is another: for one with the same classes' weights, such as a
            subset. To the bank of another fit these latents mean something else.
        overwrite: remove an earlier export first, whatever it was of; files that are not an export's are left.
        on_images: called with the number of images just written.

    Raises:
        ValueError: the latents are another bank's and `other_bank` is not given; or no bank like this made them.
        FileExistsError: as `folder.filled`.
    """
    check_bank(bank, latents, other_bank=other_bank)
    named = NamedExport(bank, out, latents.labels.tolist(), latents.names, method=METHOD, overwrite=overwrite)
    with named as folder, single_thread():
        for items in _batches(len(latents)):
            folder.write(_decoded(bank, latents.mean[items], latents.labels[items]))
            on_images(items.stop - items.start)
    return folder.export


def reconstruct_to_folder(
    bank: VAEBank,
    source: Source,
    out: str | Path,
    *,
    overwrite: bool = False,
    on_images: Callable[[int], object] = lambda count: None,
) -> Reconstruction:
    """Every image encoded to its posterior mean and decoded, OUT/<class>/<name>.png, and how near it is.

    Example:
        >>> reconstruct_to_folder(bank, source_for(bank, dataset), "reconstructed").whole.psnr

    Args:
        bank: a fitted bank.
        source: of `bank_images.source_for`.
        out: the folder, made if need be; it must be empty.
        overwrite: remove an earlier export first, whatever it was of; files that are not an export's are left.
        on_images: called with the number of images just written.

    Returns:
        Errors of the bytes that were written, against the images at the bank's size.

    Raises:
        ValueError: an image that cannot be read.
        FileExistsError: as `folder.filled`.
    """
    labels = source.labels
    named = NamedExport(bank, out, labels.tolist(), item_names(source), method=METHOD, overwrite=overwrite)
    squares = torch.zeros(len(source), dtype=torch.float64)  # mean over an image's pixels, in 0..1
    with named as folder, single_thread():
        for items in _batches(len(source)):
            images = load_some(source, range(len(source))[items], bank.image_shape)
            made = _decoded(bank, bank.encode(images, labels[items])[0].cpu(), labels[items])
            squares[items] = ((made.double() - images.double()) / 255).square().mean((1, 2, 3))
            folder.write(made)
            on_images(items.stop - items.start)
    errors = tuple(
        ClassError(info.name, len(held), math.sqrt(held.mean()))
        for info in bank.class_infos
        if len(held := squares[labels == info.label])
    )
    return Reconstruction(Path(out), errors, ClassError("all", len(squares), math.sqrt(squares.mean())))


def check_bank(bank: VAEBank, latents: Latents, *, other_bank: bool = False) -> None:
    """Raise ValueError if a bank cannot decode latents, or is not the one that made them and `other_bank` is False."""
    if latents.bank_sha256 != bank.sha256 and not other_bank:
        raise ValueError(
            f"the latents were encoded with another bank, of sha256 {latents.bank_sha256[:12]}…, this one's is "
            f"{bank.sha256[:12]}…. Name that bank, or have them decoded all the same with --other-bank "
            "(other_bank=True)."
        )
    shapes = [(*latents.image_shape, latents.mean.shape[1]), (*bank.image_shape, bank.latent_dim)]
    if shapes[0] != shapes[1]:
        theirs, own = ("{}x{}x{} images in {} dimensions".format(*shape) for shape in shapes)
        raise ValueError(f"the latents must be of a bank like this one, of {own}, got some of {theirs}.")
    used = {name: latents.class_to_idx[name] for name, count in latents.counts.items() if count}
    lacking = sorted(set(used.values()) - set(bank.row_of))
    if lacking:
        raise ValueError(f"the bank has no class for label {lacking[0]}; it has labels {sorted(bank.row_of)}.")
    names = {info.label: info.name for info in bank.class_infos}
    for name, label in used.items():
        if names[label] != name:
            warn(f"classes have other names in the bank: for {name!r} it says {names[label]!r}.", DataWarning)
            return


def _decoded(bank: VAEBank, mean: Tensor, labels: Tensor) -> Tensor:
    """uint8 images [B, C, H, W] on the CPU. ValueError for codes that no encoder gives."""
    images = bank.decode(mean, labels).cpu()
    if not bool(torch.isfinite(images).all()):
        raise ValueError("the latents hold codes that are too large: images of them are not finite.")
    return to_uint8(images)


def _batches(count: int) -> Iterator[slice]:
    return (slice(first, min(first + BATCH, count)) for first in range(0, count, BATCH))
