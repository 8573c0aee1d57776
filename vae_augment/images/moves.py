"""Random moves of images that keep their class, for training VAEs and for augmenting."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


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
    """

    rotation: float = 0.0
    shift: float = 0.0
    scaling: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    points: int = 4
    brightness: float = 0.0
    contrast: float = 0.0

    @property
    def width(self) -> int:
        """Number of uniform draws for one image."""
        return 7 + (2 * self.points**2 if self.elastic else 0)

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
        grid = self._grid(images, draws)
        images, difference = self._coloured(images, difference, draws)
        moved = F.grid_sample(images, grid, padding_mode=outside, align_corners=False)
        if difference is None:
            return moved
        return moved.add_(F.grid_sample(difference, grid, padding_mode=outside, align_corners=False)).clamp_(0, 1)

    def _coloured(self, images: Tensor, difference: Tensor | None, draws: Tensor) -> tuple[Tensor, Tensor | None]:
        """Change the brightness and contrast of images, and scale differences alike."""
        if not (self.brightness or self.contrast):
            return images, difference
        brightness, contrast = 1 + draws[:, 5] * self.brightness, 1 + draws[:, 6] * self.contrast
        gain = (brightness * contrast)[:, None, None, None]
        colours = images.shape[1] - (images.shape[1] in (2, 4))  # the last of two or four channels is alpha
        colour = images[:, :colours]
        # contrast keeps the mean that brightness gives
        offset = (colour.mean((1, 2, 3)) * brightness * (1 - contrast))[:, None, None, None]
        colour = torch.addcmul(offset, colour, gain).clamp_(0, 1)
        images = colour if colours == images.shape[1] else torch.cat([colour, images[:, colours:]], dim=1)
        return images, None if difference is None else difference * gain

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
            coarse = draws[:, 7:].reshape(-1, 2, self.points, self.points) * 2 * self.elastic
            parts.append(bends_y @ coarse)
        left = torch.cat(parts, dim=3).flatten(1, 2)  # [B, 2*H, 2 + points], times [2 + points, W]
        right = torch.cat([x.T, torch.ones_like(x.T), bends_x.T])
        grid = left.bmm(right.expand(len(images), -1, -1)).view(-1, 2, height, width)
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
# Handwriting and drawings differ more by slanting and bending than by rotation and shift.
ELASTIC = Moves(rotation=10.0, shift=0.05, scaling=0.1, shear=20.0, elastic=0.09, points=5)
ELASTIC_COLOUR = Moves(rotation=15.0, shift=0.1, scaling=0.1, elastic=0.04, brightness=0.2, contrast=0.2)
MOVES: dict[str, Moves | None] = {
    "none": None,
    "affine": AFFINE,
    "colour": COLOUR,
    "elastic": ELASTIC,
    "elastic-colour": ELASTIC_COLOUR,
}


def colour_channels(images: Tensor) -> int:
    """Channels of images, uint8 [N, C, H, W]; 1 for grey images that are stored in colour."""
    channels = images.shape[1]
    if channels < 3 or not len(images):
        return channels
    some = images[:: max(1, len(images) // PROBED), :3]
    return channels if (some.amax(1) - some.amin(1)).float().mean().item() > GREY_SPREAD else 1


def default_moves(images: float, channels: int) -> str:
    """Name of the policy's moves for classes of so many images."""
    if images >= FEW_IMAGES:
        return "none"
    return "elastic-colour" if channels >= 3 else "elastic"


def default_invariances(images: float, channels: int) -> str:
    """Name of the moves that a VAE of so many images is trained with.

    Affine instead of elastic for grey images: the generated ones are sharper (docs/what_helps.md).
    """
    moves = default_moves(images, channels)
    return "affine" if moves == "elastic" else moves


def one_by_one(transform: Callable[[Tensor], Tensor]) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Apply a transform of one image to batches. Torch's global generator, which it draws from, is restored."""

    def move(images: Tensor, generator: torch.Generator) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
            moved = [transform(image) for image in images]
        for image in moved:
            if not (isinstance(image, Tensor) and image.shape == images.shape[1:] and image.is_floating_point()):
                came = f"{image.dtype} {list(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
                shape = list(images.shape[1:])
                raise ValueError(f"invariances must keep float images of shape {shape}, got {came}.")
        return torch.stack(moved).float().clamp_(0, 1)

    return move


def classical_moves(channels: int) -> Moves:
    """Usual augmentation: affine moves, for colour images brightness and contrast too, and no flips."""
    return COLOUR if channels >= 3 else AFFINE
