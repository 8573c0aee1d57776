"""Pictures of what a bank's latent spaces hold: traversals, planes, and training images beside generated ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.exploring import (
    STEPS,
    Directions,
    active_directions,
    copies,
    decoded,
    manifold,
    plane,
    principal_directions,
    traversal,
)
from vae_augment.fit_data import FitData
from vae_augment.images import to_uint8
from vae_augment.nearest import Nearest
from vae_augment.report.tiles import TILE, Block, drawable, font, png, side_by_side

DIRECTIONS = ("axes", "principal")
ROWS = 8  # directions of a kind
LARGEST_TILE = 64  # pixels
SIDE = 11  # images along a side of a plane
PLANES = 5  # in a row
PIXELS = 1_200_000  # of all planes of grey images; of colours half of it
GENERATED = NEIGHBOURS = 3


def traversals_png(bank: VAEBank, row: int, directions: Sequence[str] = DIRECTIONS) -> bytes:
    """What a class's VAE decodes along its most active axes and leading principal directions, as a PNG file's content.

    Args:
        bank: a fitted bank.
        row: the class.
        directions: "axes", "principal" or both.
    """
    blocks = []
    for kind in directions:
        if kind == "axes":
            found = active_directions(bank, row, ROWS)
            title = "most active axes: variance of codes"
            values = [f"{variance:.2f}" for variance in found.variances.tolist()]
        else:
            found = principal_directions(bank, row, ROWS)
            title = "principal directions: share of variance"
            values = [f"{share:.0%}" for share in found.shares.tolist()]
        labels = [f"{name}   {value}" for name, value in zip(found.names, values, strict=True)]
        blocks.append(_traversal(bank, row, found, title, labels))
    name = drawable(bank.classes[row], font())
    return png(side_by_side(blocks, _tile_of(bank), title=f"{name}, in standard deviations from the mean of its codes"))


def _traversal(bank: VAEBank, row: int, found: Directions, title: str, labels: list[str]) -> Block:
    heads = [f"{step:+g}".replace("-", "\N{MINUS SIGN}") if step else "mean" for step in STEPS]
    images = to_uint8(decoded(bank, row, traversal(bank, row, found)))
    return Block(title, images.unbind(0), labels, heads)


def planes_png(bank: VAEBank, rows: Sequence[int]) -> bytes:
    """The manifold of each class if the bank has two latent dimensions, else a plane through it, as a PNG's content."""
    latents = manifold if bank.latent_dim == 2 else plane
    what = (
        "the prior's quantiles along both latent dimensions, decoded by each class's VAE"
        if bank.latent_dim == 2
        else "each class in the plane of its two leading principal directions, around its mean; PC1 runs to the right"
    )
    grids = [_mosaic(decoded(bank, row, latents(bank, row, SIDE))) for row in rows]
    letters = font()
    names = [drawable(bank.classes[row], letters) for row in rows]
    lines = range(0, len(rows), PLANES)
    images = [grids[line : line + PLANES] for line in lines]
    block = Block(what, images, captions=[names[line : line + PLANES] for line in lines])
    return png(side_by_side([block], _side_of_planes(bank, len(rows))))


def _side_of_planes(bank: VAEBank, count: int) -> int:
    """Pixels of a side of each plane: as many as keep the file below a megabyte, and no more than the images have."""
    pixels = PIXELS if bank.image_shape[0] == 1 else PIXELS // 2
    return min(SIDE * max(TILE, *bank.image_shape[1:]), math.isqrt(pixels // count))


def _mosaic(images: Tensor) -> Tensor:
    """Images [R, S, C, H, W] as one: uint8 [C, R*H, S*W]."""
    return to_uint8(images).permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)


def nearest_png(bank: VAEBank, data: FitData, rows: Sequence[int], *, seed: int = 0) -> bytes:
    """Generated images of each class beside the training images nearest to them, as a PNG file's content."""
    letters = font()
    labels: list[str] = []
    made: list[Tensor] = []
    nearest: tuple[list[Nearest], list[Nearest]] = [], []
    for row in rows:
        found = copies(bank, data, row, images=GENERATED, neighbours=NEIGHBOURS, seed=seed)
        usual = f"usual: {found.real_in_pixels:.3f} in pixels", f"usual: {found.real_in_latents:.2f} in codes"
        labels += [drawable(bank.classes[row], letters), *usual][:GENERATED]
        made += found.images[:, None].unbind(0)
        nearest[0].append(found.in_pixels)
        nearest[1].append(found.in_latents)
    titles = "nearest in pixels", "nearest in codes"
    blocks = [Block("generated", made, labels)]
    blocks += [
        _neighbours(data, some, title, digits) for some, title, digits in zip(nearest, titles, (3, 2), strict=True)
    ]
    title = "Distances are root mean squares; usual is a training image's median distance to its nearest other one."
    return png(side_by_side(blocks, _tile_of(bank), title=title))


def _neighbours(data: FitData, found: list[Nearest], title: str, digits: int) -> Block:
    images = [data.images[items] for some in found for items in some.items]
    captions = [[f"{d:.{digits}f}" for d in line] for some in found for line in some.distances.tolist()]
    return Block(title, images, captions=captions)


def _tile_of(bank: VAEBank) -> int:
    return min(LARGEST_TILE, max(TILE, *bank.image_shape[1:]))
