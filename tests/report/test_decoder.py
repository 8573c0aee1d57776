"""decoder.js in a browser gives what the bank gives."""

import json
import re
from dataclasses import replace

import pytest
import torch

from tests.conftest import CONFIG, Shapes
from tests.random_banks import random_bank
from vae_augment import VAEBank, fit
from vae_augment.config import MAX_SIDE, MIN_SIDE
from vae_augment.images.tensors import match_channels, to_uint8
from vae_augment.model.conv_vae import ConvVAE
from vae_augment.report.decoder_payload import decoder_payload, decoder_script, payload_bytes

LATENTS = 3  # a class
# An image's shape, latent_dim, width.
SHAPES = [
    ((1, 28, 28), 16, 32),
    ((3, 32, 32), 5, 8),
    ((3, 12, 20), 5, 8),
    ((1, 8, 8), 1, 8),
    ((4, 17, 9), 5, 16),
    ((2, 31, 16), 5, 8),
    ((5, 16, 16), 5, 32),
    ((3, 64, 64), 24, 48),
    ((1, MIN_SIDE, MAX_SIDE), 5, 8),
    ((3, MAX_SIDE, 33), 5, 8),
]


@pytest.fixture
def opened(page):
    """Opens a page with the script and `vae`, the decoder of a payload."""

    def opened(payload):
        page.goto("about:blank")
        page.add_script_tag(content=decoder_script())
        page.evaluate("text => { window.vae = new VAEDecoder(JSON.parse(text)); }", json.dumps(payload))
        return page

    return opened


def check_images(page, bank, rows, tolerance=1e-5):
    """The page's decoder gives what the bank gives of random latents of the classes `rows`."""
    z = 2 * torch.randn(len(rows), LATENTS, bank.latent_dim, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([bank.class_infos[row].label for row in rows]).repeat_interleave(LATENTS)
    wanted = bank.decode(z.flatten(0, 1), labels).view(len(rows), LATENTS, -1)
    assert wanted.std() > 0.02
    script = "z => z.map((some, row) => some.map(one => Array.from(vae.decode(row, Float32Array.from(one)))))"
    torch.testing.assert_close(torch.tensor(page.evaluate(script, z.tolist())), wanted, rtol=0, atol=tolerance)


def check_weights(page, bank, rows, tolerance):
    stored = bank.content.weights.params(rows, "decoder.")
    for name, tensor in stored.items():
        script = f"rows => rows.map(row => Array.from(vae.weightsOf(row)['{name.removeprefix('decoder.')}']))"
        found = torch.tensor(page.evaluate(script, list(range(len(rows)))))
        torch.testing.assert_close(found, tensor.flatten(1), rtol=tolerance, atol=tolerance)


# ---- the images ----


@pytest.mark.parametrize(("shape", "latent_dim", "width"), SHAPES)
def test_images_are_the_banks(opened, shape, latent_dim, width):
    bank = random_bank(shape, latent_dim=latent_dim, width=width)
    check_images(opened(decoder_payload(bank, range(3))), bank, [0, 1, 2])


@pytest.mark.parametrize("tuned", [True, False])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 48), (3, 12, 20), (4, 17, 9)])
def test_images_of_a_bank_with_components_are_too(opened, shape, tuned):
    bank = random_bank(shape, latent_dim=6, components=4, tuned=tuned)
    payload = decoder_payload(bank, [2, 0])
    assert len(json.dumps(payload)) <= payload_bytes(bank, [2, 0])
    check_images(opened(payload), bank, [2, 0])
    check_weights(opened(payload), bank, [2, 0], 1e-6)


@pytest.mark.parametrize(("shape", "latent_dim", "width"), SHAPES[:3])
def test_images_of_a_bank_without_a_start_are_too(opened, shape, latent_dim, width):
    bank = random_bank(shape, latent_dim=latent_dim, width=width, tuned=False)
    check_images(opened(decoder_payload(bank, range(3))), bank, [0, 1, 2])


