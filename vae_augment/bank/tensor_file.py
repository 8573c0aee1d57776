"""Files of tensors with JSON metadata, of unknown origin: both are checked before a tensor is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vae_augment.files.untrusted_json import MAX_BYTES, brief, check_keys, parse

METADATA_KEY = "vae_augment"
CHECKED_AT_ONCE = 2**16  # numbers; each forked worker would own a copy of the heap that a larger temporary leaves

D = TypeVar("D")


@dataclass(frozen=True)
class Kind:
    """A kind of file, such as "bank".

    Args:
        format: name of the format, in the metadata.
        version: of the format, in the metadata.
        name: of the kind, in messages.
        ending: of file names.
        maker: the command that writes such files.
        again: advice for a damaged file.
    """

    format: str
    version: int
    name: str
    ending: str
    maker: str
    again: str

    def damaged(self, path: Path, reason: object, what: str = "is damaged") -> ValueError:
        return ValueError(f"{path} {what}: {str(reason).rstrip('.')}. Copy the file again, or {self.again}.")

    def check_regular(self, path: Path) -> None:
        """Raise FileNotFoundError or ValueError unless it is a regular file: a device or a pipe might never end."""
        if not path.exists():
            raise FileNotFoundError(f"no {self.name} at {path}. `{self.maker}` makes one.")
        if not path.is_file():
            what = "a folder" if path.is_dir() else "not a regular file"
            raise ValueError(
                f"no {self.name} at {path}: it is {what}. Name the {self.ending} file that `{self.maker}` wrote."
            )

    def check_header(self, path: Path) -> None:
        """Raise if it is not a regular file, or its header is too large or has a key twice."""
        self.check_regular(path)
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > MAX_BYTES:
                raise ValueError(
                    f"{path} is not a {self.name}, or is cut off: its header must have at most {MAX_BYTES:,} bytes, "
                    f"got {size:,}."
                )
            header = file.read(size)
        try:
            check_keys(header.decode())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not a {self.name}, or is cut off: its header is damaged ({error}).") from None

    def declared(self, path: Path, text: str, of: Callable[[dict[str, Any]], D], container: str = "safetensors") -> D:
        """The dataclass that `of` makes of the JSON object that a file carries.

        Raises ValueError if the text is no JSON, or of another kind or version, or if `of` refuses an entry.
        """
        metadata: Any = None
        try:
            metadata = parse(text)
        except (ValueError, RecursionError) as error:
            if type(error) is ValueError and self.format in text:  # JSON beyond the bounds, of this kind
                raise self.damaged(path, error, "has damaged metadata") from None
        if not isinstance(metadata, dict) or metadata.get("format") != self.format:
            raise ValueError(f"{path} is a {container} file but not a {self.name}: `{self.maker}` makes {self.name}s.")
        version = metadata.get("version")
        if type(version) is not int or version != self.version:
            older = type(version) is int and version < self.version
            advice = f"{self.again.capitalize()}." if older else "Upgrade vae-augment to read it."
            got = f"{path} has {self.name} format {brief(version)}, this vae-augment reads {self.version}."
            raise ValueError(f"{got} {advice}")
        try:
            return of(metadata)
        except KeyError as error:
            raise self.damaged(path, f"it lacks {brief(error.args[0])}", "has damaged metadata") from None
        except (TypeError, ValueError) as error:
            raise self.damaged(path, error, "has damaged metadata") from None

    @contextmanager
    def opened(self, path: Path) -> Iterator[tuple[Any, str]]:
        """A safetensors file whose header is checked, and the JSON text that it carries."""
        self.check_header(path)
        try:
            with safe_open(path, framework="pt") as file:
                yield file, (file.metadata() or {}).get(METADATA_KEY, "")
        except SafetensorError as error:
            raise ValueError(f"{path} is not a {self.name}, or is cut off: {error}.") from None

    def check_tensors(self, path: Path, file: Any, expected: dict[str, tuple[str, list[int]]]) -> None:
        """Raise ValueError unless an open file has the tensors of these types and shapes, and no others."""
        odd = sorted(set(file.keys()) ^ set(expected))
        if odd:
            what = "lacks" if odd[0] in expected else "has an unknown"
            raise self.damaged(path, f"it {what} tensor {brief(odd[0])}")
        for name, (dtype, shape) in expected.items():
            part = file.get_slice(name)
            if part.get_shape() != shape or part.get_dtype() != dtype:
                got = f"{part.get_dtype()} {part.get_shape()}"
                raise self.damaged(path, f"tensor {name!r} must be {dtype} {shape}, got {got}")


def require_finite(name: str, tensor: Tensor, of: str) -> None:
    """Raise ValueError if a number in a tensor is not finite."""
    parts = tensor.flatten().split(CHECKED_AT_ONCE) if tensor.is_floating_point() else ()
    if not all(bool(torch.isfinite(part).all()) for part in parts):
        raise ValueError(f"tensor {name!r} of the {of} holds a number that is not finite.")


def serialized(tensors: Mapping[str, Tensor], metadata: object) -> bytes:
    """The bytes of a safetensors file that carries a JSON object."""
    return bytes(save({name: t.contiguous() for name, t in tensors.items()}, {METADATA_KEY: json_text(metadata)}))


def json_text(value: Any) -> str:
    """A value as JSON for a file's metadata."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
