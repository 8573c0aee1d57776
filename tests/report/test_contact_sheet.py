from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset

from tests.random_banks import random_bank
from vae_augment import VAEBank
from vae_augment.bank.shown_images import COLUMNS, shown_images
from vae_augment.data.loading import load_images
from vae_augment.data.source import Source
from vae_augment.images.tiles import GAP, MARGIN, NAME_WIDTH, TEXT, TILE, drawable, font
from vae_augment.report.contact_sheet import contact_sheet, contact_sheet_png

TOP = MARGIN + TEXT + MARGIN


def bands(sheet):
    """The rows of tiles, as arrays."""
    pixels = np.asarray(sheet)
    count = (sheet.height - TOP - MARGIN) // (TILE + GAP)
    return [pixels[TOP + row * (TILE + GAP) :][:TILE] for row in range(count)]


@pytest.mark.parametrize("classes", [["across"], ["across", "down", "slanted"]])
def test_a_sheet_has_a_row_a_class_and_four_kinds_of_images(bank, data, classes):
    sheet = contact_sheet(bank.subset(classes), data)
    assert sheet.mode == "RGB"
    assert sheet.height == TOP + len(classes) * (TILE + GAP) + MARGIN
    assert sheet.width > 4 * COLUMNS * (TILE + GAP)
    assert len({band.tobytes() for band in bands(sheet)}) == len(classes)
    for band in bands(sheet):
        blocks = np.split(band[:, band.shape[1] - 4 * (COLUMNS * (TILE + GAP) + MARGIN) :], 4, axis=1)
        assert [len(np.unique(block)) > 2 for block in blocks] == [True] * 4


def test_real_images_are_shown_as_they_are(bank, data):
    smooth = Image.Resampling.BICUBIC
    wanted = [Image.fromarray(i[0].numpy()).convert("RGB").resize((TILE, TILE), smooth) for i in data.of(0)]
    band = bands(contact_sheet(bank.subset(["across"]), data))[0]
    left = band.shape[1] - 4 * (COLUMNS * (TILE + GAP) + MARGIN)
    tiles = [band[:, left + column * (TILE + GAP) :][:, :TILE].tobytes() for column in range(COLUMNS)]
    assert len(set(tiles)) == COLUMNS
    assert set(tiles) <= {image.tobytes() for image in wanted}


def test_a_sheets_file_is_a_png_and_a_function_of_the_seed(bank, data):
    first, again, other = (contact_sheet_png(bank, data, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    image = Image.open(io.BytesIO(first))
    assert image.format == "PNG"
    assert np.array_equal(np.asarray(image), np.asarray(contact_sheet(bank, data, seed=0)))


NAMES = {
    "300 characters": "W" * 300,
    "65,536 characters": "a😀" * 2**15,
    "lines": "a\nb\r\tc",
    "controls": "\x00\x1b[2J\x9b",
    "formula": "$\\alpha",
    "right to left": "\u202eab\u2066 שלום مرحبا",
    "emoji": "\U0001f469\u200d\U0001f52c face",
    "surrogate": "\ud800",
    "accents alone": "\u0301" * 50,
    "nothing to see": " ",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_any_class_name_is_drawn_within_its_column(bank, data, name):
    first, *others = bank.class_infos
    named = VAEBank(replace(bank.content, class_infos=(replace(first, name=name), *others)))
    sheet = contact_sheet(named, data)
    assert len(bands(sheet)) == 3
    left = sheet.width - 4 * (COLUMNS * (TILE + GAP) + MARGIN)
    assert left <= MARGIN + NAME_WIDTH + MARGIN
    assert (np.asarray(sheet)[TOP:, left - MARGIN + 1 : left] == 255).all()


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("zwölf", "zwölf"),
        ("Ж β é", "Ж β é"),
        ("猫", r"\u732b"),
        ("a\nb", r"a\nb"),
        ("a\u202eb", r"a\u202eb"),
        ("$\\alpha", "$\\alpha"),
        ("a" * 150 + "b" * 150, "a" * 10 + "…" + "b" * 10),
    ],
)
def test_what_a_font_cannot_draw_is_escaped_and_what_is_too_long_left_out_in_the_middle(name, drawn):
    assert drawable(name, font()) == drawn


def test_classes_of_few_images_are_shown(bank, shapes):
    few = load_images(Source(Subset(shapes, [0, 10, 11, 20])), bank.image_shape)
    assert len(bands(contact_sheet(bank, few))) == 3


def test_what_is_shown_does_not_depend_on_the_threads():
    bank = random_bank((3, 64, 64), latent_dim=16, width=32).with_policy(method="gaussian")
    images = torch.randint(256, (50, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    threads, shown = torch.get_num_threads(), []
    for n in (1, 2):
        torch.set_num_threads(n)
        try:
            shown.append(shown_images(bank, images, 1))
            assert torch.get_num_threads() == n
        finally:
            torch.set_num_threads(threads)
    assert all(torch.equal(shown[0][kind], shown[1][kind]) for kind in shown[0])
