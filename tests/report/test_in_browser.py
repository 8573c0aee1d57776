"""The report in Chromium: what a reader does with it, and what it looks like. The `page` fixture fails on any error."""

import io
from dataclasses import replace

import pytest
import torch
from PIL import Image

from tests.random_banks import random_bank
from tests.report.test_differences import USUAL
from tests.report.test_page import QUALITY, data, fit_once  # noqa: F401  the fixture of its images
from vae_augment import VAEBank
from vae_augment.printable import shortened
from vae_augment.report import page as report_page
from vae_augment.report.page import report_html

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def report(data, tmp_path_factory):  # noqa: F811
    """A bank, and where its report is."""
    bank = fit_once().with_data(quality=QUALITY)
    path = tmp_path_factory.mktemp("report") / "bars.html"
    path.write_text(report_html(bank, data=data, evaluation=USUAL), encoding="utf-8")
    return bank, path


@pytest.fixture
def opened(page, report):
    page.set_viewport_size(DESKTOP)
    page.goto(report[1].as_uri())
    return page


def pixels(page, canvas):
    """Grey levels [H, W] of a canvas, as they are before it is enlarged."""
    values = page.evaluate(
        """id => {
            const canvas = document.getElementById(id);
            const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            return [canvas.height, canvas.width, Array.from(data)];
        }""",
        canvas,
    )
    return torch.tensor(values[2]).view(values[0], values[1], 4)[..., 0]


def expected(bank, row, z):
    return bank.models.decode(z[None], torch.tensor([row]))[0, 0] * 255


def move(page, slider, value):
    """A slider to a value, as a reader's key strokes or drags leave it."""
    page.eval_on_selector(
        slider, "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", str(value)
    )


def test_a_slider_decodes_what_the_bank_decodes(opened, report):
    bank, _ = report
    mean, deviation = bank.stats.mean[0], bank.stats.cov[0].diagonal().sqrt()
    opened.click("#mean")
    assert (pixels(opened, "screen") - expected(bank, 0, mean)).abs().max() <= 1
    sliders = opened.locator("#sliders input")
    assert sliders.count() == bank.latent_dim
    axis = int(bank.stats.cov[0].diagonal().argmax())
    assert sliders.first.get_attribute("id") == f"z{axis}"
    move(opened, f"#z{axis}", 2.5)
    z = mean.clone()
    z[axis] += 2.5 * deviation[axis]
    assert (pixels(opened, "screen") - expected(bank, 0, z)).abs().max() <= 1
    assert not torch.equal(expected(bank, 0, z).round(), expected(bank, 0, mean).round())
    assert opened.locator(f"#z{axis}").get_attribute("aria-valuetext") == "2.50 standard deviations"


def test_a_slider_moves_by_the_keyboard(opened):
    opened.click("#mean")
    slider = opened.locator("#sliders input").first
    slider.focus()
    for _ in range(20):
        opened.keyboard.press("ArrowRight")
    assert slider.input_value() == "1"
    assert opened.locator("#sliders output").first.inner_text() == "1.00"


def test_another_class_begins_at_the_code_of_a_typical_image(opened, report):
    bank, _ = report
    opened.select_option("#class", label=bank.classes[2])
    codes = bank.stats.exemplars[2, : bank.stats.counts[2]].float()
    typical = codes[(codes - bank.stats.mean[2]).norm(dim=1).median(0).indices]
    assert (pixels(opened, "screen") - expected(bank, 2, typical)).abs().max() <= 1
    assert opened.locator("#screen-note").inner_text() == f"The code of an image of class {bank.classes[2]}."
    opened.click("#mean")
    assert (pixels(opened, "screen") - expected(bank, 2, bank.stats.mean[2])).abs().max() <= 1
    assert opened.locator("#screen-note").inner_text() == f"The mean of class {bank.classes[2]}."


def test_new_images_are_drawn_and_the_mean_comes_back(opened):
    opened.click("#mean")
    mean = pixels(opened, "screen")
    drawn = []
    for _ in range(3):
        opened.click("#draw")
        drawn.append(pixels(opened, "screen"))
    assert len({tuple(image.flatten().tolist()) for image in drawn}) == 3
    opened.click("#mean")
    assert torch.equal(pixels(opened, "screen"), mean)


def test_pointing_at_a_code_shows_its_image(opened, report, data):  # noqa: F811
    bank, _ = report
    opened.locator("#points").scroll_into_view_if_needed()
    circle = opened.locator("#points circle").nth(4).bounding_box()
    opened.mouse.move(circle["x"] + circle["width"] / 2, circle["y"] + circle["height"] / 2)
    assert opened.locator("#hover").is_visible()
    name = opened.locator("#hover-text").inner_text().split(":")[0]
    row = bank.classes.index(name)
    shown = pixels(opened, "real")
    own = data.of(bank.class_infos[row].label)[:, 0]
    nearest = (own.float() - shown).abs().flatten(1).amax(1).argmin()
    assert torch.equal(own[nearest], shown.to(torch.uint8))
    decoded = bank.reconstruct(own[nearest][None, None], torch.tensor([bank.class_infos[row].label]))[0, 0] * 255
    assert (pixels(opened, "thumb") - decoded).abs().max() <= 1
    assert opened.locator("#real").bounding_box()["x"] < opened.locator("#thumb").bounding_box()["x"]  # as it is said
    opened.mouse.move(5, 5)
    assert opened.locator("#hover").is_hidden()


