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
from vae_augment.files.untrusted_json import brief, from_dict

ENDINGS = (".safetensors", ".parquet")
LATENTS = Kind(
    "vae-augment-latents", 1, "latent file", " or ".join(ENDINGS), "vae-augment encode", "encode the images again"
)
TYPES = {"float32": "F32", "float16": "F16", "int8": "I8"}  # as safetensors names them
SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_NAME_BYTES = 4 * MOST_CHARACTERS + 1  # of a name in UTF-8, with a NUL behind


@dataclass(frozen=True)
class DeclaredLatents:
    """Entries of a file's metadata, checked as far as they can be without the tensors.

    Args:
        dtype: type of the codes, one of `DTYPES`.
        images: N.
        latent_dim: L.
        logvar: True: there are log-variances.
        name_bytes: bytes of all names in UTF-8, with a NUL behind each.
        image_shape: [C, H, W] of the bank.
        classes: "name" and "label" of each class of the bank, in the bank's order.
        bank_sha256: of the bank's file, in hexadecimal.
    """

    dtype: str
    images: int
    latent_dim: int
    logvar: bool
    name_bytes: int
    image_shape: list[int]
    classes: list[dict[str, Any]]
    bank_sha256: str

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> DeclaredLatents:
        """The entries of a JSON object. Raises ValueError for what a latent file cannot hold."""
        entries = {name: value for name, value in metadata.items() if name not in ("format", "version")}
        found = from_dict(cls, entries, "the metadata")
        if found.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {brief(found.dtype)}")
        if not SHA256.fullmatch(found.bank_sha256):
            raise ValueError(f"bank_sha256 must be 64 hexadecimal digits, got {brief(found.bank_sha256)}")
        names = 2 * found.images, MOST_NAME_BYTES * found.images
        limits = {"images": (1, MOST_ITEMS), "latent_dim": (1, MAX_LATENT_DIM), "name_bytes": names}
        for name, (least, most) in limits.items():
            if not least <= entries[name] <= most:
                raise ValueError(
                    f"{name} must be a whole number from {least:,} to {most:,}, got {brief(entries[name])}"
                )
        shape = found.image_shape
        whole = len(shape) == 3 and all(type(n) is int for n in shape)
        if not whole or not 1 <= shape[0] <= MAX_CHANNELS or not all(MIN_SIDE <= n <= MAX_SIDE for n in shape[1:]):
            raise ValueError(f"image_shape {brief(shape)} is out of range")
        _check_classes(found.classes)
        return found

    def to_dict(self) -> dict[str, Any]:
        """The entries as the file's metadata has them."""
        return {"format": LATENTS.format, "version": LATENTS.version, **vars(self)}

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The label of each class, by name."""
        return {entry["name"]: entry["label"] for entry in self.classes}

    @property
    def codes(self) -> tuple[str, ...]:
        """Names of the tensors of codes, a row per image."""
        return ("mean", "logvar") if self.logvar else ("mean",)

    @property
    def scales(self) -> tuple[str, ...]:
        """Names of the tensors of scales, a row per class."""
        return tuple(f"{name}.{of}" for name in self.codes for of in ("step", "offset") if self.dtype == "int8")

    def tensors(self) -> dict[str, tuple[str, list[int]]]:
        """The type and shape of each tensor that a safetensors file must hold."""
        per_image = {name: (TYPES[self.dtype], [self.images, self.latent_dim]) for name in self.codes}
        per_class = {name: ("F32", [len(self.classes), self.latent_dim]) for name in self.scales}
        return {**per_image, **per_class, "labels": ("I64", [self.images]), "names": ("U8", [self.name_bytes])}


def _check_classes(entries: list[dict[str, Any]]) -> None:
    for entry in class_entries(entries):
        if not isinstance(entry, dict) or set(entry) != {"name", "label"}:
            raise ValueError(f"a class must be an object of name and label, got {brief(entry)}")
        name, label = entry["name"], entry["label"]
        if not isinstance(name, str) or not is_label(label):
            raise ValueError(f"class {brief(name)} with label {brief(label)}")
    if any(len({entry[part] for entry in entries}) < len(entries) for part in ("name", "label")):
        raise ValueError("each class needs a name and a label of its own")
