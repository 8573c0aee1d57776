"""webdataset on tar files that `augment` writes: 300 MNIST digits and four augmented copies of each.

    pip install vae-augment webdataset
    python examples/with_webdataset.py

Nothing is downloaded: the digits come with the package.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import webdataset as wds
from torch.utils.data import Subset
from torchvision.transforms import ToTensor

from vae_augment import augment, fit
from vae_augment.mnist_sample import MNISTSample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100, help="training steps")
    options = parser.parse_args()

    digits = MNISTSample()
    few = Subset(digits, torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))[:300].tolist())
    with TemporaryDirectory() as folder:
        augment(few, fit(few), folder, copies=4, format="webdataset")  # the line to add
        tars = sorted(map(str, Path(folder).glob("*.tar")))
        train = wds.WebDataset(tars, shardshuffle=False).shuffle(500).decode("pill").to_tuple("png", "cls")
        loader = wds.WebLoader(train.map_tuple(ToTensor(), int).batched(64), batch_size=None, num_workers=1).repeat()
        model = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(784, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _, (images, labels) in zip(range(options.steps), loader, strict=False):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"after {options.steps} steps: loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
