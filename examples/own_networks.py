"""Your own encoder and decoder in place of ours: two layers, convolutions with BatchNorm, or an encoder from timm.

    pip install vae-augment timm
    python examples/own_networks.py --networks convolutions

Nothing is downloaded: the digits come with the package. `fit` trains the networks of each class, and the bank's file
holds their weights and no code: whoever loads it gives the same function again.
"""

import argparse
import math

import torch
from torch import nn

from vae_augment import FitConfig, VAEAugmentedDataset, VAEBank, fit
from vae_augment.mnist_sample import MNISTSample


class Encoder(nn.Module):
    """A body that gives features, and a layer that makes a mean and a log-variance of them."""

    def __init__(self, body: nn.Module, features: int, latent_dim: int) -> None:
        super().__init__()
        self.body, self.out = body, nn.Linear(features, 2 * latent_dim)

    def forward(self, images):
        mean, logvar = self.out(self.body(images)).chunk(2, dim=1)
        return mean, logvar


def two_layers(image_shape, latent_dim):
    values = math.prod(image_shape)
    body = nn.Sequential(nn.Flatten(), nn.Linear(values, 256), nn.ReLU())
    decoder = nn.Sequential(
        nn.Linear(latent_dim, 256), nn.ReLU(), nn.Linear(256, values), nn.Sigmoid(), nn.Unflatten(1, image_shape)
    )
    return Encoder(body, 256, latent_dim), decoder


def decoder_of_convolutions(image_shape, latent_dim):
    channels, height, width = image_shape
    grid = (64, math.ceil(height / 4), math.ceil(width / 4))
    return nn.Sequential(
        *(nn.Linear(latent_dim, math.prod(grid)), nn.Unflatten(1, grid), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.ConvTranspose2d(32, channels, 4, stride=2, padding=1), nn.Sigmoid()),
        nn.AdaptiveAvgPool2d((height, width)),  # sides that 4 does not divide
    )


def convolutions(image_shape, latent_dim):
    channels, height, width = image_shape
    body = nn.Sequential(
        *(nn.Conv2d(channels, 32, 4, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 4, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.Flatten()),
    )
    return Encoder(body, 64 * (height // 4) * (width // 4), latent_dim), decoder_of_convolutions(
        image_shape, latent_dim
    )


def from_timm(image_shape, latent_dim):
    import timm

    body = timm.create_model("resnet10t", pretrained=False, in_chans=image_shape[0], num_classes=0)
    return Encoder(body, body.num_features, latent_dim), decoder_of_convolutions(image_shape, latent_dim)


NETWORKS = {"two-layers": two_layers, "convolutions": convolutions, "timm": from_timm}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", choices=NETWORKS, default="two-layers")
    parser.add_argument("--steps", type=int, default=200, help="of each class's networks")
    parser.add_argument("--out", default="own.safetensors")
    options = parser.parse_args()

    torch.manual_seed(0)
    digits = MNISTSample()
    few = torch.randperm(len(digits))[:300]
    digits.data, digits.targets = digits.data[few], digits.targets[few]

    networks = NETWORKS[options.networks]
    bank = fit(digits, networks=networks, config=FitConfig(steps=options.steps))
    bank.save(options.out)
    bank = VAEBank.load(options.out, networks=networks)
    bank.show().save("own.png")

    train_ds = VAEAugmentedDataset(digits, bank)
    error = sum(info.rmse for info in bank.class_infos) / len(bank.classes)
    print(f"{bank}: error of reconstructions {error:.3f}, {len(train_ds)} items")


if __name__ == "__main__":
    main()
