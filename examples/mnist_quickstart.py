"""A CNN trained on a few MNIST digits a class, without and with VAEAugmentedDataset: prints both test accuracies.

    python examples/mnist_quickstart.py

The images come from the sample inside the package, so that nothing is downloaded. Fitting takes most of the time; a
second run finds the bank in the cache.
"""

from __future__ import annotations

import argparse
from itertools import islice

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import transforms

from vae_augment import VAEAugmentedDataset
from vae_augment.mnist_sample import MNISTSample


def small_cnn() -> nn.Sequential:
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*block(1, 16), *block(16, 32), *block(32, 64), nn.Flatten(), nn.Linear(64 * 9, 10))


def train(dataset, steps: int) -> nn.Sequential:
    torch.manual_seed(0)
    model, loader = small_cnn(), DataLoader(dataset, batch_size=64, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    forever = (batch for _ in range(steps) for batch in loader)
    for images, labels in islice(forever, steps):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, dataset) -> float:
    hits = sum(int((model(x).argmax(1) == y).sum()) for x, y in DataLoader(dataset, batch_size=500))
    return 100 * hits / len(dataset)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--per-class", type=int, default=10, help="training images of each digit")
    parser.add_argument("--steps", type=int, default=600, help="training steps of the CNN")
    options = parser.parse_args()
    everything = MNISTSample(train=True, transform=transforms.ToTensor())
    few = [i for k in range(10) for i in (everything.targets == k).nonzero()[: options.per_class, 0].tolist()]
    train_ds, test_ds = Subset(everything, few), MNISTSample(train=False, transform=transforms.ToTensor())

    augmented_ds = VAEAugmentedDataset(train_ds)  # the line to add

    print(f"{options.per_class} images a class, {len(test_ds)} test images, {options.steps} steps")
    print(f"test accuracy without: {accuracy(train(train_ds, options.steps), test_ds):.1f} %")
    print(f"test accuracy with:    {accuracy(train(augmented_ds, options.steps), test_ds):.1f} %")


if __name__ == "__main__":
    main()
