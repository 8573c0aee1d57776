"""The one safetensors file that holds a bank. The format is specified in docs/file_format.md.

A file is untrusted input: nothing in it is executed or imported, and the sizes of its tensors are checked against its
metadata before any is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vae_augment.bank.content import BankContent, Start, find_all, without_figures
from vae_augment.bank.metadata import Declared, Metadata, NetworksError, networks_entry
from vae_augment.bank.packed_weights import LARGEST, Stored, own_sizes, sizes
from vae_augment.bank.tensor_file import Kind, require_finite, serialized
from vae_augment.files.class_names import check_names
from vae_augment.model.conv_vae import ConvVAE
from vae_augment.model.latent import LatentStats
from vae_augment.model.network_vae import Networks, NetworkVAE
from vae_augment.model.samplers import check_method

BANK = Kind("vae-augment-bank", 3, "bank", ".safetensors", "vae-augment fit", "fit the bank again")
# With weights and codes up to these no image overflows. A class with larger ones is tried out when it is read.
ORDINARY_WEIGHT, ORDINARY_CODE = 16.0, 1e5
FAR, TRIED = 8.0, 8  # standard deviations at which a class is tried out, and in how many directions


def serialize(content: BankContent) -> bytes:
    """The file's bytes, the same for the same content.

    Raises ValueError if a number is not finite, or for class names that `read` would refuse.
    """
    check_names(info.name for info in content.class_infos)
    weights = content.weights
    tensors = {"class.weights": weights.values}
    if weights.tuned:
        tensors |= {"class.steps": weights.steps, "class.base": weights.base}
    if len(weights.bases):
        tensors["base.weights"] = weights.bases
    tensors |= {f"latent.{name}": tensor for name, tensor in content.stats.tensors().items()}
    tensors["class.curve"] = content.curves
    if content.start is not None:
        tensors |= {"start.pooled": content.start.pooled, "start.curve": content.start.curve}
    if content.unlabelled is not None:
        tensors["unlabelled.items"] = content.unlabelled
    for name, tensor in tensors.items():
        require_finite(name, tensor, "bank")
    vae = content.vae
    metadata = Metadata(
        BANK.format,
        BANK.version,
        image_shape=list(content.vae.image_shape),
        latent_dim=content.vae.latent_dim,
        width=vae.width if isinstance(vae, ConvVAE) else 0,
        exemplars=content.stats.exemplars.shape[1],
        tuned=weights.tuned,
        bases=len(weights.bases),
        classes=[asdict(info) for info in content.class_infos],
        config=content.config.to_dict(),
        policy=content.policy.to_dict(),
        data=content.data,
        value_range=None if content.value_range is None else list(content.value_range),
        start_steps=None if content.start is None else content.start.steps,
        components=vae.components,
        networks=networks_entry(vae) if isinstance(vae, NetworkVAE) else None,
    )
    entries = vars(metadata)
    for name in ("components", "networks"):
        if not entries[name]:
            del entries[name]
    return serialized(tensors, entries)


def read(path: str | Path, classes: Sequence[str | int] | None = None, networks: Networks | None = None) -> BankContent:
    """The content of a bank file, or of some of its classes without reading the others.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no bank, is damaged, was written by a newer version, lacks one of `classes`, or was fitted
            with other networks.
    """
    path = Path(path)
    with BANK.opened(path) as (file, text):
        try:
            declared = BANK.declared(path, text, lambda metadata: Declared.of(metadata, networks))
        except NetworksError as error:
            raise ValueError(f"{path} cannot be read: {str(error).rstrip('.')}.") from error
        return _read_tensors(path, file, declared, classes)


def _read_tensors(path: Path, file: Any, declared: Declared, classes: Sequence[str | int] | None) -> BankContent:
    BANK.check_tensors(path, file, declared.tensors())
    entries, infos = declared.entries, declared.infos
    rows = list(range(len(infos))) if classes is None else find_all(infos, classes)

    def load(name: str) -> Tensor:
        if not name.startswith(("class.", "latent.")) or len(rows) == len(infos):
            tensor: Tensor = file.get_tensor(name)
        else:
            part = file.get_slice(name)
            tensor = torch.cat([part[row : row + 1] for row in rows])
        try:
            require_finite(name, tensor, "bank")
        except ValueError as error:
            raise BANK.damaged(path, error) from None
        return tensor

    stats = LatentStats.of(lambda name: load(f"latent.{name}"))
    if not bool(((stats.counts >= 0) & (stats.counts <= entries.exemplars)).all()):
        raise BANK.damaged(path, "latent.counts is out of range")
    if not stats.usable():
        raise BANK.damaged(path, "a matrix in latent.cov is no covariance")
    weights = _weights(declared, load)
    if not bool(((weights.base >= 0) & (weights.base < entries.bases)).all()):
        raise BANK.damaged(path, "class.base is out of range")
    try:
        check_method(stats.counts, declared.policy.method)
        _check_images(weights, stats)
    except ValueError as error:
        raise BANK.damaged(path, error) from None
    start = None
    if entries.start_steps is not None:
        start = Start(weights.start(), load("start.pooled"), entries.start_steps, load("start.curve"))
    every = len(rows) == len(infos)
    unlabelled = load("unlabelled.items") if every and "unlabelled" in entries.data else None
    if unlabelled is not None and bool((unlabelled < 0).any()):
        raise BANK.damaged(path, "unlabelled.items is out of range")
    return BankContent(
        declared.vae,
        weights,
        stats,
        load("class.curve"),
        tuple(infos[row] for row in rows),
        declared.config,
        declared.policy,
        entries.data if every else without_figures(entries.data),
        start,
        declared.value_range,
        unlabelled,
    )


def _weights(declared: Declared, load: Callable[[str], Tensor]) -> Stored:
    values = load("class.weights")
    bases = load("base.weights") if declared.entries.bases else torch.zeros(0, sum(sizes(declared.vae))).half()
    if declared.entries.tuned:
        return Stored(declared.vae, values, load("class.steps"), load("class.base"), bases)
    return Stored(declared.vae, values, torch.zeros(len(values), 0), torch.zeros(0, dtype=torch.long), bases)


@torch.no_grad()
def _check_images(weights: Stored, stats: LatentStats) -> None:
    """Raise ValueError if finite weights or codes are so large that an image is not finite."""
    draws, vae = torch.Generator().manual_seed(0), weights.vae
    noise, shape = FAR * torch.randn(TRIED, vae.latent_dim, generator=draws), vae.image_shape
    images = torch.stack([torch.rand(shape, generator=draws), torch.zeros(shape), torch.ones(shape)])  # [3, C, H, W]
    for row in _extraordinary(weights, stats):
        own, params = stats.pick([row]), weights.params([row])
        far = own.spread(torch.zeros(TRIED, dtype=torch.long), noise)
        exemplars = own.exemplars[0].float()
        largest = exemplars.abs().sum(1).topk(min(TRIED, len(exemplars))).indices
        codes = torch.cat([vae.encode(params, images[None])[0][0], own.mean, exemplars[largest]])
        z = torch.cat([noise, codes, *(code + far for code in codes)])
        if not bool(torch.isfinite(vae.decode(params, z[None])).all()):
            raise ValueError("its weights or latent statistics are so large that images overflow")


def _extraordinary(weights: Stored, stats: LatentStats) -> list[int]:
    """Positions of classes with larger weights or codes than any fit is known to give, or with anybody's networks."""
    if not isinstance(weights.vae, ConvVAE):
        return list(range(len(weights)))
    if weights.tuned:  # components alone give finite images by any weights of half precision
        bases = weights.bases[:, : sum(own_sizes(weights.vae))]
        largest = weights.steps.amax(1) * LARGEST + bases.abs().amax(1).float()[weights.base]
    else:
        largest = torch.stack([values.abs().max().float() for values in weights.values])
    codes = torch.maximum(stats.mean.abs().amax(1), stats.cov.abs().amax((1, 2)).sqrt())
    return (~((largest <= ORDINARY_WEIGHT) & (codes <= ORDINARY_CODE))).nonzero()[:, 0].tolist()
