"""The map of a page: where the codes of images lie, and their images."""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.data.loading import FitData
from vae_augment.exploring.maps import latent_maps
from vae_augment.printable import shortened
from vae_augment.report.embedded import data_uri, shrunk, tiled

WIDTH, HEIGHT, MARGIN = 1000, 700, 25  # of the map, in its own units
SPRITE_COLUMNS = 40
LARGEST_THUMBNAIL = 48  # pixels
HEAP = 0.5  # of the points' nearest neighbours are of their class: fewer, and a layout is a heap


class Map(NamedTuple):
    """A map.

    Args:
        points: x, y and class of each code in the first layout: PCA, or t-SNE where PCA is a heap and t-SNE is not.
        shared: True: all codes lie in one latent space, that of the warm start.
        script: data for the page's script, with the other layout.
    """

    points: list[tuple[float, float, int]]
    shared: bool
    script: dict[str, Any]


def page_map(bank: VAEBank, data: FitData | None, decodable: int, seed: int) -> Map:
    """A map of up to 1,500 codes.

    Args:
        bank: a fitted bank.
        data: the images of the points, placed by the VAE of the warm start, if there is one. None: the points are the
            codes that the bank keeps.
        decodable: number of classes, from the first, that the page can decode.
        seed: of the choice of images and of t-SNE.

    Raises:
        ValueError: there is no data, and the bank keeps no codes.
    """
    codes, shared, points = latent_maps(bank, data, seed=seed)
    layouts = {method: _placed(found) for method, found in points.items()}
    first = "tsne" if _agreement(points["pca"], codes.rows) < HEAP < _agreement(points["tsne"], codes.rows) else "pca"
    images = None if data is None or codes.items is None else data.images[codes.items]
    rows: list[int] = codes.rows.tolist()
    script = {
        "rows": rows,
        "names": [shortened(name) for name in bank.classes],
        "layout": first,
        "layouts": {method: layout for method, layout in layouts.items() if method != first},
        "codes": base64_floats(codes.latents),
        "decoded": decodable,
        "sprite": None if images is None else _sprite(images),
    }
    return Map([(x, y, row) for (x, y), row in zip(layouts[first], rows, strict=True)], shared, script)


def _agreement(points: Tensor, rows: Tensor) -> float:
    """Share of points [N, 2] whose nearest neighbour is of their class."""
    apart = torch.cdist(points, points).fill_diagonal_(torch.inf)
    return (rows[apart.argmin(1)] == rows).float().mean().item()


def base64_floats(numbers: Tensor) -> str:
    """Numbers as float32, little-endian, in base64."""
    return base64.b64encode(numbers.float().contiguous().numpy().astype("<f4").tobytes()).decode()


def _placed(points: Tensor) -> list[tuple[float, float]]:
    """Points [N, 2] inside the map, with one scale for both directions."""
    low, high = points.amin(0), points.amax(0)
    sides = points.new_tensor([WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN])
    scale = (sides / (high - low).clamp_min(1e-9)).min()
    centred = (points - (low + high) / 2) * scale + points.new_tensor([WIDTH / 2, HEIGHT / 2])
    return [(round(x, 1), round(y, 1)) for x, y in centred.tolist()]


def _sprite(images: Tensor) -> dict[str, Any]:
    """All thumbnails as one image."""
    small = shrunk(images, LARGEST_THUMBNAIL)
    sheet = tiled(small, SPRITE_COLUMNS, gap=0)
    flat = sheet.convert("L" if sheet.mode == "LA" else "RGB")
    return {"uri": data_uri(flat, lossless=False), "columns": SPRITE_COLUMNS, "tile": [small.shape[3], small.shape[2]]}
