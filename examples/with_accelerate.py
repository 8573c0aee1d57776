"""An Accelerate loop on 300 MNIST digits, seeded: Accelerate itself tells the dataset which epoch it is.

    pip install vae-augment accelerate
    accelerate launch --cpu examples/with_accelerate.py     # or: python examples/with_accelerate.py

Nothing is downloaded: the digits come with the package. The first run fits a bank, later ones find it in the cache.
"""

import argparse
from itertools import islice

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.utils.data import DataLoader, random_split
from torchvision.transforms import ToTensor

from vae_augment import VAEAugmentedDataset
from vae_augment.mnist_sample import MNISTSample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200, help="training steps")
    steps = parser.parse_args().steps

    set_seed(0)
    accelerator = Accelerator()
    train_ds, _ = random_split(MNISTSample(transform=ToTensor()), [300, 4700])
    test_ds = MNISTSample(train=False, transform=ToTensor())

    with accelerator.main_process_first():  # one process fits, the others find the bank in the cache
        train_ds = VAEAugmentedDataset(train_ds, seed=0)  # the line to add

    loader = DataLoader(train_ds, batch_size=50, shuffle=True, num_workers=2, persistent_workers=True)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps * accelerator.num_processes)
    model, optimizer, loader, schedule = accelerator.prepare(model, optimizer, loader, schedule)
    forever = (batch for _ in range(steps) for batch in loader)
    for images, labels in islice(forever, steps):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
        schedule.step()

    test_loader = accelerator.prepare(DataLoader(test_ds, batch_size=500))
    with torch.no_grad():
        right = [accelerator.gather_for_metrics(model(x).argmax(1) == y) for x, y in test_loader]
    accuracy = 100 * torch.cat(right).float().mean().item()
    accelerator.print(f"after {steps} steps: loss {loss.item():.3f}, test accuracy {accuracy:.1f} %")


if __name__ == "__main__":
    main()
