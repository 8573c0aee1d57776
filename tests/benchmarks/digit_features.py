"""The fixed CNN in whose features generated digits are compared with real ones.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.digit_features

trains it on MNIST's training images and writes its weights, which come with the benchmarks.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.benchmarks.usefulness import images_of
from vae_augment import VAEBank
from vae_augment.evaluation.arms import batches, default_classical
from vae_augment.fitting.classifier import SmallCNN, features, predict, train_classifier
from vae_augment.fitting.quality import frechet_distance

WEIGHTS = Path(__file__).with_name("digit_features.safetensors")
SHAPE, CLASSES, STEPS, DRAWN = (1, 28, 28), 10, 6_000, 10_000


def make() -> None:
    torch.manual_seed(0)
    data = images_of("mnist", True)
    stream = batches("classical", data, None, classical=default_classical(1), sampling_strategy=None, seed=0)
    model = train_classifier(SmallCNN(SHAPE, CLASSES), stream, steps=STEPS)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, WEIGHTS)
    test = images_of("mnist", False)
    print(f"test accuracy {(predict(model, test.images) == test.targets).double().mean() * 100:.2f} %")


@cache
def network() -> SmallCNN:
    model = SmallCNN(SHAPE, CLASSES)
    model.load_state_dict(load_file(WEIGHTS))
    return model.eval()


@cache
def test_features() -> Tensor:
    return features(network(), images_of("mnist", False).images)


def distance_of(bank: VAEBank) -> float:
    """`distance_to_test_set` of ten thousand images that a bank draws, as many of each of its classes."""
    labels = torch.tensor(sorted(bank.row_of))[torch.arange(DRAWN) % len(bank.classes)]
    images = bank.sample(labels, generator=torch.Generator().manual_seed(0))
    return round(distance_to_test_set(images), 3)


def distance_to_test_set(images: Tensor) -> float:
    """Frechet distance of uint8 images [N, 1, 28, 28] to MNIST's test images (Heusel et al. 2017), in our features."""
    return frechet_distance(features(network(), images), test_features())


if __name__ == "__main__":
    make()