def test_codes_of_classes_that_the_page_cannot_decode(page, data, lowered, tmp_path):  # noqa: F811
    bank = fit_once()
    lowered(report_page, "DECODER_BYTES", report_page.payload_bytes(bank, [0]))
    (tmp_path / "few.html").write_text(report_html(bank, data=data), encoding="utf-8")
    page.goto((tmp_path / "few.html").as_uri())
    page.locator("#points").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#thumb").is_visible()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#hover-text").inner_text() == bank.classes[2]
    assert page.locator("#real").is_visible()
    assert page.locator("#thumb").is_hidden()


def test_codes_are_stepped_through_by_the_keyboard(opened):
    opened.locator("#points").focus()
    opened.keyboard.press("ArrowRight")
    assert opened.locator("#map-live").inner_text().startswith("Point 1 of 30, ")
    opened.keyboard.press("ArrowLeft")
    assert opened.locator("#map-live").inner_text().startswith("Point 30 of 30, ")
    opened.keyboard.press("Escape")
    assert opened.locator("#hover").is_hidden()


def test_one_class_is_shown_and_the_layout_changes(opened, report):
    bank, _ = report
    opened.select_option("#only", label=bank.classes[1])
    assert opened.locator("#points circle.away").count() == 20
    before = opened.locator("#points circle").first.get_attribute("cx")
    opened.check("input[value=tsne]")
    assert opened.locator("#points circle").first.get_attribute("cx") != before
    opened.check("input[value=pca]")
    assert opened.locator("#points circle").first.get_attribute("cx") == before


def test_the_theme_is_the_readers_and_can_be_switched(opened):
    paper = "getComputedStyle(document.body).backgroundColor"
    assert opened.evaluate(paper) == "rgb(255, 255, 255)"
    opened.click("#theme")
    assert opened.evaluate(paper) == "rgb(20, 24, 29)"
    assert opened.locator("#theme").get_attribute("aria-pressed") == "true"
    opened.emulate_media(color_scheme="dark")
    opened.click("#theme")
    assert opened.evaluate(paper) == "rgb(255, 255, 255)"
    opened.reload()
    assert opened.evaluate(paper) == "rgb(20, 24, 29)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_fits_the_screen_and_looks_like_something(opened, size, scheme):
    opened.emulate_media(color_scheme=scheme)
    opened.set_viewport_size(size)
    assert opened.evaluate("document.documentElement.scrollWidth") == size["width"]  # nothing hangs over
    shot = Image.open(io.BytesIO(opened.screenshot(full_page=True)))
    assert shot.width == size["width"]
    assert len(shot.convert("RGB").getcolors(2**24)) > 100
    corner = shot.convert("L").getpixel((2, 2))
    assert corner > 200 if scheme == "light" else corner < 50


def test_odd_names_break_nothing(page, report, tmp_path):
    bank, _ = report
    names = ["long" * 100, "\u05d0\u202eevil\nline", "<b>&amp;$x^2$</b>"]
    infos = tuple(replace(info, name=name) for info, name in zip(bank.class_infos, names, strict=True))
    path = tmp_path / "odd.html"
    path.write_text(report_html(VAEBank(replace(bank.content, class_infos=infos))), encoding="utf-8")
    page.goto(path.as_uri())
    for size in (DESKTOP, PHONE):
        page.set_viewport_size(size)
        assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    shown = page.locator("#classes tbody th").all_inner_texts()
    assert shown == [shortened(name) for name in names]
    assert shown[1] == "\u05d0\\u202eevil\\nline"
    page.select_option("#class", index=2)
    assert page.locator("#screen-note").inner_text() == f"The code of an image of class {names[2]}."


@pytest.mark.parametrize("shape", [(1, 128, 8), (3, 8, 128)])
def test_tall_and_wide_images_fit_the_screen(page, shape, tmp_path):
    path = tmp_path / "narrow.html"
    path.write_text(report_html(random_bank(shape, classes=2).with_policy(method="gaussian")), encoding="utf-8")
    page.goto(path.as_uri())
    for size in (DESKTOP, PHONE):
        page.set_viewport_size(size)
        for picture in (".strip img", "#screen"):
            assert page.locator(picture).first.bounding_box()["height"] <= size["height"] / 2


def test_what_is_said_of_a_code_stays_on_the_map(opened):
    opened.set_viewport_size(PHONE)
    opened.locator("#points").focus()
    area = opened.locator("#points").bounding_box()
    for _ in range(30):
        opened.keyboard.press("ArrowRight")
        box = opened.locator("#hover").bounding_box()
        assert area["x"] <= box["x"]
        assert box["x"] + box["width"] <= area["x"] + area["width"] + 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(opened, scheme):
    from axe_playwright_python.sync_playwright import Axe

    opened.emulate_media(color_scheme=scheme)
    found = Axe().run(opened)
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found.response["violations"]] == []


def test_on_paper_it_is_light_and_without_controls(opened):
    opened.emulate_media(media="print", color_scheme="dark")
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.locator("#theme").is_hidden()
    assert opened.locator("#try").is_hidden()
    assert opened.locator("#classes table").is_visible()
    assert opened.pdf().startswith(b"%PDF")


def test_without_scripts_all_but_the_controls_is_there(browser, report):
    with browser.page(java_script_enabled=False) as page:
        page.goto(report[1].as_uri())
        assert page.locator("#points circle").count() == 30
        assert page.locator("noscript").count() == 1
        assert page.locator(".live").is_hidden()
        assert page.locator("#map-controls").is_hidden()
