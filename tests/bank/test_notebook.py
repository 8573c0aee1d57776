import base64
import io
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

from vae_augment import VAEAugmentedDataset, VAEBank
from vae_augment.bank.notebook import MOST_ROWS, card


def parsed(html):
    """The elements of a piece of HTML, which is to be well-formed."""
    return ElementTree.fromstring(re.sub(r"(<img [^>]*)>", r"\1/>", html))


def texts(html):
    return [text.strip() for text in parsed(html).itertext() if text.strip()]


def cells(html):
    return [[cell.text for cell in row] for row in parsed(html).iter("tr")]


def pictures(html):
    for found in re.findall(r'src="data:image/png;base64,([^"]+)"', html):
        yield Image.open(io.BytesIO(base64.b64decode(found)))


def test_a_bank_shows_its_classes_and_what_it_draws(bank):
    html = bank._repr_html_()
    assert texts(html)[0] == "VAEBank of 3 classes"
    assert [row[0] for row in cells(html)] == ["class", *bank.classes]
    assert [image.size for image in pictures(html)] == [bank.show().size]
    assert parsed(html).find(".//img").get("alt") == "Generated images, a row for each class"


def test_its_picture_has_a_row_for_each_class_and_is_a_function_of_the_seed(bank):
    picture = bank.show(4, seed=1)
    assert picture.mode == "RGB"
    assert picture.tobytes() == bank.show(4, seed=1).tobytes() != bank.show(4, seed=2).tobytes()
    assert bank.show(5).width - bank.show(4).width == 42
    assert bank.show().height - bank.subset([0, 1]).show().height == 42


def test_looking_draws_from_no_global_generator(bank):
    before = torch.get_rng_state()
    bank._repr_html_()
    assert torch.equal(before, torch.get_rng_state())


def test_a_picture_of_no_images(bank):
    with pytest.raises(ValueError, match="images must be at least 1, got 0"):
        bank.show(0)


def test_names_are_shown_as_text(bank):
    infos = (replace(bank.class_infos[0], name="<script>alert(1)</script>"), *bank.class_infos[1:])
    html = VAEBank(replace(bank.content, class_infos=infos))._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_long_names_are_shortened():
    html = card("long", [], ["name", "images"], [("n" * 10_000, 3)])
    assert cells(html) == [["name", "images"], ["n" * 29 + "…" + "n" * 30, "3"]]


def test_many_classes_are_cut_short():
    html = card("many", [], ["n"], [(n,) for n in range(MOST_ROWS + 5)])
    assert len(cells(html)) == 1 + MOST_ROWS
    assert texts(html)[-1] == "and 5 more"


def test_a_wrapped_dataset_shows_what_comes_of_each_class(bank, shapes):
    dataset = VAEAugmentedDataset(
        shapes, bank, p_jitter=0.5, p_generate=0.2, sampling_strategy={0: 15, 1: 10, 2: 10}, seed=3
    )
    html = dataset._repr_html_()
    assert texts(html)[0] == "VAEAugmentedDataset of 35 items"
    assert "randomness: seed 3, epoch 0" in texts(html)
    assert cells(html) == [
        ["class", "items", "of them added", "jittered", "newly generated"],
        ["across", "15", "5", "9", "3"],  # of 10 items half and a fifth; of 5 added ones in the ratio of both
        ["down", "10", "0", "5", "2"],
        ["slanted", "10", "0", "5", "2"],
    ]


def test_one_whose_randomness_is_torchs_says_so(bank, shapes):
    assert "randomness: torch's global generator" in texts(VAEAugmentedDataset(shapes, bank)._repr_html_())
