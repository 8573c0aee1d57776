"""What a notebook shows of an object: a title, facts, a picture and a table."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vae_augment.images.tiles import png
from vae_augment.printable import shortened

if TYPE_CHECKING:
    from PIL import Image

MOST_ROWS = 20  # of a table


def card(
    title: str,
    facts: Sequence[tuple[str, str]],
    headers: Sequence[str] = (),
    rows: Sequence[Sequence[object]] = (),
    picture: Image.Image | None = None,
    alt: str = "",
) -> str:
    """HTML, every text in it escaped; a table's first twenty rows, long texts of it shortened."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # a notebook alone needs it

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
