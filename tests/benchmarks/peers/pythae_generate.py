"""Draw images from pythae's VAE of MNIST's zeros and save them as PNGs. Run by the peers' environment.

    python pythae_generate.py IN.npz FOLDER --count N

IN holds images of one class, uint8 [n, C, H, W]. The VAE is trained for an epoch, since that does not change how long
it takes to draw. The package's own sampler draws and saves; the last line printed is the seconds that it took.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from pythae.models import VAE, VAEConfig
from pythae.pipelines import TrainingPipeline
from pythae.samplers import NormalSampler
from pythae.trainers import BaseTrainerConfig
from pythae_vae import LATENT_DIM


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, required=True)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    with np.load(args.source) as given:
        images = torch.from_numpy(given["images"]).float() / 255
    with tempfile.TemporaryDirectory() as logs:
        model = VAE(VAEConfig(input_dim=tuple(images.shape[1:]), latent_dim=LATENT_DIM))
        pipeline = TrainingPipeline(model, BaseTrainerConfig(output_dir=logs, num_epochs=1))
        pipeline(images / images.max())
    sampler = NormalSampler(model)
    started = time.perf_counter()
    with torch.no_grad():
        sampler.sample(num_samples=args.count, output_dir=str(args.folder), return_gen=False)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
