"""Files of tensors of unknown origin, with JSON that says what they hold: what is looked at before any is read."""

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
CHECKED_AT_ONCE = 2**16  # numbers

D = TypeVar("D")


@dataclass(frozen=True)
class Kind:
    """What a file should be.

    Args:
        format: what its metadata says it is.
        version: likewise, of the format.
        name: "bank", in messages.
        ending: of its file's name.
        maker: the command that writes such files.
        again: what to do where one is damaged.
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
        """Raise FileNotFoundError or ValueError for what is no file: a device or a pipe might never end."""
        if not path.exists():
            raise FileNotFoundError(f"no {self.name} at {path}. `{self.maker}` makes one.")
        if not path.is_file():
            what = "a folder" if path.is_dir() else "not a regular file"
            raise ValueError(
                f"no {self.name} at {path}: it is {what}. Name the {self.ending} file that `{self.maker}` wrote."
            )

    def check_header(self, path: Path) -> None:
        """Raise for what is not a file, or has a header larger than any such file's or that may be read in two ways."""
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
        except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError too
            raise ValueError(f"{path} is not a {self.name}, or is cut off: its header is damaged ({error}).") from None

    def metadata(self, path: Path, text: str, container: str = "safetensors") -> dict[str, Any]:
        """The JSON object that a file carries. Raises ValueError for another kind, another version, and no JSON."""
        try:
            metadata = parse(text)
            is_such = metadata["format"] == self.format
        except (KeyError, TypeError, json.JSONDecodeError, RecursionError):
            is_such = False
        except ValueError as error:
            if self.format in text:
                raise self.damaged(path, error, "has damaged metadata") from None
            is_such = False
        if not is_such:
            raise ValueError(f"{path} is a {container} file but not a {self.name}: `{self.maker}` makes {self.name}s.")
        version = metadata.get("version")
        if type(version) is not int or version != self.version:
            older = type(version) is int and version < self.version
            again = self.again[0].upper() + self.again[1:]
            advice = f"{again}." if older else "Upgrade vae-augment to read it."
            got = f"{path} has {self.name} format {brief(version)}, this vae-augment reads {self.version}."
            raise ValueError(f"{got} {advice}")
        return dict(metadata)

    def declared(self, path: Path, text: str, of: Callable[[dict[str, Any]], D], container: str = "safetensors") -> D:
        """What `of` makes of the JSON object that a file carries, by its own checks of the entries."""
        metadata = self.metadata(path, text, container)
        try:
            return of(metadata)
        except KeyError as error:
            raise self.damaged(path, f"it lacks {brief(error.args[0])}", "has damaged metadata") from None
        except (TypeError, ValueError) as error:
            raise self.damaged(path, error, "has damaged metadata") from None

    @contextmanager
    def opened(self, path: Path) -> Iterator[tuple[Any, str]]:
        """A safetensors file, whose header is looked at first, and the JSON text that it carries."""
        self.check_header(path)
        try:
            with safe_open(path, framework="pt") as file:
                yield file, (file.metadata() or {}).get(METADATA_KEY, "")
        except SafetensorError as error:
            raise ValueError(f"{path} is not a {self.name}, or is cut off: {error}.") from None

    def check_tensors(self, path: Path, file: Any, expected: dict[str, tuple[str, list[int]]]) -> None:
        """Raise ValueError unless an open file has tensors of these types and shapes, and no others."""
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
    """Raise ValueError if a number of a tensor is not finite."""
    # in parts: what a large temporary leaves behind in the heap, each forked worker would come to own a copy of
    if not tensor.is_floating_point():
        return
    if not all(bool(torch.isfinite(part).all()) for part in tensor.flatten().split(CHECKED_AT_ONCE)):
        raise ValueError(f"tensor {name!r} of the {of} holds a number that is not finite.")


def serialized(tensors: Mapping[str, Tensor], metadata: object) -> bytes:
    """The bytes of a safetensors file that carries a JSON object."""
    return bytes(save({name: t.contiguous() for name, t in tensors.items()}, {METADATA_KEY: json_text(metadata)}))


def json_text(value: Any) -> str:
    """A value as the JSON that a file's metadata holds."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
