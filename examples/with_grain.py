"""Grain, JAX's library for data, with a wrapped dataset: 300 MNIST digits.

    pip install "vae-augment[report]" grain
    python examples/with_grain.py

Nothing is downloaded: the digits come with the package. Batches are NumPy arrays, for JAX or any other library; here a
network of scikit-learn learns from them.
"""

import argparse

import grain
import numpy as np
import torch
from sklearn.neural_network import MLPClassifier
from torch.utils.data import Subset

from vae_augment import VAEAugmentedDataset
from vae_augment.mnist_sample import MNISTSample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()

    digits, test = MNISTSample(), MNISTSample(train=False)
    few = Subset(digits, torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))[:300].tolist())
    train = VAEAugmentedDataset(few)  # the line to add; the first use fits a bank, which takes a minute
    batches = grain.MapDataset.source(train).shuffle(seed=0).repeat(options.epochs)
    batches = batches.map(lambda item: (np.asarray(item[0], np.float32) / 255, item[1])).batch(50)
    model = MLPClassifier(256, random_state=0)
    for images, labels in batches:  # float32 [50, 28, 28], int64 [50]
        model.partial_fit(images.reshape(len(images), -1), labels, classes=range(10))
    accuracy = model.score(test.data.numpy().reshape(len(test), -1) / 255, test.targets.numpy())
    print(f"after {options.epochs} epochs: test accuracy {100 * accuracy:.1f} %")


if __name__ == "__main__":
    main()
