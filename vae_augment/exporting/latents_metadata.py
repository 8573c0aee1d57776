"""Metadata of a latent file, each entry checked: the file is untrusted input."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from vae_augment.bank.metadata import class_entries, is_label
from vae_augment.bank.tensor_file import Kind
from vae_augment.config import MAX_CHANNELS, MAX_LATENT_DIM, MAX_SIDE, MIN_SIDE
from vae_augment.data.opened import MOST_ITEMS
from vae_augment.exporting.item_names import MOST_CHARACTERS
from vae_augment.exporting.quantized import DTYPES
from vae_augment.files.untrusted_json import brief

LATENTS = Kind(
    "vae-augment-latents",
    1,
    "latent file",
    ".safetensors or .parquet",
    "vae-augment encode",
    "encode the images again",
)
TYPES = {"float32": "F32", "float16": "F16", "int8": "I8"}  # as safetensors names them
ENTRIES = frozenset(
    (
        "format",
        "version",
        "dtype",
        "images",
        "latent_dim",
        "logvar",
        "name_bytes",
        "image_shape",
        "classes",
        "bank_sha256",
    ),
)
SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_NAME_BYTES = 4 * MOST_CHARACTERS + 1  # in UTF-8, with a NUL behind


@dataclass(frozen=True)
class DeclaredLatents:
    """Entries of a file's metadata, checked as far as they can be without the tensors.

    Args:
        images: N.
        latent_dim: L.
        dtype: of the codes, one of `DTYPES`.
        logvar: whether there are log-variances.
        name_bytes: of all names, in UTF-8, a NUL behind each.
        image_shape: (C, H, W) of the bank.
        class_to_idx: the label of each class of the bank, by name, in the bank's order.
        bank_sha256: of the bank's file, in hexadecimal.
    """

    images: int
    latent_dim: int
    dtype: str
    logvar: bool
    name_bytes: int
    image_shape: tuple[int, int, int]
    class_to_idx: dict[str, int]
    bank_sha256: str

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> DeclaredLatents:
        """Raises KeyError, TypeError or ValueError for what a latent file cannot say."""
        unknown = sorted(set(metadata) - ENTRIES)
        if unknown:
            raise ValueError(f"it has an unknown entry {brief(unknown[0])}")
        dtype, sha256, logvar = metadata["dtype"], metadata["bank_sha256"], metadata["logvar"]
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {brief(dtype)}")
        if not isinstance(sha256, str) or not SHA256.fullmatch(sha256):
            raise ValueError(f"bank_sha256 must be 64 hexadecimal digits, got {brief(sha256)}")
        if type(logvar) is not bool:
            raise ValueError(f"logvar must be true or false, got {brief(logvar)}")
        images = _whole(metadata, "images", 1, MOST_ITEMS)
        return cls(
            images,
            _whole(metadata, "latent_dim", 1, MAX_LATENT_DIM),
            dtype,
            logvar,
            _whole(metadata, "name_bytes", 2 * images, MOST_NAME_BYTES * images),
            _image_shape(metadata["image_shape"]),
            _classes(metadata["classes"]),
            sha256,
        )

    def to_dict(self) -> dict[str, Any]:
        """Entries as the file's metadata has them."""
        return {
            "format": LATENTS.format,
            "version": LATENTS.version,
            "dtype": self.dtype,
            "images": self.images,
            "latent_dim": self.latent_dim,
            "logvar": self.logvar,
            "name_bytes": self.name_bytes,
            "image_shape": list(self.image_shape),
            "classes": [{"name": name, "label": label} for name, label in self.class_to_idx.items()],
            "bank_sha256": self.bank_sha256,
        }

    @property
    def codes(self) -> tuple[str, ...]:
        """The names of what there is of each image."""
        return ("mean", "logvar") if self.logvar else ("mean",)

    @property
    def scales(self) -> tuple[str, ...]:
        """The names of what there is of each class."""
        return tuple(f"{name}.{of}" for name in self.codes for of in ("step", "offset") if self.dtype == "int8")

    def tensors(self) -> dict[str, tuple[str, list[int]]]:
        """The type and shape of each tensor that a safetensors file must hold."""
        per_image = {name: (TYPES[self.dtype], [self.images, self.latent_dim]) for name in self.codes}
        per_class = {name: ("F32", [len(self.class_to_idx), self.latent_dim]) for name in self.scales}
        return {**per_image, **per_class, "labels": ("I64", [self.images]), "names": ("U8", [self.name_bytes])}


def _whole(metadata: dict[str, Any], name: str, least: int, most: int) -> int:
    value = metadata[name]
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least:,} to {most:,}, got {brief(value)}")
    return value


def _image_shape(shape: Any) -> tuple[int, int, int]:
    whole = isinstance(shape, list) and len(shape) == 3 and all(type(n) is int for n in shape)
    if not whole or not 1 <= shape[0] <= MAX_CHANNELS or not all(MIN_SIDE <= n <= MAX_SIDE for n in shape[1:]):
        raise ValueError(f"image_shape {brief(shape)} is out of range")
    return shape[0], shape[1], shape[2]


def _classes(entries: Any) -> dict[str, int]:
    for entry in class_entries(entries):
        if not isinstance(entry, dict) or set(entry) != {"name", "label"}:
            raise ValueError(f"a class must be an object of name and label, got {brief(entry)}")
        name, label = entry["name"], entry["label"]
        if not isinstance(name, str) or not is_label(label):
            raise ValueError(f"class {brief(name)} with label {brief(label)}")
    labels = {entry["name"]: entry["label"] for entry in entries}
    if len(labels) < len(entries) or len(set(labels.values())) < len(entries):
        raise ValueError("each class needs a name and a label of its own")
    return labels
