"""Random moves of images that keep their class, for training VAEs and for augmenting."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from vae_augment.images.tensors import resize
from vae_augment.images.tones import TONES

MOVING = ("rotation", "shear", "scaling", "right", "down")  # draws that change the places of pixels, the first of all
PLACES = (*MOVING, "brightness", "contrast")  # draws of every family
MORE_PLACES = (  # further draws of families with an amount of MORE
    *("saturation", "sharpness", "solarize", "posterize", "autocontrast", "equalize"),
    *("erasing", "erased_x", "erased_y", "mirror", "upside_down", "first", "second", "third", "fourth"),
)
MORE = ("saturation", "sharpness", "solarize", "posterize", "autocontrast", "equalize", "erasing")


@dataclass(frozen=True)
class Moves:
    """A family of random moves. Each amount is drawn uniformly from -value to value.

    Args:
        rotation: degrees.
        shift: share of the sides.
        scaling: share of the size; 0.1 is 90 % to 110 %.
        shear: degrees.
        elastic: displacement of each point of a coarse grid, as a share of the sides, interpolated smoothly between
            the points (Simard et al. 2003, with a coarse grid in place of a wide blur).
        points: points of that grid along each side.
        brightness: share by which all values are scaled.
        contrast: share by which differences from the image's mean are scaled.
        saturation: share by which differences from the pixel's grey are scaled.
        sharpness: share by which differences from the smoothed image are scaled.
        solarize: share of the range, from white down, whose values are inverted.
        posterize: share of six of eight bits that are dropped.
        autocontrast: share of the way to values that reach from black to white in each channel.
        equalize: share of the way to values that are equally frequent in each channel.
        erasing: sides of a rectangle that is filled with the image's mean, as a share of the image's (Zhong et al.
            2020, "random erasing").
        mirror: left and right are exchanged in half of the images.
        upside_down: top and bottom are exchanged in half of the images.
        changes: number of amounts that move an image, up to four, drawn anew for each, none among them (Cubuk et al.
            2020, "RandAugment"); 0 for all amounts together.
        placed: those from `rotation` to `elastic` move every image, and `changes` are drawn from the others.
    """

    rotation: float = 0.0
    shift: float = 0.0
    scaling: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    points: int = 4
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    sharpness: float = 0.0
    solarize: float = 0.0
    posterize: float = 0.0
    autocontrast: float = 0.0
    equalize: float = 0.0
    erasing: float = 0.0
    mirror: bool = False
    upside_down: bool = False
    changes: int = 0
    placed: bool = False

    @cached_property
    def places(self) -> dict[str, int]:
        """Place of each named draw; those of the elastic grid follow."""
        more = self.mirror or self.upside_down or self.changes or any(getattr(self, name) for name in MORE)
        return {name: place for place, name in enumerate((*PLACES, *(MORE_PLACES if more else ())))}

    @cached_property
    def width(self) -> int:
        """Number of uniform draws for one image."""
        return len(self.places) + (2 * self.points**2 if self.elastic else 0)

    @property
    def displaces(self) -> bool:
        """True if pixels come to other places; False if values change alone."""
        amounts = (self.rotation, self.shear, self.scaling, self.shift, self.elastic, self.mirror, self.upside_down)
        return any(amounts)

    def apply(
        self, images: Tensor, uniform: Tensor, *, difference: Tensor | None = None, outside: str = "border"
    ) -> Tensor:
        """Move each image by its own draws.

        Args:
            images: float32 [B, C, H, W] in [0, 1].
            uniform: float32 [B, width] in [0, 1), on the CPU.
            difference: float32 [B, C, h, w] of any height and width, moved alike and added to the images.
            outside: fill at the edges: "border" repeats the edge, "zeros" is black.

        Returns:
            float32 [B, C, H, W] in [0, 1].
        """
        if not len(images):
            return images
        draws = (uniform * 2 - 1).to(images.device)
        if self.changes:
            draws = draws * self._chosen(draws)
        moved = self._placed(images, draws, difference, outside)
        colours = images.shape[1] - (images.shape[1] in (2, 4))  # the last of two or four channels is alpha
        coloured = self._coloured(moved[:, :colours], draws)
        return coloured if colours == images.shape[1] else torch.cat([coloured, moved[:, colours:]], dim=1)

    def _placed(self, images: Tensor, draws: Tensor, difference: Tensor | None, outside: str) -> Tensor:
        """Images with differences added and pixels in other places; those without such a draw stay as they are."""
        places = torch.cat([draws[:, : len(MOVING)], draws[:, len(self.places) :]], dim=1) != 0
        flips = [draws[:, [self.places[name]]] < 0 for name in ("mirror", "upside_down") if getattr(self, name)]
        rows = torch.cat([places, *flips], dim=1).any(1)  # bool [B]
        if self.changes and not bool(rows.all()):
            still = difference if difference is None else resize(difference, (images.shape[2], images.shape[3]))
            moved = images.clone() if still is None else (images + still).clamp_(0, 1)
            if bool(rows.any()):
                some = None if difference is None else difference[rows]
                moved[rows] = self._placed(images[rows], draws[rows], some, outside)
            return moved
        grid = self._grid(images, draws)
        moved = F.grid_sample(images, grid, padding_mode=outside, align_corners=False)
        if difference is None:
            return moved
        return moved.add_(F.grid_sample(difference, grid, padding_mode=outside, align_corners=False)).clamp_(0, 1)

    @cached_property
    def _alone(self) -> Tensor:
        """Draws of each amount: bool [A, width], the first row for none."""
        shifts = dict.fromkeys(("right", "down"), self.shift)
        amounts = {name: shifts.get(name) or getattr(self, name, 0) for name in (*PLACES, *MORE)}
        chosen = [name for name, amount in amounts.items() if amount and not (self.placed and name in MOVING)]
        moved_by = [[self.places[name]] for name in chosen]
        bends = list(range(len(self.places), self.width))
        if self.elastic and not self.placed:
            moved_by.append(bends)
        alone = torch.zeros(1 + len(moved_by), self.width, dtype=torch.bool)
        for row, places in enumerate(moved_by, start=1):
            alone[row, places] = True
        together = [self.places[name] for name in ("erased_x", "erased_y", "mirror", "upside_down")]
        alone[:, [*together, *([*range(len(MOVING)), *bends] if self.placed else [])]] = True
        return alone

    def _chosen(self, draws: Tensor) -> Tensor:
        """For each image the draws of the amounts that move it: bool [B, width]."""
        which = draws[:, self.places["first"] :][:, : self.changes]  # [B, changes]
        rows = ((which + 1) / 2 * len(self._alone)).long().clamp_(max=len(self._alone) - 1)
        return self._alone.to(draws.device)[rows].any(1)

    def _coloured(self, images: Tensor, draws: Tensor) -> Tensor:
        """Change the values of images without alpha [B, C, H, W]."""
        images = images.contiguous()  # sums in another order would round differently
        for name, change in TONES.items():
            if amount := getattr(self, name):
                share = draws[:, self.places[name], None, None, None] * amount  # [B, 1, 1, 1]
                rows = share.flatten().nonzero()[:, 0]
                if len(rows) == len(images):
                    images = change(images, share)
                elif len(rows):
                    images[rows] = change(images[rows], share[rows])
        if self.erasing:
            images = torch.where(self._erased(images, draws), images.mean((2, 3), keepdim=True), images)
        return images

    def _erased(self, images: Tensor, draws: Tensor) -> Tensor:
        """True inside of each image's erased rectangle: bool [B, 1, H, W]."""
        size, centre_x, centre_y = (
            draws[:, self.places[name], None, None, None] for name in ("erasing", "erased_x", "erased_y")
        )
        half = size.abs() * self.erasing
        y, x = (_axis(side, 0, images.device)[0] for side in images.shape[2:])  # [H, 1], [W, 1] from -1 to 1
        return ((x.T - centre_x).abs() < half) & ((y - centre_y).abs() < half)

    def _grid(self, images: Tensor, draws: Tensor) -> Tensor:
        """Origin of each pixel, [B, H, W, 2], in grid_sample's coordinates from -1 to 1."""
        height, width = images.shape[-2:]
        angle, shear = draws[:, 0] * math.radians(self.rotation), draws[:, 1] * math.radians(self.shear)
        scale, slant = 1 + draws[:, 2] * self.scaling, shear.tan()
        shift = draws[:, 3:5] * 2 * self.shift
        cos, sin, aspect = angle.cos() * scale, angle.sin() * scale, height / width
        rows = [  # a shear, then a rotation, in pixels: the coordinates are not square
            torch.stack([cos, (cos * slant - sin) * aspect, shift[:, 0]], dim=1),
            torch.stack([sin / aspect, sin * slant + cos, shift[:, 1]], dim=1),
        ]
        affine = torch.stack(rows, dim=1)  # [B, 2, 3]
        points = self.points if self.elastic else 0
        (x, bends_x), (y, bends_y) = (_axis(side, points, images.device) for side in (width, height))
        parts = [
            affine[:, :, None, :1].expand(-1, -1, height, -1),
            affine[:, :, None, 1:2] * y + affine[:, :, None, 2:],
        ]
        if self.elastic:
            coarse = draws[:, len(self.places) :].reshape(-1, 2, self.points, self.points) * 2 * self.elastic
            parts.append(bends_y @ coarse)
        left = torch.cat(parts, dim=3).flatten(1, 2)  # [B, 2*H, 2 + points], times [2 + points, W]
        right = torch.cat([x.T, torch.ones_like(x.T), bends_x.T])
        grid = left.bmm(right.expand(len(images), -1, -1)).view(-1, 2, height, width)
        for axis, name in enumerate(("mirror", "upside_down")):
            if getattr(self, name):
                grid[:, axis].mul_(torch.where(draws[:, self.places[name]] < 0, -1.0, 1.0)[:, None, None])
        return grid.permute(0, 2, 3, 1)

    def draw(self, images: Tensor, generator: torch.Generator, *, outside: str = "border") -> Tensor:
        """`apply` with draws of a CPU generator."""
        return self.apply(images, torch.rand(len(images), self.width, generator=generator), outside=outside)


