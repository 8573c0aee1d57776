"""explore: a folder of pictures and tables of a bank's latent spaces."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

from vae_augment.bank import VAEBank
from vae_augment.data.loading import FitData
from vae_augment.exceptions import check_extra
from vae_augment.exploring.folder import check, write
from vae_augment.exploring.latent_space import Dimension, dimensions, kl_of_dimensions
from vae_augment.exploring.map_pictures import maps_png
from vae_augment.exploring.maps import METHODS, latent_maps
from vae_augment.exploring.pictures import DIRECTIONS, manifold_png, nearest_png, plane_png, traversals_png
from vae_augment.files.folder_names import folder_names
from vae_augment.files.folders import filling
from vae_augment.seeding import check_seed

PARTS = ("traversals", "map", "manifold", "plane", "nearest", "dimensions")
CLASSES = 20  # in pictures, by default

File = tuple[str, bytes]


@dataclass(frozen=True)
class Plan:
    """Parts to be explored, checked against the bank by `planned`.

    Args:
        parts: some of `PARTS`.
        rows: the classes in pictures.
        directions: of traversals.
    """

    parts: tuple[str, ...]
    rows: tuple[int, ...]
    directions: tuple[str, ...]

    def files(self, bank: VAEBank) -> list[str]:
        """Names of the files to be written."""
        names = {"map": ["map.png", "map.csv"], "dimensions": ["dimensions.csv"]}
        if "traversals" in self.parts:
            names["traversals"] = self.traversals(bank)
        return [name for part in self.parts for name in names.get(part, [f"{part}.png"])]

    def traversals(self, bank: VAEBank) -> list[str]:
        """Names of the pictures of traversals, one per class."""
        names = folder_names(bank.classes)
        return [f"traversals-{names[row]}.png" for row in self.rows]


@dataclass(frozen=True)
class Exploration:
    """Files that were written.

    Args:
        folder: the folder that holds them.
        files: their names.
    """

    folder: Path
    files: tuple[str, ...]


def explore(
    bank: VAEBank,
    out: str | Path,
    *,
    data: FitData | None = None,
    only: Sequence[str] | None = None,
    classes: int | None = CLASSES,
    directions: Sequence[str] = DIRECTIONS,
    seed: int = 0,
    overwrite: bool = False,
    on_file: Callable[[str], object] = lambda name: None,
) -> Exploration:
    """Write pictures and tables of a bank's latent spaces. The same arguments give the same bytes.

    Example:
        >>> explore(bank, "explored", only=["traversals", "map"]).files
        ('traversals-across.png', 'traversals-down.png', 'traversals-slanted.png', 'map.png', 'map.csv')

    Args:
        bank: a fitted bank.
        out: the folder, made if need be; it must be empty.
        data: the images that the bank was fitted on, at its size, for the map, nearest training images and KL
            divergences. None: the map is of the codes that the bank keeps, and the others are left out.
        only: some of `PARTS`; None: all that can be made. A manifold is of two latent dimensions, a plane of two or
            more.
        classes: number of classes in pictures, from the first; None: all. Map and table show all.
        directions: of traversals: "axes", "principal" or both.
        seed: of the choice of images, of the draws and of t-SNE.
        overwrite: replace an earlier exploration, and nothing else.
        on_file: called with the name of each file when its content is made; all are written at the end.

    Raises:
        ValueError: an option is out of range; or a part needs images, codes or other latent dimensions.
        FileExistsError: the folder holds something else, is a file, or is being filled by another process.
    """
    check_seed(seed)
    folder = Path(out)
    plan = planned(bank, images=data is not None, only=only, classes=classes, directions=directions)
    made: dict[str, bytes] = {}
    about = {
        "bank_sha256": bank.sha256,
        "images": None if data is None else len(data.images),
        "seed": seed,
        "parts": list(plan.parts),
    }
    with filling(folder):
        check(folder, plan.files(bank), overwrite=overwrite)
        for name, content in _made(bank, data, plan, seed):
            made[name] = content
            on_file(name)
        write(folder, made, about)
    return Exploration(folder, tuple(made))


def planned(
    bank: VAEBank,
    *,
    images: bool,
    only: Sequence[str] | None = None,
    classes: int | None = CLASSES,
    directions: Sequence[str] = DIRECTIONS,
) -> Plan:
    """The plan of an exploration, with or without images. Raises ValueError or ImportError if it cannot be made."""
    for name, given, known in (("only", only, PARTS), ("directions", directions, DIRECTIONS)):
        odd = [part for part in given or () if part not in known]
        if odd or (given is not None and not given):
            expected = ", ".join(map(repr, known))
            raise ValueError(
                f"{name} must be some of {expected}, got {odd[0]!r}." if odd else f"{name} must not be empty."
            )
    if classes is not None and not (isinstance(classes, Integral) and classes >= 1):
        raise ValueError(f"classes must be a whole number of at least 1, or None, got {classes!r}.")
    can = {"nearest": images, "manifold": bank.latent_dim == 2, "plane": bank.latent_dim >= 2}
    parts = [part for part in PARTS if (part in only if only is not None else can.get(part, True))]
    if "nearest" in parts and not images:
        raise ValueError("nearest needs the images that the bank was fitted on: give --data (data=).")
    for part, wanted in (("manifold", "2 latent dimensions"), ("plane", "2 latent dimensions or more")):
        if part in parts and not can[part]:
            instead = ": take plane" if bank.latent_dim > 2 else ""
            raise ValueError(f"{part} needs {wanted}, the bank has {bank.latent_dim}{instead}.")
    if "map" in parts:
        check_extra("report", "map", "matplotlib", "sklearn")
    if "map" in parts and not images and not bool(bank.content.stats.counts.any()):
        raise ValueError(
            "map needs codes of images, and the bank keeps none (exemplars=0): give --data (data=), or do without, for "
            "example --only traversals,dimensions."
        )
    return Plan(tuple(parts), tuple(range(len(bank.classes)))[:classes], tuple(directions))


def _made(bank: VAEBank, data: FitData | None, plan: Plan, seed: int) -> Iterator[File]:
    """Names and contents of files, one after the other."""
    rows = plan.rows
    for part in plan.parts:
        if part == "traversals":
            for row, name in zip(rows, plan.traversals(bank), strict=True):
                yield name, traversals_png(bank, row, plan.directions)
        elif part == "map":
            yield from _map(bank, data, seed)
        elif part == "manifold":
            yield "manifold.png", manifold_png(bank, rows)
        elif part == "plane":
            yield "plane.png", plane_png(bank, rows)
        elif part == "nearest" and data is not None:
            there = set(data.labels.tolist())
            shown = [row for row, info in enumerate(bank.class_infos) if info.label in there][: len(rows)]
            yield "nearest.png", nearest_png(bank, data, shown, seed=seed)
        elif part == "dimensions":
            yield "dimensions.csv", _dimensions(bank, data, seed)


def _map(bank: VAEBank, data: FitData | None, seed: int) -> Iterator[File]:
    """The map as a picture and as a table, in one latent space if there are images and a warm start."""
    codes, shared, maps = latent_maps(bank, data, seed=seed)
    space = "all in the latent space that classes began from" if shared else "each class in its own VAE's latent space"
    titles = {f"{METHODS[method]}, {space}": points for method, points in maps.items()}
    yield "map.png", maps_png(bank.classes, codes.rows, titles)
    items = [""] * len(codes.rows) if codes.items is None else codes.items.tolist()
    infos = [bank.class_infos[row] for row in codes.rows.tolist()]
    places = [points.tolist() for points in maps.values()]
    lines = (
        (info.name, info.label, item, *(f"{number:.6g}" for point in points for number in point))
        for info, item, *points in zip(infos, items, *places, strict=True)
    )
    heads = [f"{method}_{axis}" for method in METHODS for axis in "xy"]
    yield "map.csv", _csv(["class", "label", "item", *heads], lines)


def _dimensions(bank: VAEBank, data: FitData | None, seed: int) -> bytes:
    kl = None if data is None else kl_of_dimensions(bank, data, seed=seed)
    lines = (
        (info.name, info.label, *map(_written, found))
        for row, info in enumerate(bank.class_infos)
        for found in dimensions(bank, row, None if kl is None else kl[row])
    )
    return _csv(["class", "label", *Dimension._fields], lines)


def _written(value: float) -> str:
    """A number or a flag as text; "" for NaN."""
    if isinstance(value, int):
        return str(int(value))
    return "" if math.isnan(value) else f"{value:.6g}"


def _csv(heads: Sequence[str], lines: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([heads, *lines])
    return text.getvalue().encode()
