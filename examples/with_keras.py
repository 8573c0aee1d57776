"""Keras on files that `augment` writes: 300 MNIST digits and eight augmented copies of each, with PyTorch behind Keras.

    pip install vae-augment keras grain
    python examples/with_keras.py

Nothing is downloaded: the digits come with the package.
"""

import argparse
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras
from torch.utils.data import Subset

from vae_augment import augment, fit
from vae_augment.mnist_sample import MNISTSample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3, help="of the copies")
    options = parser.parse_args()

    digits, test = MNISTSample(), MNISTSample(train=False)
    few = Subset(digits, torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))[:300].tolist())
    with TemporaryDirectory() as folder:
        augment(few, fit(few), Path(folder) / "train", copies=8, real=True)  # the line to add
        files = {"color_mode": "grayscale", "image_size": (28, 28), "batch_size": 64, "format": "grain"}
        train = keras.utils.image_dataset_from_directory(Path(folder) / "train", seed=0, **files)
        layers = [keras.layers.Rescaling(1 / 255)]
        for channels in (16, 32):
            layers += [keras.layers.Conv2D(channels, 3, activation="relu"), keras.layers.MaxPooling2D()]
        model = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(10)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss=loss, metrics=["accuracy"])
        model.fit(train, epochs=options.epochs, verbose=0)
    accuracy = model.evaluate(test.data.numpy()[..., None], test.targets.numpy(), verbose=0)[1]
    print(f"after {options.epochs} epochs: test accuracy {100 * accuracy:.1f} %")


if __name__ == "__main__":
    main()
