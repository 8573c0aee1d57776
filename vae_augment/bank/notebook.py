"""Cards that a notebook shows of an object: a title, facts, a picture and a table."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from vae_augment.bank.metadata import summaries
from vae_augment.images.tiles import TILE, Block, drawable, font, png, side_by_side
from vae_augment.printable import shortened
from vae_augment.seeding import generator

if TYPE_CHECKING:
    from PIL import Image

    from vae_augment.bank.bank import VAEBank

MOST_ROWS = 20  # of a table
SHOWN = 20  # classes in a picture


def card(
    title: str,
    facts: Sequence[tuple[str, str]],
    headers: Sequence[str] = (),
    rows: Sequence[Sequence[object]] = (),
    picture: Image.Image | None = None,
    alt: str = "",
) -> str:
    """HTML with every text escaped, and the first twenty rows of the table with long texts shortened."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # only notebooks need it

    environment = Environment(loader=PackageLoader("vae_augment.bank"), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("card.html").render(
        title=title,
        facts=facts,
        headers=headers,
        rows=[[shortened(str(cell)) for cell in row] for row in rows[:MOST_ROWS]],
        more=max(0, len(rows) - MOST_ROWS),
        picture=None if picture is None else base64.b64encode(png(picture)).decode(),
        alt=alt,
    )


def bank_card(bank: VAEBank) -> str:
    """HTML of a bank: its data, its policy, a picture of generated images and a table of its classes."""
    channels, height, width = bank.image_shape
    policy, count = bank.policy, len(bank.classes)
    also = f"p_unlabelled {policy.p_unlabelled:g}, " if policy.p_unlabelled else ""
    facts = [
        ("data", f"{bank.data.get('name')} ({bank.data.get('source')}), {bank.data.get('images')} images"),
        ("images", f"{channels} x {height} x {width}, {bank.latent_dim} latent dimensions"),
        *summaries(bank.data),
        ("policy", f"{also}p_jitter {policy.p_jitter:g}, p_generate {policy.p_generate:g}: {policy.origin}"),
    ]
    rows = [(i.name, i.label, i.images, f"{i.rmse:.4f}", f"{i.kl:.1f}", i.status) for i in bank.class_infos]
    headers = ("class", "label", "images", "RMSE", "KL (nats)", "status")
    title = f"VAEBank of {count} class{'es' * (count != 1)}"
    return card(title, facts, headers, rows, bank.show(), "Generated images, a row for each class")


def bank_picture(bank: VAEBank, images: int, *, seed: int) -> Image.Image:
    """The picture that `VAEBank.show` returns."""
    if images < 1:
        raise ValueError(f"images must be at least 1, got {images}.")
    letters, infos = font(), bank.class_infos[:SHOWN]
    random = generator(seed, "show")
    rows = [bank.sample(torch.full((images,), info.label), generator=random).cpu() for info in infos]
    names = [drawable(info.name, letters) for info in infos]
    return side_by_side([Block("generated", rows, names)], max(TILE, *bank.image_shape[1:]))
