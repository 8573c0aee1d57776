"""A plain PyTorch loop on 300 MNIST digits, seeded: every run sees the same synthetic images, each epoch new ones.

    pip install vae-augment
    python examples/plain_pytorch.py

Nothing is downloaded: the digits come with the package. The first run fits a bank, later ones find it in the cache.
"""

import argparse
from itertools import islice

import torch
from torch import nn
from torch.utils.data import DataLoader, random_split
from torchvision.transforms import ToTensor

from vae_augment import VAEAugmentedDataset
from vae_augment.mnist_sample import MNISTSample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200, help="training steps")
    steps = parser.parse_args().steps

    torch.manual_seed(0)
    train_ds, _ = random_split(MNISTSample(transform=ToTensor()), [300, 4700])
    test_ds = MNISTSample(train=False, transform=ToTensor())

    train_ds = VAEAugmentedDataset(train_ds, seed=0)  # the line to add

    loader = DataLoader(train_ds, batch_size=50, shuffle=True, num_workers=2, persistent_workers=True)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    step = 0
    while step < steps:
        train_ds.set_epoch(step // len(loader))  # only with seed=: draw the synthetic images anew
        for images, labels in islice(loader, steps - step):
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1

    with torch.no_grad():
        hits = sum(int((model(x).argmax(1) == y).sum()) for x, y in DataLoader(test_ds, batch_size=500))
    print(f"after {step} steps: loss {loss.item():.3f}, test accuracy {100 * hits / len(test_ds):.1f} %")


if __name__ == "__main__":
    main()
