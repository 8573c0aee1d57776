"""Train pythae's VAE on each class in turns of some epochs and draw images after each. Run by the peers' environment.

    python pythae_curve.py IN.npz FOLDER --epochs E --per-class N --seed S

IN holds images, uint8 [N, C, H, W], and labels, int64 [N]. After turn T, FOLDER/T.npz holds what the package's Gaussian
mixtures drew, uint8 images in label order; a line with the seconds that all training has taken is printed, and a line
is read: anything but "stop" asks for another turn.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from itertools import count
from pathlib import Path

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.samplers import GaussianMixtureSampler
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae_vae import LATENT_DIM


class Trained:
    """The VAE of one class, with the package's own networks, optimizer and batch size."""

    def __init__(self, images: torch.Tensor, folder: Path, seed: int) -> None:
        self.peak = images.max()  # the mixture refuses images without a pixel of 1
        self.images = images / self.peak
        config = BaseTrainerConfig(output_dir=str(folder), seed=seed)
        model = VAE(VAEConfig(input_dim=tuple(images.shape[1:]), latent_dim=LATENT_DIM))
        dataset = BaseDataset(self.images, torch.zeros(len(images)))
        self.trainer = BaseTrainer(model, train_dataset=dataset, training_config=config)
        self.trainer.prepare_training()
        self.trainer.callback_handler.callbacks.clear()  # its progress bars

    def draw(self, wanted: int) -> torch.Tensor:
        sampler = GaussianMixtureSampler(self.trainer.model)
        sampler.fit(self.images)
        return sampler.sample(num_samples=wanted).cpu() * self.peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, required=True, help="a turn")
    parser.add_argument("--per-class", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")

    with np.load(args.source) as given:
        pixels, labels = torch.from_numpy(given["images"]).float() / 255, torch.from_numpy(given["labels"])
    with tempfile.TemporaryDirectory() as logs:
        models = [
            Trained(pixels[labels == label], Path(logs, str(label)), args.seed) for label in labels.unique().tolist()
        ]
        seconds = 0.0
        for turn in count(1):
            for model in models:
                started = time.perf_counter()
                for epoch in range((turn - 1) * args.epochs, turn * args.epochs):
                    model.trainer.train_step(epoch + 1)
                seconds += time.perf_counter() - started
            drawn = torch.cat([model.draw(args.per_class) for model in models])
            np.savez(args.folder / f"{turn}.npz", images=(drawn.clamp(0, 1) * 255).round().byte().numpy())
            print(seconds, flush=True)
            if input().strip() == "stop":
                return


if __name__ == "__main__":
    main()
