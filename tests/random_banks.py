"""Banks of random weights in any shape, for tests and benchmarks of what only decodes."""

from __future__ import annotations

import torch

from vae_augment import FitConfig, VAEBank
from vae_augment.bank.content import BankContent, ClassInfo
from vae_augment.bank.packed_weights import Stored, halved
from vae_augment.bank.policy import Policy
from vae_augment.fitting.learning_curve import blank
from vae_augment.model.conv_vae import ConvVAE
from vae_augment.model.latent import LatentStats
from vae_augment.model.vae import stack


def random_bank(image_shape, *, latent_dim=5, width=8, classes=3, tuned=True, seed=0, components=0) -> VAEBank:
    """One whose classes are kept as differences from a start, or (tuned=False) as they are; all norms do something."""
    generator = torch.Generator().manual_seed(seed)
    vae = ConvVAE(image_shape, latent_dim, width, components)
    start = halved(vae, vae.init(generator))
    whole = stack([start] * classes if tuned else [vae.init(generator) for _ in range(classes)])
    for name, tensor in whole.items():
        if tuned and name in vae.fixed:
            start[name] += 0.1 * torch.randn(start[name].shape, generator=generator)
            tensor += start[name]
        else:
            tensor += 0.1 * torch.randn(tensor.shape, generator=generator)
    start = halved(vae, start)
    weights = Stored.pack(vae, whole, start if tuned else None)
    stats = LatentStats(
        torch.zeros(classes, latent_dim),
        torch.eye(latent_dim).repeat(classes, 1, 1),
        torch.zeros(classes, 0, latent_dim).half(),
        torch.zeros(classes, dtype=torch.long),
    )
    infos = tuple(ClassInfo(f"class {k}", k, 1, 1, 0.1, 1.0, latent_dim, "ok") for k in range(classes))
    config = FitConfig(latent_dim=latent_dim, width=width, components=components).resolve(classes)
    policy = Policy(0.5, 0.5)
    return VAEBank(BankContent(vae, weights, stats, blank(classes), infos, config, policy, {"name": "random"}, None))
