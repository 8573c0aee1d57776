"""The textbook VAE of MNIST by our API: the first test image's sum of pixels before and after, by three models.

    python examples/tutorial_mnist.py

Pixels are in 0..1. The first model is the textbook's: one VAE of all digits, 2 latent dimensions, 3 epochs of batches
of 64. The second trains one such VAE for each digit, 3 epochs of its own images; the third is our default. MNIST is
looked for in $VAE_AUGMENT_DATA and ./data; without it and without a network the sample inside the package serves.
"""

from __future__ import annotations

from math import ceil

import torch

from vae_augment import FitConfig, VAEBank, fit
from vae_augment.data import open_data
from vae_augment.images.conversion import to_tensor
from vae_augment.images.tensors import to_float

EPOCHS, BATCH, LATENT_DIM = 3, 64, 2


def textbook(images: int) -> FitConfig:
    """Of a VAE of so many images."""
    steps = EPOCHS * ceil(images / BATCH)
    # sharing and policy are ours, and a textbook's images are trained on as they are
    return FitConfig(
        latent_dim=LATENT_DIM, steps=steps, batch_size=BATCH, sharing="none", policy="none", invariances="none"
    )


def show(name: str, bank: VAEBank, image: torch.Tensor, label: int) -> None:
    again = bank.reconstruct(image, torch.tensor([label]))
    error = (again - image).square().mean().sqrt()
    print(f"{name:<28} original {image.sum():.2f}, reconstructed {again.sum():.2f}, RMSE {error:.3f}")


def main() -> None:
    digits = open_data("mnist").dataset
    picture, digit = open_data("mnist", part="test").dataset[0]
    image = to_float(to_tensor(picture))[None]  # float32 [1, 1, 28, 28]
    count = len(digits)
    print(f"{count} training images; the first test image is a {digit}")

    one = fit(digits, labels=[0] * count, config=textbook(count))
    show("one VAE, 2 dimensions", one, image, 0)
    several = fit(digits, config=textbook(ceil(count / 10)))
    show("a VAE a digit, 2 dimensions", several, image, digit)
    show("our default", fit(digits), image, digit)


if __name__ == "__main__":
    main()