def test_images_of_a_bank_that_was_fitted_and_saved_are_too(opened, bank_path):
    bank = VAEBank.load(bank_path)
    check_images(opened(decoder_payload(bank, range(3))), bank, [0, 1, 2])


def test_values_of_patches_go_to_the_models_pixels(opened):
    generator = torch.Generator().manual_seed(0)
    sides = torch.randint(MIN_SIDE, MAX_SIDE // 2, (20, 2), generator=generator).tolist()
    heads = []
    for height, width in [*sides, (MAX_SIDE, MIN_SIDE), (MAX_SIDE, MAX_SIDE)]:
        vae = ConvVAE((1, height, width), 1)
        names = ("image_shape", "patch", "stages", "grid", "padding")
        heads.append({"raising": [], **{name: getattr(vae, name) for name in names}})
    found = opened(heads[0]).evaluate("heads => heads.map(head => Array.from(new VAEDecoder(head).pixels))", heads)
    for head, pixels in zip(heads, found, strict=True):
        assert pixels == ConvVAE(head["image_shape"], 1).pixels_of_patches().tolist(), head


# ---- the weights ----


def test_weights_are_those_that_the_bank_keeps(opened):
    bank = random_bank((3, 12, 20))
    check_weights(opened(decoder_payload(bank, [2, 0])), bank, [2, 0], 1e-6)


def test_every_number_of_half_precision_is_read_exactly(opened):
    bank = random_bank((1, 28, 28), latent_dim=16, width=32, tuned=False)
    bits = torch.arange(2**16, dtype=torch.int32).to(torch.int16)
    finite = bits.view(torch.float16)[torch.isfinite(bits.view(torch.float16))]
    values = bank.content.weights.values
    decoder = [name.startswith("decoder.") for name in bank.vae.shapes]
    sizes = torch.tensor([len(bank.content.weights.params([0], name)[name].flatten()) for name in bank.vae.shapes])
    chosen = torch.tensor(decoder).repeat_interleave(sizes)
    count = len(values) * int(chosen.sum())
    assert count > len(finite) == 2**16 - 2**11
    values[:, chosen] = finite.repeat(2)[:count].view(len(values), -1)
    check_weights(opened(decoder_payload(bank, range(3))), bank, [0, 1, 2], 0)


def test_classes_of_two_starts_and_in_any_order(opened, bank):
    other = fit(Shapes(seed=3), config=CONFIG, seed=4, progress=False).subset(["down", "slanted"])
    both = VAEBank.merge(bank.subset(["across"]), other)
    payload = decoder_payload(both, [2, 0, 1])
    assert (len(payload["bases"]), [c["base"] for c in payload["classes"]]) == (2, [1, 0, 1])
    check_images(opened(payload), both, [2, 0, 1])
    fewer = decoder_payload(both, [1])
    assert (len(fewer["bases"]), [c["base"] for c in fewer["classes"]]) == (1, [0])
    check_images(opened(fewer), both, [1])


def test_classes_with_and_without_a_start(opened, bank):
    other = fit(Shapes(seed=3), config=replace(CONFIG, sharing="none"), progress=False).subset(["down"])
    both = VAEBank.merge(bank.subset(["across"]), other)
    payload = decoder_payload(both, [0, 1])
    assert payload["bases"] == []
    check_images(opened(payload), both, [0, 1])


def test_few_classes_stay_expanded_and_none_is_taken_for_another(opened):
    bank = random_bank((1, 8, 8), classes=7)
    page = opened(decoder_payload(bank, range(7)))
    for _ in range(2):
        check_images(page, bank, list(range(7)))
    assert page.evaluate("[...vae.classes.keys()]") == [3, 4, 5, 6]
    page.evaluate("vae.decode(4, [0, 0, 0, 0, 0]); vae.decode(0, [0, 0, 0, 0, 0])")
    assert page.evaluate("[...vae.classes.keys()]") == [5, 6, 4, 0]


# ---- what a caller gets wrong ----


@pytest.mark.parametrize("row", [-1, 3, 0.5])
def test_a_class_that_is_not_there(opened, row):
    payload = decoder_payload(random_bank((1, 8, 8)), range(3))
    with pytest.raises(Exception, match=re.escape(f"row must be a whole number below 3, got {row}.")):
        opened(payload).evaluate(f"vae.decode({row}, new Float32Array(5))")


def test_latents_of_another_length(opened):
    payload = decoder_payload(random_bank((1, 8, 8)), range(3))
    with pytest.raises(Exception, match=re.escape("z must have 5 numbers, got 4.")):
        opened(payload).evaluate("vae.decode(0, new Float32Array(4))")


@pytest.mark.parametrize("function", [decoder_payload, payload_bytes])
@pytest.mark.parametrize("row", [-1, 3])
def test_a_row_that_the_bank_has_not(bank, function, row):
    with pytest.raises(ValueError, match=rf"rows must be positions among the bank's 3 classes, got {row}\."):
        function(bank, [0, row])


# ---- painting ----


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_pixels_are_shown_as_our_pictures_show_them(opened, channels):
    image = torch.randint(0, 256, (channels, 9, 12), generator=torch.Generator().manual_seed(0)) / 255
    page = opened(decoder_payload(random_bank((channels, 9, 12)), [0]))
    found = page.evaluate("pixels => Array.from(vae.rgba(Float32Array.from(pixels)))", image.flatten().tolist())
    wanted = to_uint8(match_channels(image, 4)).permute(1, 2, 0)
    assert torch.equal(torch.tensor(found, dtype=torch.uint8).view(9, 12, 4), wanted)


def test_a_canvas_gets_the_image_and_its_size(opened):
    bank = random_bank((3, 12, 20))
    page = opened(decoder_payload(bank, [0, 1]))
    size, found = page.evaluate(
        """z => {
            const canvas = document.createElement("canvas");
            vae.paint(vae.decode(0, z), canvas);
            vae.paint(vae.decode(1, z), canvas);
            const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            return [[canvas.height, canvas.width], Array.from(data)];
        }""",
        [1.0, -1.0, 0.5, 0.0, 2.0],
    )
    decoded = bank.decode(torch.tensor([[1.0, -1.0, 0.5, 0.0, 2.0]]), torch.tensor([1]))[0]
    wanted = to_uint8(match_channels(decoded, 4)).permute(1, 2, 0)
    assert size == [12, 20]
    assert (torch.tensor(found).view(12, 20, 4) - wanted.int()).abs().max() <= 1


# ---- what it takes ----


@pytest.mark.parametrize("tuned", [True, False])
@pytest.mark.parametrize("rows", [[], [1], [2, 0, 1, 3, 4, 5, 6, 7, 8, 9, 10]])
def test_the_bytes_of_a_payload_are_told_before_it_is_made(tuned, rows):
    bank = random_bank((3, 12, 20), classes=11, tuned=tuned)
    taken = len(json.dumps(decoder_payload(bank, rows)))
    assert taken <= payload_bytes(bank, rows) <= taken + 4 * (len(rows) + 1)


def test_a_hundred_classes_of_digits_take_less_than_4_mb():
    bank = random_bank((1, 28, 28), latent_dim=16, width=32, classes=2)
    one, two = (payload_bytes(bank, range(classes)) for classes in (1, 2))
    assert one + 99 * (two - one) < 4e6


def test_the_script_is_one_that_a_page_may_hold():
    script = decoder_script()
    assert script.isascii()
    assert len(script.splitlines()) < 250
    assert "</script" not in script.lower()
    assert not re.search(r"\b(eval|Function|fetch|XMLHttpRequest|import|require|Float16Array)\b", script)
