"""From a folder of class folders to a folder of generated images, from Python.

    python examples/folder_to_folder.py PHOTOS SYNTHETIC --per-class 200

PHOTOS/<class>/*.png (or .jpg, ...) are read by torchvision's ImageFolder, and so can SYNTHETIC be.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from torchvision.datasets import ImageFolder

from vae_augment import FitConfig, export, fit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="folder with one folder of images per class")
    parser.add_argument("synthetic", type=Path, help="new folder for the generated images")
    parser.add_argument("--per-class", type=int, default=200)
    parser.add_argument("--preset", default="default", choices=["fast", "default", "best"])
    parser.add_argument("--steps", type=int, help="training steps; default: the preset's")
    options = parser.parse_args()

    bank = fit(ImageFolder(options.photos), config=FitConfig(preset=options.preset, steps=options.steps))
    bank.save(options.synthetic.with_suffix(".safetensors"))
    for info in bank.class_infos:
        print(f"{info.name}: {info.images} images, reconstruction RMSE {info.rmse:.3f}, {info.status}")
    done = export(bank, options.synthetic, per_class=options.per_class)
    print(f"{done.total} images written to {done.folder}")


if __name__ == "__main__":
    main()
