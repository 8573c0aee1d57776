"""What decoder.js takes in a headless Chromium: bytes a class, and milliseconds a frame, decoded and painted.

    python -m tests.benchmarks.live_decoder

Weights are random. A class's first frame reads its weights out of base64, too.
"""

from __future__ import annotations

import json
from statistics import median

from tabulate import tabulate

from tests.browser import Browser, chromium
from tests.random_banks import random_bank
from vae_augment.config import PRESETS
from vae_augment.report.decoder_payload import decoder_payload, decoder_script, payload_bytes

CLASSES, FRAMES = 10, 200
# A preset and the image it models: MNIST, and photographs of its largest size.
MODELS = [
    ("default", (1, 28, 28)),
    ("best", (1, 28, 28)),
    *((preset, (3, options["image_size"], options["image_size"])) for preset, options in PRESETS.items()),
]
# A page's clock ticks every 0.1 ms, so frames are timed five at a time.
SCRIPT = """([text, frames]) => {
    const vae = new VAEDecoder(JSON.parse(text));
    const canvas = document.body.appendChild(document.createElement("canvas"));
    const z = new Float32Array(vae.latentDim);
    const timed = (row, count) => {
        const start = performance.now();
        for (let i = 0; i < count; i++) {
            for (let l = 0; l < z.length; l++) z[l] = 4 * Math.random() - 2;
            vae.paint(vae.decode(row, z), canvas);
        }
        return (performance.now() - start) / count;
    };
    const first = vae.payload.classes.map((_, row) => timed(row, 1));
    const rest = Array.from({ length: frames / 5 }, () => timed(0, 5));
    return [first, rest];
}"""


def measure(browser: Browser, preset: str, shape: tuple[int, int, int]) -> list[object]:
    options = PRESETS[preset]
    bank = random_bank(shape, latent_dim=options["latent_dim"], width=options["width"], classes=CLASSES)
    one, two = payload_bytes(bank, [0]), payload_bytes(bank, [0, 1])
    with browser.page() as page:
        page.add_script_tag(content=decoder_script())
        first, rest = page.evaluate(SCRIPT, [json.dumps(decoder_payload(bank, range(CLASSES))), FRAMES])
    each = two - one
    name = f"{preset}, {'x'.join(map(str, shape))}"
    return [name, each / 1e3, (one + 99 * each) / 1e6, first[0], median(first[1:]), median(rest), max(rest)]


def main() -> None:
    executable = chromium()
    if executable is None:
        raise SystemExit("no Chromium was found; VAE_AUGMENT_CHROMIUM may name one.")
    browser = Browser(executable)
    headers = [
        "preset, image",
        "KB a class",
        "MB, 100 classes",
        "very first frame, ms",
        "a class's first, ms",
        "others, median, ms",
        "slowest of these, ms",
    ]
    rows = [measure(browser, preset, shape) for preset, shape in MODELS]
    browser.close()
    print(tabulate(rows, headers, tablefmt="github", floatfmt=".3g"))


if __name__ == "__main__":
    main()
