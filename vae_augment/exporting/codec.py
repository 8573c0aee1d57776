"""A bank as a codec: a dataset's images to latents, and latents to images in class folders.

`encode_dataset` and then `decode_to_folder` give what `reconstruct_to_folder` writes, to the last bit: both compute the
same batches on one thread, because products of different sizes round differently.
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
from vae_augment.exporting.named import named_export
from vae_augment.images.tensors import to_uint8
from vae_augment.model.devices import single_thread

BATCH = 256  # images in memory at once
METHOD = "reconstruction"  # in a manifest


@dataclass(frozen=True)
class ClassError:
    """Error of a class's reconstructed images.

    Args:
        name: the class.
        images: their number.
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
    """Reconstructed images that were written, and their errors.

    Args:
        folder: the folder that holds them.
        classes: the error of each class that has images.
        whole: the error of all images.
    """

    folder: Path
    classes: tuple[ClassError, ...]
    whole: ClassError


def encode_dataset(
    bank: VAEBank, source: Source, *, mean_only: bool = False, on_images: Callable[[int], object] = lambda count: None
) -> Latents:
    """Encode every image of a dataset.

    Example:
        >>> latents = encode_dataset(bank, source_for(bank, dataset))

    Args:
        bank: a fitted bank.
        source: made by `bank.matching.source_for`.
        mean_only: leave out the log-variances, which decoding does not need.
        on_images: called with the number of images just encoded.

    Raises:
        ValueError: an image cannot be read.
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
    """Decode latents to images OUT/<class>/<name>.png, with classes.json and manifest.json beside the class folders.

    Example:
        >>> decode_to_folder(bank, Latents.load("latents.safetensors"), "images")

    Args:
        bank: the bank that encoded them.
        latents: their means are decoded.
        out: the folder, made if need be; it must be empty.
        other_bank: decode though another bank encoded them, such as one that this is a subset of. To the bank of
            another fit these latents mean something else.
        overwrite: remove an earlier export first, whatever it was of; files that are not an export's are left.
        on_images: called with the number of images just written.

    Raises:
        ValueError: another bank encoded the latents, and `other_bank` is False; or they do not fit this bank.
        FileExistsError: as `folder.filled`.
    """
    check_bank(bank, latents, other_bank=other_bank)
    folder = named_export(bank, out, latents.labels.tolist(), latents.names, method=METHOD, overwrite=overwrite)
    with folder as (write, done), single_thread():
        for items in _batches(len(latents)):
            write(_decoded(bank, latents.mean[items], latents.labels[items]))
            on_images(items.stop - items.start)
    return done


def reconstruct_to_folder(
    bank: VAEBank,
    source: Source,
    out: str | Path,
    *,
    overwrite: bool = False,
    on_images: Callable[[int], object] = lambda count: None,
) -> Reconstruction:
    """Encode every image to its posterior mean and decode it to OUT/<class>/<name>.png; measure the errors.

    Example:
        >>> reconstruct_to_folder(bank, source_for(bank, dataset), "reconstructed").whole.psnr

    Args:
        bank: a fitted bank.
        source: made by `bank.matching.source_for`.
        out: the folder, made if need be; it must be empty.
        overwrite: remove an earlier export first, whatever it was of; files that are not an export's are left.
        on_images: called with the number of images just written.

    Returns:
        Errors of the images as they were written, against the originals at the bank's size.

    Raises:
        ValueError: an image cannot be read.
        FileExistsError: as `folder.filled`.
    """
    labels = source.labels
    folder = named_export(bank, out, labels.tolist(), item_names(source), method=METHOD, overwrite=overwrite)
    squares = torch.zeros(len(source), dtype=torch.float64)  # mean squared error of each image's pixels, in 0..1
    with folder as (write, _), single_thread():
        for items in _batches(len(source)):
            images = load_some(source, range(len(source))[items], bank.image_shape)
            made = _decoded(bank, bank.encode(images, labels[items])[0].cpu(), labels[items])
            squares[items] = ((made.double() - images.double()) / 255).square().mean((1, 2, 3))
            write(made)
            on_images(items.stop - items.start)
    errors = tuple(
        ClassError(info.name, len(held), math.sqrt(held.mean()))
        for info in bank.class_infos
        if len(held := squares[labels == info.label])
    )
    return Reconstruction(Path(out), errors, ClassError("all", len(squares), math.sqrt(squares.mean())))


def check_bank(bank: VAEBank, latents: Latents, *, other_bank: bool = False) -> None:
    """Raise ValueError if a bank cannot decode latents, or did not encode them and `other_bank` is False."""
    if latents.bank_sha256 != bank.sha256 and not other_bank:
        raise ValueError(
            f"the latents were encoded with another bank, of sha256 {latents.bank_sha256[:12]}…, this one's is "
            f"{bank.sha256[:12]}…. Name that bank, or decode them all the same with --other-bank (other_bank=True)."
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
    """Images of codes [B, L]: uint8 [B, C, H, W], on the CPU. Raises ValueError if one is not finite."""
    images = bank.decode(mean, labels).cpu()
    if not bool(torch.isfinite(images).all()):
        raise ValueError("the latents hold codes that are too large: images of them are not finite.")
    return to_uint8(images)


def _batches(count: int) -> Iterator[slice]:
    return (slice(first, min(first + BATCH, count)) for first in range(0, count, BATCH))
