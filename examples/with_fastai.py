"""fastai with a wrapped dataset: 300 MNIST digits.

    pip install vae-augment fastai
    python examples/with_fastai.py

Nothing is downloaded: the digits come with the package.
"""

import argparse

import torch
from fastai.vision.all import CrossEntropyLossFlat, DataLoaders, Learner, accuracy
from torch.utils.data import Subset
from torchvision.transforms import ToTensor

from vae_augment import VAEAugmentedDataset
from vae_augment.mnist_sample import MNISTSample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()

    digits, test = (MNISTSample(train=train, transform=ToTensor()) for train in (True, False))
    few = Subset(digits, torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))[:300].tolist())
    train = VAEAugmentedDataset(few)  # the line to add; the first use fits a bank, which takes a minute
    loaders = DataLoaders.from_dsets(train, test, bs=64, num_workers=0)
    layers = [torch.nn.Conv2d(1, 16, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    layers += [torch.nn.Conv2d(16, 32, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(800, 10))
    learner = Learner(loaders, model, loss_func=CrossEntropyLossFlat(), metrics=accuracy)
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(options.epochs, 1e-2)
    print(f"after {options.epochs} epochs: test accuracy {100 * learner.validate()[1]:.1f} %")


if __name__ == "__main__":
    main()
