"""The decoders of a bank's classes for a page, where decoder.js uses them.

Weights are kept as in the bank, in base64 of little-endian bytes: int8 differences from a shared start, or float16
where there is none (see `vae_augment.bank.packed_weights`).
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.bank.packed_weights import Stored, sizes
from vae_augment.model.components import raising
from vae_augment.model.conv_vae import ConvVAE

PREFIX = "decoder."


def decoder_script() -> str:
    """The source of decoder.js, which defines the class `VAEDecoder`."""
    return Path(__file__).with_name("decoder.js").read_text(encoding="utf-8")


def decoder_payload(bank: VAEBank, rows: Sequence[int]) -> dict[str, Any]:
    """The argument of `new VAEDecoder(...)` of decoder.js, to be written as JSON.

    The decoder's `decode(i, z)` is `bank.decode` of z for the class `rows[i]`, to 1e-4.

    Example:
        >>> payload = decoder_payload(bank, range(len(bank.classes)))
        >>> page = f"<script>{decoder_script()} const vae = new VAEDecoder({json.dumps(payload)});</script>"

    Args:
        bank: a fitted bank.
        rows: positions of classes in `bank.classes`, in the page's order.

    Returns:
        "image_shape" [C, H, W], "latent_dim" L, "width", "patch", "stages", "grid" [h, w] and "padding" [left, right,
        top, bottom] of the `VAE`. "raising" where it has components: float32 [H, h] and [W, w], which make images of
        reduced ones. "tensors": name and size of each of a class's T tensors, in the order of its numbers; those of
        components, which are only in "bases" if there are any, come last. "classes": for each row "values", int8, with
        "steps", float32 [T], and "base", the place of its start in "bases", which are float16; or "values" alone,
        float16.

    Raises:
        ValueError: the bank has no such row, or networks of its own.
    """
    vae, stored = _checked(bank, rows), bank.content.weights
    parts = _parts(vae)
    bases = sorted(set(stored.base[list(rows)].tolist())) if stored.tuned else []
    return {
        "image_shape": list(vae.image_shape),
        "latent_dim": vae.latent_dim,
        "width": vae.width,
        "patch": vae.patch,
        "stages": vae.stages,
        "grid": list(vae.grid),
        "padding": list(vae.padding),
        "raising": _raising(vae),
        "tensors": [[name.removeprefix(PREFIX), part.stop - part.start] for name, part in parts.items()],
        "bases": [_numbers(stored.bases[base], parts) for base in bases],
        "classes": [_class(stored, row, parts, bases) for row in rows],
    }


def payload_bytes(bank: VAEBank, rows: Sequence[int]) -> int:
    """An upper bound of the bytes of `decoder_payload(bank, rows)` as JSON, without making it.

    Args:
        bank: a fitted bank.
        rows: positions of classes in `bank.classes`.

    Raises:
        ValueError: the bank has no such row, or networks of its own.
    """
    stored, parts = bank.content.weights, _parts(_checked(bank, rows))
    numbers = sum(part.stop - part.start for part in parts.values())
    one: dict[str, Any] = {"values": ""}
    own = _own(stored, parts)
    each = _base64_length(sum(part.stop - part.start for part in own.values()) * stored.values.element_size())
    shared = 0
    if stored.tuned:
        one |= {"steps": "", "base": len(stored.bases)}
        each += _base64_length(4 * len(own))
        used = len(stored.base[list(rows)].unique())
        shared = used * (_base64_length(2 * numbers) + len('"", '))
    return len(json.dumps(decoder_payload(bank, []))) + shared + len(rows) * (each + len(json.dumps(one)) + len(", "))


def _checked(bank: VAEBank, rows: Sequence[int]) -> ConvVAE:
    """The bank's VAE, if the page's script knows it and the rows are the bank's."""
    unknown = [row for row in rows if not 0 <= row < len(bank.classes)]
    if unknown:
        raise ValueError(f"rows must be positions among the bank's {len(bank.classes)} classes, got {unknown[0]}.")
    if not isinstance(bank.vae, ConvVAE):
        raise ValueError("the page's script decodes this library's own VAE, got a bank of other networks.")
    return bank.vae


def _parts(vae: ConvVAE) -> dict[str, slice]:
    """The place of each tensor of the decoder among a class's numbers."""
    ends = pairwise(accumulate(sizes(vae), initial=0))
    return {name: slice(*part) for name, part in zip(vae.shapes, ends, strict=True) if name.startswith(PREFIX)}


def _raising(vae: ConvVAE) -> list[str]:
    """Weights of the interpolation of components along both sides, if there are any."""
    sides = zip(vae.image_shape[1:], vae.reduced, strict=True) if vae.components else ()
    return [_base64(raising(side, reduced, torch.device("cpu"))) for side, reduced in sides]


def _own(stored: Stored, parts: dict[str, slice]) -> dict[str, slice]:
    """The parts that each class has for itself."""
    return {name: part for name, part in parts.items() if not (stored.tuned and name in stored.vae.fixed)}


def _class(stored: Stored, row: int, parts: dict[str, slice], bases: list[int]) -> dict[str, Any]:
    own = _own(stored, parts)
    values = _numbers(stored.values[row], own)
    if not stored.tuned:
        return {"values": values}
    steps = stored.steps[row, [place for place, name in enumerate(stored.vae.shapes) if name in own]]
    return {"values": values, "steps": _base64(steps), "base": bases.index(int(stored.base[row]))}


def _numbers(flat: Tensor, parts: dict[str, slice]) -> str:
    """The decoder's part of a class's numbers [P], in base64."""
    return _base64(torch.cat([flat[part] for part in parts.values()]))


def _base64(numbers: Tensor) -> str:
    array = numbers.numpy()
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()


def _base64_length(count: int) -> int:
    """Characters of `count` bytes in base64."""
    return 4 * math.ceil(count / 3)
