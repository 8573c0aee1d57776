"""vae-augment morph."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vae_augment.cli.paths import check_apart, check_file, check_png
from vae_augment.cli.results import show
from vae_augment.config import MAX_PIXELS
from vae_augment.printable import shortened

if TYPE_CHECKING:
    from torch import Tensor

    from vae_augment.bank import VAEBank

LISTED = 20  # classes in an error


@click.command()
@click.argument("bank", type=click.Path(path_type=Path))
@click.argument("a")
@click.argument("b")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The strip of frames, a PNG.")
@click.option("--animation", type=click.Path(path_type=Path), help="The frames as a .gif or .webp, too.")
@click.option("--frames", type=click.IntRange(2, 240), default=16, show_default=True)
@click.option("--path", type=click.Choice(("linear", "spherical")), default="linear", show_default=True)
@click.option("--class-a", metavar="CLASS", help="Class of the image file A. [default: its folder's name]")
@click.option("--class-b", metavar="CLASS", help="Class of the image file B. [default: its folder's name]")
@click.option("--resize", is_flag=True, help="Take images of another size than the bank's data.")
@click.option("--fps", type=click.FloatRange(1, 50), help="Frames per second of the animation. [default: 12]")
@click.option("--ping-pong", is_flag=True, help="Play the animation forward and back.")
@click.option("--seed", type=int, help="Draw a new image of a class A or B, instead of its mean.")
def morph(
    bank: Path,
    a: str,
    b: str,
    out: Path,
    animation: Path | None,
    frames: int,
    path: str,
    class_a: str | None,
    class_b: str | None,
    resize: bool,
    fps: float | None,
    ping_pong: bool,
    seed: int | None,
) -> None:
    """Draw a smooth path from A to B as a strip of frames.

    A and B are each an image file, or a class of the bank by its name or its label.
    """
    _check_outputs(out, animation, fps, ping_pong)
    check_apart({"--out": out, "--animation": animation}, {"BANK": bank, "A": a, "B": b})
    check_png("--out", out)
    from vae_augment.bank import VAEBank
    from vae_augment.exploring.morph_pictures import FPS, strip_png
    from vae_augment.exploring.morph_pictures import animation as animated
    from vae_augment.exploring.morphing import morph_codes, shares_start
    from vae_augment.files.writing import atomic_write
    from vae_augment.model.devices import single_thread

    loaded = VAEBank.load(bank)
    with single_thread():  # the same bytes on any number of threads
        label_a, z_a = _end(loaded, "A", a, class_a, resize, seed)
        label_b, z_b = _end(loaded, "B", b, class_b, resize, seed)
        if label_a == label_b and bool((z_a == z_b).all()):
            raise ValueError("A and B must be two images, got one twice; with --seed a class is drawn anew for each.")
        made = morph_codes(loaded, z_a, z_b, label_a, label_b, frames=frames, path=path)
    names = [loaded.classes[loaded.row_of[label]] for label in (label_a, label_b)]
    written = {out: strip_png(made, *names)}
    if animation is not None:
        written[animation] = animated(made, animation.suffix.lower(), fps=fps or FPS, ping_pong=ping_pong)
    for target, content in written.items():
        atomic_write(target, content)
    morphed = shares_start(loaded, label_a, label_b)
    said = "" if morphed else "These classes were not tuned from one warm start: their pixels are cross-faded.\n"
    there, ends = " and ".join(map(str, written)), " to ".join(map(shortened, names))
    values = {"paths": list(written), "frames": frames, "classes": names, "cross_faded": not morphed}
    show(f"{said}{frames} frames from {ends} written to {there}.", values)


def _check_outputs(out: Path, animation: Path | None, fps: float | None, ping_pong: bool) -> None:
    """Raise, before any work is done, if the strip or the animation cannot be written."""
    check_file("--out", out, stream=True)
    if animation is None and (fps is not None or ping_pong):
        raise ValueError("--fps and --ping-pong are of an animation: name its file by --animation.")
    if animation is not None:
        check_file("--animation", animation)
    from vae_augment.exploring.morph_pictures import FORMATS, check_animation

    if out.suffix.lower() in FORMATS:
        raise ValueError(f"--out is the strip, a PNG, got {out}: name an animation's file by --animation.")
    if animation is not None:
        check_animation(animation.suffix.lower())


def _end(bank: VAEBank, side: str, given: str, named: str | None, resize: bool, seed: int | None) -> tuple[int, Tensor]:
    """Label and latent code [L] of an end of the path: a class, or an image file, whose class may be `named`."""
    from vae_augment.bank.matching import namings

    label = _label(bank, given) if named is None else None
    if label is not None:
        return label, _code_of_class(bank, side, label, seed)
    file = Path(given)
    if not file.exists():
        raise FileNotFoundError(
            f"{side} must be an image file or a class of the bank, got {given!r}: there is no such file, and "
            f"{_known(bank)}."
        )
    if file.is_dir():
        raise ValueError(f"{side} must be an image file or a class of the bank, {given} is a folder.")
    folder = Path(os.path.abspath(file)).parent.name  # a class's name, or its folder's in an export
    of_folder = next((labels[folder] for labels in namings(bank) if folder in labels), None)
    label = of_folder if named is None else _label(bank, named)
    if label is None:
        what = "its folder has no class's name" if named is None else f"got {named!r}"
        raise ValueError(f"--class-{side.lower()} must say which class {given} is of: {what}; {_known(bank)}.")
    return label, _code_of_file(bank, side, file, label, resize)


def _known(bank: VAEBank) -> str:
    """The bank's classes, for an error."""
    more = ", ..." * (len(bank.classes) > LISTED)
    return f"the bank has {', '.join(map(shortened, bank.classes[:LISTED]))}{more}"


def _label(bank: VAEBank, text: str) -> int | None:
    """The label of the class that a text names, or that it is; None if there is none."""
    return bank.class_to_idx.get(text, {str(label): label for label in bank.row_of}.get(text))


def _code_of_class(bank: VAEBank, side: str, label: int, seed: int | None) -> Tensor:
    """The mean code [L] of a class, which decodes to its clearest image; with a seed, a newly drawn one."""
    import torch

    from vae_augment.seeding import generator

    row = bank.row_of[label]
    if seed is None:
        return bank.stats.mean[row]
    random = generator(seed, "morph", side, label)
    noise, chosen = torch.randn(1, bank.latent_dim, generator=random), torch.rand(1, generator=random)
    return bank.draw(torch.tensor([row]), noise, chosen)[0]


def _code_of_file(bank: VAEBank, side: str, file: Path, label: int, resize: bool) -> Tensor:
    """The posterior mean [L] of an image file, which is read as the files of a dataset are."""
    import torch

    from vae_augment.bank.matching import source_for
    from vae_augment.data.loading import load_images
    from vae_augment.data.readers.image_files import ImageFiles

    try:
        source = source_for(bank, ImageFiles([(str(file), label)], [], file.parent, MAX_PIXELS), resize=resize)
        images = load_images(source, bank.image_shape).images
    except ValueError as error:
        raise ValueError(f"{side}: {error}") from None
    return bank.encode(images, torch.tensor([label]))[0][0]
