"""Pictures of a bank's latent spaces: traversals, planes, and training images beside generated ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from PIL import Image
from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.data.loading import FitData
from vae_augment.exploring.latent_space import (
    STEPS,
    active_directions,
    copies,
    decoded,
    manifold,
    plane,
    principal_directions,
    traversal,
)
from vae_augment.images.nearest import Nearest
from vae_augment.images.tensors import to_uint8
from vae_augment.images.tiles import TILE, Block, drawable, font, png, side_by_side

DIRECTIONS = ("axes", "principal")
ROWS = 8  # directions of each kind
LEAST_TILE, LARGEST_TILE = 24, 64  # pixels
SIDES = range(5, 13, 2)  # images along a side of a plane
PLANES = 5  # in a row
PIXELS = 1_200_000  # of a grey picture, half as many in colour: about a megabyte as a file
GENERATED = NEIGHBOURS = 3


def traversals_png(bank: VAEBank, row: int, directions: Sequence[str] = DIRECTIONS) -> bytes:
    """Decoded images along a class's most active axes and leading principal directions, as a PNG file's content.

    Args:
        bank: a fitted bank.
        row: the class.
        directions: some of `DIRECTIONS`.
    """
    heads, blocks = [f"{step:+g}".replace("-", "\N{MINUS SIGN}") if step else "mean" for step in STEPS], []
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
        images = to_uint8(decoded(bank, row, traversal(bank, row, found)))
        blocks.append(Block(title, images.unbind(0), labels, heads))
    name = drawable(bank.classes[row], font())
    return _png(
        bank, side_by_side(blocks, _tile_of(bank), title=f"{name}, in standard deviations from the mean of its codes")
    )


def manifold_png(bank: VAEBank, rows: Sequence[int]) -> bytes:
    """The decoded manifold of each class of a bank of two latent dimensions, as a PNG file's content."""
    title = "the prior's quantiles along both latent dimensions, z0 to the right and z1 upward"
    return _planes(bank, rows, manifold, title)


def plane_png(bank: VAEBank, rows: Sequence[int]) -> bytes:
    """Each class in the plane of its two leading principal directions, decoded, as a PNG file's content."""
    title = "around the mean of each class's codes, PC1 to the right and PC2 upward"
    return _planes(bank, rows, plane, title)


def _planes(bank: VAEBank, rows: Sequence[int], latents: Callable[[VAEBank, int, int], Tensor], title: str) -> bytes:
    """A square of decoded images for each class; the more classes, the fewer and the smaller the images."""
    letters, tile = font(), max(TILE, *bank.image_shape[1:])
    pixels = math.isqrt(_pixels(bank) // len(rows))  # along a side of each
    side = max(
        (side for side in SIDES if side * max(LEAST_TILE, min(TILE, *bank.image_shape[1:])) <= pixels), default=SIDES[0]
    )
    grids = [_mosaic(decoded(bank, row, latents(bank, row, side))) for row in rows]
    names = [drawable(bank.classes[row], letters) for row in rows]
    lines = range(0, len(grids), PLANES)
    images = [grids[line : line + PLANES] for line in lines]
    block = Block(title, images, captions=[names[line : line + PLANES] for line in lines])
    return _png(bank, side_by_side([block], max(min(pixels, side * tile), side * LEAST_TILE)))


def _pixels(bank: VAEBank) -> int:
    """Pixels of a picture of at most about a megabyte."""
    return PIXELS if bank.image_shape[0] == 1 else PIXELS // 2


def _mosaic(images: Tensor) -> Tensor:
    """Images [R, S, C, H, W] as one image, uint8 [C, R*H, S*W]."""
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
        usual = usual if math.isfinite(found.real_in_pixels) else ("usual: not known", "")
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
    room = math.isqrt(_pixels(bank) // sum(sum(map(len, block.images)) for block in blocks))
    return _png(bank, side_by_side(blocks, max(TILE, min(_tile_of(bank), room)), title=title))


def _neighbours(data: FitData, found: list[Nearest], title: str, digits: int) -> Block:
    images = [data.images[items] for some in found for items in some.items]
    captions = [[f"{d:.{digits}f}" for d in line] for some in found for line in some.distances.tolist()]
    return Block(title, images, captions=captions)


def _tile_of(bank: VAEBank) -> int:
    return min(LARGEST_TILE, max(TILE, *bank.image_shape[1:]))


def _png(bank: VAEBank, sheet: Image.Image) -> bytes:
    """A PNG file's content; grey images in grey, which takes half the bytes."""
    return png(sheet.convert("L") if bank.image_shape[0] == 1 else sheet)
