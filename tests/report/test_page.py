import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

from tests.conftest import CONFIG, Shapes
from tests.report.test_differences import USUAL
from vae_augment import VAEBank, fit
from vae_augment.bank.matching import source_for
from vae_augment.bank.shown_images import COLUMNS
from vae_augment.data import SAMPLE_SOURCE
from vae_augment.data.loading import load_images
from vae_augment.exploring import maps
from vae_augment.report import page as report_page
from vae_augment.report import page_map
from vae_augment.report.page import report_html
from vae_augment.report.plots import learning_curves

pytestmark = pytest.mark.slow
QUALITY = {
    "rmse": 0.09, "train_rmse": 0.08, "kl": 20.0, "precision": 0.9, "recall": 0.8, "density": 1.0, "coverage": 0.9,
    "frechet": 3.0, "frechet_real": 1.0, "copy_distance": 0.1, "real_distance": 0.2, "near_duplicates": 2,
    "generated": 200, "held_out": 150,
}  # fmt: skip


class Elements(HTMLParser):
    """The elements of a page: (tag, attributes) each, and its text outside of scripts and styles."""

    def __init__(self, html):
        super().__init__()
        self.all, self.text, self.tag = [], "", None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.all.append((tag, dict(attributes)))
        self.tag = tag

    def handle_data(self, data):
        if self.tag not in ("script", "style"):
            self.text += data

    def of(self, tag):
        return [attributes for name, attributes in self.all if name == tag]


@pytest.fixture(scope="module")
def data():
    return load_images(source_for(fit_once(), Shapes()), (1, 12, 12))


def fit_once():
    return fit(Shapes(), config=CONFIG, progress=False)


@pytest.fixture(scope="module")
def full(data):
    """A page with all that it can have."""
    bank = fit_once().with_data(quality=QUALITY)
    return bank, report_html(bank, data=data, evaluation=USUAL)


def script_data(html):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL).group(1))


def test_the_page_is_a_function_of_what_it_shows(bank, data):
    assert report_html(bank, data=data) == report_html(bank, data=data)
    assert report_html(bank, data=data) != report_html(bank, data=data, seed=1)


def test_it_asks_for_nothing(full):
    html = full[1]
    addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"')]*", html)
    assert {address for address in addresses if "www.w3.org" not in address} == set()  # names of SVG's spaces
    for tag, attributes in Elements(html).all:
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    assert "default-src 'none'" in html


