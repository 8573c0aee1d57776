"""A LightningModule trained on 300 MNIST digits: the dataset is wrapped where the LightningDataModule makes it.

    pip install vae-augment lightning
    python examples/with_lightning.py

Nothing is downloaded: the digits come with the package. The first run fits a bank, later ones find it in the cache.
"""

import argparse

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, random_split
from torchvision.transforms import ToTensor

from vae_augment import VAEAugmentedDataset
from vae_augment.mnist_sample import MNISTSample


class Digits(lightning.LightningDataModule):
    def setup(self, stage: str) -> None:
        train_ds, _ = random_split(MNISTSample(transform=ToTensor()), [300, 4700], torch.Generator().manual_seed(0))
        self.train_ds = VAEAugmentedDataset(train_ds)  # the line to add

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train_ds, batch_size=50, shuffle=True, num_workers=2, persistent_workers=True)


class Classifier(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))

    def training_step(self, batch, index):
        loss = nn.functional.cross_entropy(self.model(batch[0]), batch[1])
        self.log("loss", loss, prog_bar=True)
        return loss

    def test_step(self, batch, index):
        self.log("test accuracy", (self.model(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200, help="training steps")
    steps = parser.parse_args().steps
    trainer = lightning.Trainer(max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False)
    model, test_ds = Classifier(), MNISTSample(train=False, transform=ToTensor())
    trainer.fit(model, Digits())
    print(f"after {steps} steps: loss {trainer.callback_metrics['loss']:.3f}")
    trainer.test(model, DataLoader(test_ds, batch_size=500))


if __name__ == "__main__":
    main()
