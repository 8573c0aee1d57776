"""pythae's VAE with the package's own networks and training, and two of its samplers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from pythae.models import VAE, VAEConfig
from pythae.pipelines import TrainingPipeline
from pythae.samplers import GaussianMixtureSampler, NormalSampler
from pythae.trainers import BaseTrainerConfig

SAMPLERS = {"normal": NormalSampler, "gmm": GaussianMixtureSampler}
LATENT_DIM = 16


def pythae_vae(
    images: torch.Tensor, count: int, *, sampler: str, epochs: int, learning_rate: float = 1e-4, seed: int
) -> torch.Tensor:
    """New images of one class.

    Chadebec, Vincent and Allassonniere 2022, "Pythae: Unifying Generative Autoencoders in Python".

    The mixture has ten components, the package's default, or as many as there are images.

    Args:
        images: float [n, C, H, W] in 0..1.
        count: how many to draw.
        sampler: "normal" or "gmm".
        epochs: of training.
        learning_rate: of training; the package's default unless given.
        seed: of everything random.

    Returns:
        float [count, C, H, W] in 0..1.
    """
    torch.manual_seed(seed)
    np.random.seed(seed)
    peak = images.max()  # the mixture refuses images without a pixel of 1
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(output_dir=folder, num_epochs=epochs, learning_rate=learning_rate, seed=seed)
        vae = VAE(VAEConfig(input_dim=tuple(images.shape[1:]), latent_dim=LATENT_DIM))
        pipeline = TrainingPipeline(vae, config)
        pipeline(images / peak)
        best = VAE.load_from_folder(str(Path(pipeline.trainer.training_dir, "final_model")))
    source = SAMPLERS[sampler](best)
    source.fit(images / peak)
    return source.sample(num_samples=count).cpu() * peak