def test_every_part_is_there(full):
    bank, html = full
    elements = Elements(html)
    links = [a["href"].removeprefix("#") for a in elements.of("a")]
    ids = [attributes["id"] for _, attributes in elements.all if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert set(links) <= set(ids)
    assert [a["id"] for a in elements.of("section")] == [
        "verdict", "pictures", "try", "map", "classes", "curves", "quality", "policy", "again",
    ]  # fmt: skip
    for text in (*bank.classes, USUAL.verdict, bank.policy.origin, bank.sha256, "near-duplicates", "ours+classical"):
        assert text in elements.text, text
    assert f"fit(dataset, config=FitConfig(latent_dim=4, steps=12, width=8, batch_size=16), seed={0})" in elements.text


def test_each_class_has_its_pictures_with_a_text_in_their_place(full):
    bank, html = full
    for page, kinds in (
        (html, ("real", "reconstructed", "jittered", "generated")),
        (report_html(bank), ("generated",)),
    ):
        alts = [image["alt"] for image in Elements(page).of("img")]
        assert alts == [f"{COLUMNS} {kind} images of class {name}" for name in bank.classes for kind in kinds]
    without = script_data(page)["map"]
    assert (without["sprite"], len(without["rows"])) == (None, int(bank.stats.counts.sum()))


def test_without_codes_there_is_no_map_unless_there_are_images(data):
    bank = fit(Shapes(), config=replace(CONFIG, exemplars=0), progress=False)
    assert "it was fitted with exemplars=0): give the images with --data" in Elements(report_html(bank)).text
    assert script_data(report_html(bank))["map"] is None
    assert len(script_data(report_html(bank, data=data))["map"]["rows"]) == 30


def test_without_a_warm_start(data):
    bank = fit(Shapes(), config=replace(CONFIG, sharing="none"), progress=False)
    text = Elements(report_html(bank, data=data)).text
    assert "Each class begins from nothing" in text
    assert "Each class has a VAE of its own" in text


def test_a_bank_that_is_put_together_says_what_it_lacks(bank):
    text = Elements(report_html(bank.subset([0, 2]))).text
    assert "The bank holds no quality figures" in text
    assert "Not measured for this report" in text
    assert "vae-augment evaluate --data DATA --json result.json" in text
    start = replace(bank.content.start, curve=torch.zeros_like(bank.content.start.curve))
    untrained = replace(bank.content, curves=torch.zeros_like(bank.content.curves), start=start)
    assert "The bank holds none: no training was recorded in it" in Elements(report_html(VAEBank(untrained))).text


def test_it_says_at_the_top_that_data_is_the_sample_and_names_other_data_whole(bank):
    told = "They are the sample inside the package, not all of MNIST."
    assert told in Elements(report_html(bank.with_data(source=SAMPLE_SOURCE))).text
    text = Elements(report_html(bank.with_data(name="my photos", source="folder"))).text
    assert told not in text
    assert "vae-augment evaluate --data 'PATH/TO/my photos' --json result.json" in text


@pytest.mark.parametrize("options", [{"sharing": "none", "steps": 4}, {"steps": 4}])
def test_curves_of_merged_banks_go_forward_from_where_they_began(bank, options):
    other = fit(Shapes(), classes=["down"], config=replace(CONFIG, **options), seed=1, progress=False)
    (figure, _) = learning_curves(VAEBank.merge(bank.subset(["across"]), other))
    start, across, down = (line.get_xdata() for line in figure.axes[0].get_lines())
    assert across[0] > start[-1]
    assert 0 <= down[0] < down[-1] <= 4


def test_names_and_notes_are_text(bank, data):
    odd = "</script><script>alert(1)</script><!--"
    info = replace(bank.class_infos[0], name=odd, status="failed", note="<b>loss</b>")
    changed = VAEBank(replace(bank.content, class_infos=(info, *bank.class_infos[1:])))
    html = report_html(changed.with_data(name="<i>data</i>"), data=data)
    assert "alert(1)</script>" not in html
    assert "<b>loss</b>" not in html
    assert "<i>data</i>" not in html
    assert script_data(html)["live"]["names"][0] == odd


def test_a_page_of_many_classes_stays_small(bank, data, lowered):
    lowered(report_page, "DECODER_BYTES", report_page.payload_bytes(bank, [0]) + 10)
    lowered(maps, "MOST_POINTS", 9)
    html = report_html(bank, data=data)
    assert "the first 1 of 3 classes are in it" in html
    found = script_data(html)
    assert len(found["decoder"]["classes"]) == found["map"]["decoded"] == len(found["live"]["names"]) == 1
    assert len(found["map"]["rows"]) == 9


def test_colour_images_are_kept_as_photographs():
    from vae_augment.report.embedded import data_uri, tiled

    images = torch.randint(256, (7, 3, 48, 32), dtype=torch.uint8)
    sheet = tiled(images, 4)
    assert (sheet.mode, sheet.size) == ("RGBA", (4 * 33 - 1, 2 * 49 - 1))
    assert sheet.getpixel((130, 96))[3] == 0  # where there is none
    assert data_uri(sheet, lossless=False).startswith("data:image/webp;base64,")
    assert data_uri(sheet, lossless=True).startswith("data:image/png;base64,")
    grey = tiled(images[:, :1], 3, gap=0)
    assert (grey.mode, grey.size) == ("LA", (96, 144))


def test_the_map_opens_on_the_layout_that_is_no_heap(monkeypatch, data):
    bank = fit_once()
    found = maps.latent_maps(bank, data)
    rows, along = found.codes.rows, torch.linspace(0, 0.1, len(found.codes.rows))
    apart, heap = (torch.stack([places.float() + along] * 2, 1) for places in (rows, torch.arange(len(rows)) % 7))

    def layout(pca, tsne):
        monkeypatch.setattr(page_map, "latent_maps", lambda *_, **__: found._replace(points={"pca": pca, "tsne": tsne}))
        return page_map.page_map(bank, data, 3, 0).script["layout"]

    assert layout(heap, apart) == "tsne"
    assert layout(apart, heap) == layout(apart, apart) == layout(heap, heap) == "pca"
