"""Latents of a dataset's images in one file, safetensors or Parquet (docs/file_format.md).

A file is untrusted input: sizes are checked against its metadata before a tensor is read.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vae_augment.bank.tensor_file import require_finite, serialized
from vae_augment.data.readers.arrow_untrusted import pyarrow
from vae_augment.exporting import latents_parquet
from vae_augment.exporting.item_names import check_item_names
from vae_augment.exporting.latents_metadata import ENDINGS, LATENTS, SHA256, DeclaredLatents
from vae_augment.exporting.quantized import Quantized, quantized, restored
from vae_augment.files.class_names import check_names
from vae_augment.files.untrusted_json import brief
from vae_augment.files.writing import atomic_write


@dataclass(frozen=True, eq=False)
class Latents:
    """Latent codes of N images, made by `codec.encode_dataset` or `Latents.load`.

    Example:
        >>> latents = encode_dataset(bank, source_for(bank, dataset))
        >>> latents.save("latents.safetensors", dtype="int8")
        >>> Latents.load("latents.safetensors").mean.shape  # [N, L]

    Args:
        mean: posterior means, float32 [N, L].
        logvar: log-variances of the posteriors, float32 [N, L]; None: not kept.
        labels: int64 [N], as the bank numbers them.
        names: the items' names: those of their files, or numbers.
        class_to_idx: the label of each class of the bank, by name, in the bank's order.
        image_shape: (C, H, W) of the bank.
        bank_sha256: `VAEBank.sha256` of the bank.

    Raises:
        ValueError: they do not fit together, or a number is not finite.
    """

    mean: Tensor
    logvar: Tensor | None
    labels: Tensor
    names: tuple[str, ...]
    class_to_idx: dict[str, int]
    image_shape: tuple[int, int, int]
    bank_sha256: str

    def __post_init__(self) -> None:
        if self.mean.ndim != 2 or 0 in self.mean.shape or self.mean.dtype != torch.float32:
            raise ValueError(f"mean must be float32 [N, L], got {self.mean.dtype} {list(self.mean.shape)}")
        if self.logvar is not None and (self.logvar.shape, self.logvar.dtype) != (self.mean.shape, torch.float32):
            raise ValueError(f"logvar must be as mean, got {self.logvar.dtype} {list(self.logvar.shape)}")
        if (list(self.labels.shape), self.labels.dtype, len(self.names)) != ([len(self)], torch.int64, len(self)):
            raise ValueError(f"there must be {len(self)} labels (int64) and names, one per image")
        for name, tensor in (("mean", self.mean), ("logvar", self.logvar)):
            if tensor is not None:
                require_finite(name, tensor, "latents")
        _rows(self.labels, self.class_to_idx)
        if not SHA256.fullmatch(self.bank_sha256):
            raise ValueError(f"bank_sha256 must be 64 hexadecimal digits, got {brief(self.bank_sha256)}")
        check_item_names(self.names)

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def counts(self) -> dict[str, int]:
        """The number of images of each class, by name."""
        found = Counter(self.labels.tolist())
        return {name: found[label] for name, label in self.class_to_idx.items()}

    def save(self, path: str | Path, *, dtype: str = "float32") -> None:
        """Write one file, atomically; the same latents give the same bytes.

        Args:
            path: ends in .safetensors, or in .parquet, which needs pyarrow.
            dtype: "float32", "float16", or "int8" with a step and an offset for each class and dimension (see
                `quantized`).

        Raises:
            ValueError: another ending or dtype, codes too large for the dtype, or pyarrow is not installed.
        """
        path = Path(path)
        check_ending(path)
        check_names(self.class_to_idx)
        rows = _rows(self.labels, self.class_to_idx)
        tensors = {"labels": self.labels}
        for name, codes in (("mean", self.mean), ("logvar", self.logvar)):
            if codes is not None:
                kept = quantized(codes, rows, len(self.class_to_idx), dtype)
                tensors[name] = kept.values
                if kept.step is not None and kept.offset is not None:
                    tensors |= {f"{name}.step": kept.step, f"{name}.offset": kept.offset}
        names = b"".join(name.encode() + b"\0" for name in self.names)
        classes = [{"name": name, "label": label} for name, label in self.class_to_idx.items()]
        size = self.mean.shape[1], self.logvar is not None, len(names), list(self.image_shape)
        declared = DeclaredLatents(dtype, len(self), *size, classes, self.bank_sha256)
        if path.suffix.lower() == ".parquet":
            content = latents_parquet.serialize(declared, tensors, self.names, path)
        else:
            tensors["names"] = torch.frombuffer(bytearray(names), dtype=torch.uint8)
            content = serialized(tensors, declared.to_dict())
        atomic_write(path, content)

    @classmethod
    def load(cls, path: str | Path) -> Latents:
        """Read a file that `save` wrote; codes come back in single precision.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no latent file, is damaged or too new; or pyarrow, which .parquet needs, is not installed.
        """
        path = Path(path)
        read = latents_parquet.read if path.suffix.lower() == ".parquet" else _read_tensors
        declared, tensors, names = read(path)
        try:
            labels, known = tensors["labels"], declared.class_to_idx
            rows, codes = _rows(labels, known), dict[str, Tensor]()
            for name in declared.scales:
                require_finite(name, tensors[name], "latents")
            for name in declared.codes:
                kept = Quantized(tensors[name], tensors.get(f"{name}.step"), tensors.get(f"{name}.offset"))
                codes[name] = restored(kept, rows)
            channels, height, width = declared.image_shape
            shape, sha256 = (channels, height, width), declared.bank_sha256
            return cls(codes["mean"], codes.get("logvar"), labels, tuple(names), known, shape, sha256)
        except ValueError as error:
            raise LATENTS.damaged(path, error) from None


def check_ending(path: Path, option: str = "path") -> None:
    """Raise ValueError unless a path ends as a latent file does, and what its format needs is installed."""
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"{option} must end in {' or '.join(ENDINGS)}, got {path.name!r}.")
    if path.suffix.lower() == ".parquet":
        pyarrow(path)


def _rows(labels: Tensor, class_to_idx: dict[str, int]) -> Tensor:
    """The class of each of N images as a position, int64 [N]. Raises ValueError for a label of no class."""
    row_of = {label: row for row, label in enumerate(class_to_idx.values())}
    try:
        return torch.tensor([row_of[label] for label in labels.tolist()], dtype=torch.long)
    except KeyError as error:
        raise ValueError(f"labels must be among the classes' {brief(sorted(row_of))}, got {error}") from None


def _read_tensors(path: Path) -> tuple[DeclaredLatents, dict[str, Tensor], list[str]]:
    with LATENTS.opened(path) as (file, text):
        declared = LATENTS.declared(path, text, DeclaredLatents.of)
        LATENTS.check_tensors(path, file, declared.tensors())
        tensors = {name: file.get_tensor(name) for name in declared.tensors()}
    held = tensors.pop("names").numpy().tobytes()
    if held.count(b"\0") != declared.images or not held.endswith(b"\0"):
        raise LATENTS.damaged(path, f"names must be {declared.images:,} texts with a NUL behind each")
    try:
        return declared, tensors, held[:-1].decode().split("\0")
    except UnicodeDecodeError as error:
        raise LATENTS.damaged(path, f"names must be UTF-8: {error}") from None