@lru_cache(256)
def _axis(side: int, points: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Along one side: coordinates of the pixels [side, 1], and their cubic weights for grid points [side, points]."""
    places = (torch.arange(side, dtype=torch.float32) * 2 + 1) / side - 1
    weights = torch.empty(side, 0)
    if points:
        each = torch.eye(points)[None, None]
        weights = F.interpolate(each, size=(side, points), mode="bicubic", align_corners=True)[0, 0]
    return places[:, None].to(device), weights.to(device)


PROBED = 1_000  # images that are looked at for colour
GREY_SPREAD = 2.0  # mean difference between channels, of 255 levels, that compression makes in grey images
FEW_IMAGES = 1_000  # of a class: below it the VAE is trained on moved copies
AFFINE = Moves(rotation=15.0, shift=0.1, scaling=0.1)
COLOUR = Moves(rotation=15.0, shift=0.1, scaling=0.1, brightness=0.2, contrast=0.2)
# Handwriting and drawings slant and bend too.
ELASTIC = Moves(rotation=20.0, shift=0.1, scaling=0.2, shear=20.0, elastic=0.06, points=5)
ELASTIC_COLOUR = Moves(rotation=15.0, shift=0.1, scaling=0.1, elastic=0.04, brightness=0.2, contrast=0.2)
# Up to four of many slight changes; a change of place for every image, with up to two of its values; values alone.
SEVERAL = Moves(
    rotation=15.0,
    shift=0.2,
    scaling=0.2,
    shear=10.0,
    elastic=0.04,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    sharpness=0.4,
    solarize=0.4,
    posterize=0.7,
    autocontrast=1.0,
    equalize=1.0,
    changes=4,
)
COMBINED = replace(SEVERAL, rotation=20.0, shift=0.15, changes=2, placed=True)
VALUES = replace(SEVERAL, rotation=0.0, shift=0.0, scaling=0.0, shear=0.0, elastic=0.0)
GENTLE = Moves(rotation=5.0, shift=0.05, scaling=0.05, brightness=0.1, contrast=0.1)
_PLAIN = {
    "gentle": GENTLE,
    "affine": AFFINE,
    "colour": COLOUR,
    "elastic": ELASTIC,
    "elastic-colour": ELASTIC_COLOUR,
    "several": SEVERAL,
    "combined": COMBINED,
    "values": VALUES,
}
# Families that a policy is chosen from, beside its kind's own.
FAMILIES = {
    "grey": ("gentle", "affine", "elastic", "several", "combined", "values"),
    "colour": ("gentle", "affine", "elastic-colour", "several", "combined", "values"),
}
MIRRORED, FLIPPED = "mirrored", "flipped"  # left and right alone; top and bottom too
# By name: each family as it is, and with flips, as in "several-mirrored" and "several-flipped".
MOVES: dict[str, Moves | None] = {
    "none": None,
    **_PLAIN,
    MIRRORED: Moves(mirror=True),
    FLIPPED: Moves(mirror=True, upside_down=True),
    **{f"{name}-{MIRRORED}": replace(moves, mirror=True) for name, moves in _PLAIN.items()},
    **{f"{name}-{FLIPPED}": replace(moves, mirror=True, upside_down=True) for name, moves in _PLAIN.items()},
}


def with_flips(name: str, flips: str) -> str:
    """Name of a family without flips, with flips added: MIRRORED or FLIPPED."""
    return flips if name == "none" else f"{name}-{flips}"


def colour_channels(images: Tensor) -> int:
    """Channels of images, uint8 [N, C, H, W]; 1 for grey images that are stored in colour."""
    channels = images.shape[1]
    if channels < 3 or not len(images):
        return channels
    some = images[:: max(1, len(images) // PROBED), :3]
    return channels if (some.amax(1) - some.amin(1)).float().mean().item() > GREY_SPREAD else 1


def default_invariances(images: float, channels: int) -> str:
    """Name of the moves that a VAE of so many images is trained with.

    Grey images are not bent: the generated ones are sharper (docs/what_helps.md).
    """
    if images >= FEW_IMAGES:
        return "none"
    return "elastic-colour" if channels >= 3 else "affine"


def classical_moves(channels: int) -> Moves:
    """Usual augmentation: affine moves, for colour images brightness and contrast too, and no flips."""
    return COLOUR if channels >= 3 else AFFINE
