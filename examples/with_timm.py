"""timm's data loader, transforms and model on 300 MNIST digits: create_loader sets the dataset's transform as ever.

    pip install vae-augment timm
    python examples/with_timm.py

Nothing is downloaded: the digits come with the package. The first run fits a bank, later ones find it in the cache.
"""

import argparse
from itertools import islice

import timm
import torch
from timm.data import create_loader
from timm.optim import create_optimizer_v2
from timm.utils import accuracy

from vae_augment import VAEAugmentedDataset
from vae_augment.mnist_sample import MNISTSample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100, help="training steps")
    parser.add_argument("--prefetcher", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()

    torch.manual_seed(0)
    train_ds, test_ds = MNISTSample(), MNISTSample(train=False)
    few = torch.randperm(len(train_ds))[:300]
    train_ds.data, train_ds.targets = train_ds.data[few], train_ds.targets[few]

    train_ds = VAEAugmentedDataset(train_ds)  # the line to add

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pixels = {"input_size": (1, 32, 32), "mean": (0.13,), "std": (0.31,), "crop_pct": 1.0}
    common = {**pixels, "num_workers": 2, "use_prefetcher": options.prefetcher, "device": device}
    crops = {"scale": (0.7, 1.0), "hflip": 0.0, "color_jitter": None}
    train_loader = create_loader(train_ds, batch_size=50, is_training=True, **crops, **common)
    test_loader = create_loader(test_ds, batch_size=250, **common)
    model = timm.create_model("resnet10t", pretrained=False, in_chans=1, num_classes=10).to(device)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3)
    forever = (batch for _ in range(options.steps) for batch in train_loader)
    for images, labels in islice(forever, options.steps):
        loss = torch.nn.functional.cross_entropy(model(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    with torch.no_grad():
        hits = [accuracy(model.eval()(x.to(device)), y.to(device))[0].item() for x, y in test_loader]
    print(f"after {options.steps} steps: loss {loss.item():.3f}, test accuracy {sum(hits) / len(hits):.1f} %")


if __name__ == "__main__":
    main()
