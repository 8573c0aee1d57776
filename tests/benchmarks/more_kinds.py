"""Archives of four kinds that the policy's rule was not made from: printed letters, emoji, faces and rough surfaces.

    python -m tests.benchmarks.more_kinds --fonts DIR --emoji DIR --samples DIR --out DIR

Letters are A to Z in every font file below a folder, training and test fonts of different families (Debian's font
packages, unpacked). Emoji are those of seven categories of the npm package emoji-datasource-twitter 16,
unpacked. Faces, beside things that are none, and surfaces are cut from the sample images of scikit-image 0.16's wheel,
unpacked: train and test patches of a surface are of different halves of its picture, with noise. Each is written to
OUT/NAME/NAME.npz, which `tests.benchmarks.kinds` reads.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
NO_LETTERS = ("math", "symbol", "dingbat", "ornament", "d05", "emoji", "backup", "outline")  # in names of font files
CATEGORIES = (
    *("Animals & Nature", "Food & Drink", "Objects", "Travel & Places"),
    *("Activities", "Smileys & Emotion", "Symbols"),
)
SURFACES = ("brick", "grass", "gravel", "moon", "coins", "page")
FACES_TRAINED, PATCHES = 110, 100

Array = np.ndarray[Any, Any]
Parts = tuple[Array, Array, Array, Array]  # images and labels of training and test


def glyph(font: Path, letter: str) -> Array | None:
    """A letter white on black, its longer side 24 pixels: uint8 [32, 32]; None if the font has none to see."""
    drawn = ImageFont.truetype(str(font), 24)
    left, top, right, bottom = drawn.getbbox(letter)
    width, height = int(right - left), int(bottom - top)
    if width < 2 or height < 6:
        return None
    image = Image.new("L", (64, 64), 0)
    ImageDraw.Draw(image).text((16 - left, 16 - top), letter, font=drawn, fill=255)
    sides = [max(1, round(side * 24 / max(width, height))) for side in (width, height)]
    image = image.crop((16, 16, 16 + width, 16 + height)).resize((sides[0], sides[1]), Image.Resampling.LANCZOS)
    whole = Image.new("L", (32, 32), 0)
    whole.paste(image, ((32 - image.width) // 2, (32 - image.height) // 2))
    return np.array(whole)


def letters(fonts: Path, draws: np.random.Generator) -> Parts:
    found, families = [], []
    for path in sorted(path for ending in ("ttf", "otf") for path in fonts.rglob(f"*.{ending}")):
        if any(name in str(path).lower() for name in NO_LETTERS):
            continue
        try:
            glyphs = [glyph(path, letter) for letter in LETTERS]
        except OSError:
            continue
        seen = [each for each in glyphs if each is not None and each.max() >= 100]
        if len({each.tobytes() for each in seen}) == len(LETTERS):
            found.append(np.stack(seen))
            families.append(path.parent.name + path.name.split("-")[0][:5])
    names = sorted(set(families))
    draws.shuffle(names)
    held_out = np.isin(families, names[: len(names) // 2])
    sheets = np.stack(found)  # [F, 26, 32, 32]
    labels = np.arange(len(LETTERS))
    parts = [(sheets[part].reshape(-1, 32, 32), np.tile(labels, part.sum())) for part in (~held_out, held_out)]
    return (*parts[0], *parts[1])


def emoji(package: Path, draws: np.random.Generator) -> Parts:
    images, labels = [], []
    for each in json.loads((package / "emoji.json").read_text()):
        if each["category"] in CATEGORIES and each.get("has_img_twitter"):
            icon = Image.open(package / "img" / "twitter" / "64" / each["image"]).convert("RGBA")
            ground = Image.new("RGBA", icon.size, (255, 255, 255, 255))
            ground.alpha_composite(icon)
            images.append(np.array(ground.convert("RGB").resize((48, 48), Image.Resampling.LANCZOS)))
            labels.append(CATEGORIES.index(each["category"]))
    return _split(np.stack(images), np.array(labels), draws, len(images) // 2)


def faces(samples: Path, draws: np.random.Generator) -> Parts:
    images = np.load(samples / "lfw_subset.npy")
    return _split((images * 255 / images.max()).round().astype("uint8"), np.repeat([0, 1], 100), draws, FACES_TRAINED)


def surfaces(samples: Path, draws: np.random.Generator) -> Parts:
    found: list[Array] = []
    for part in ("train", "test"):
        patches = [patch for name in SURFACES for patch in _patches(samples / f"{name}.png", part, draws)]
        found += [np.stack(patches), np.repeat(np.arange(len(SURFACES)), PATCHES)]
    return found[0], found[1], found[2], found[3]


def _patches(path: Path, part: str, draws: np.random.Generator) -> list[Array]:
    """Patches of the left half of a picture, or of its right one, of the same mean and contrast, in noise."""
    whole = np.array(Image.open(path).convert("L").resize((384, 384), Image.Resampling.LANCZOS))
    half = whole[:, :192] if part == "train" else whole[:, 192:]
    patches = []
    for _ in range(PATCHES):
        top, left = draws.integers(0, half.shape[0] - 32), draws.integers(0, half.shape[1] - 32)
        patch = half[top : top + 32, left : left + 32].astype(float)
        patch = (patch - patch.mean()) / (patch.std() + 1e-6) * 40 + 128 + draws.normal(0, 10)
        patches.append((patch + draws.normal(0, 25, patch.shape)).clip(0, 255).astype("uint8"))
    return patches


def _split(images: Array, labels: Array, draws: np.random.Generator, trained: int) -> Parts:
    order = draws.permutation(len(labels))
    train, test = order[:trained], order[trained:]
    return images[train], labels[train], images[test], labels[test]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("fonts", "emoji", "samples", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    made = {
        "letters": letters(options.fonts, np.random.default_rng(0)),
        "emoji": emoji(options.emoji, np.random.default_rng(0)),
        "faces": faces(options.samples, np.random.default_rng(0)),
        "surfaces": surfaces(options.samples, np.random.default_rng(0)),
    }
    for name, parts in made.items():
        (options.out / name).mkdir(parents=True, exist_ok=True)
        arrays = dict(zip(("x_train", "y_train", "x_test", "y_test"), parts, strict=True))
        np.savez_compressed(options.out / name / f"{name}.npz", **arrays)
        print(name, *(array.shape for array in parts))


if __name__ == "__main__":
    main()
