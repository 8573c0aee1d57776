"""pyraug's Riemannian Hamiltonian VAE with the package's own networks, training and sampler."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from pyraug.data.preprocessors import DataProcessor
from pyraug.models import RHVAE
from pyraug.models.rhvae import RHVAEConfig, RHVAESamplerConfig
from pyraug.models.rhvae.rhvae_sampler import RHVAESampler
from pyraug.pipelines import GenerationPipeline, TrainingPipeline
from pyraug.trainers.training_config import TrainingConfig


def pyraug_rhvae(
    images: torch.Tensor, count: int, *, epochs: int, learning_rate: float = 1e-4, seed: int
) -> torch.Tensor:
    """New images of one class.

    Chadebec, Thibeau-Sutre, Burgos and Allassonniere 2022, "Data Augmentation in High Dimensional Low Sample Size
    Setting Using a Geometry-Based Variational Autoencoder".

    The images are in 0..1 already, so the package's stretching of every image to that range is left out.

    Args:
        images: float [n, C, H, W] in 0..1.
        count: how many to draw.
        epochs: of training.
        learning_rate: of training; the package's default unless given.
        seed: of everything random.

    Returns:
        float [count, C, H, W] in 0..1.
    """
    torch.manual_seed(seed)
    np.random.seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        training = TrainingPipeline(
            data_processor=DataProcessor(data_normalization_type=None),
            model=RHVAE(RHVAEConfig(input_dim=images[0].numel())),
            training_config=TrainingConfig(
                output_dir=folder,
                max_epochs=epochs + 1,  # it stops one short
                learning_rate=learning_rate,
                seed=seed,
            ),
        )
        training(images)
        drawn = Path(folder, "drawn")
        sampler = RHVAESampler(training.model, RHVAESamplerConfig(output_dir=str(drawn)))
        GenerationPipeline(training.model, sampler)(count)
        files = sorted(drawn.rglob("*.pt"), key=lambda file: int(file.stem.rpartition("_")[2]))
        made = torch.cat([torch.load(file, weights_only=True) for file in files])
        return made.reshape(count, *images.shape[1:]).cpu()
