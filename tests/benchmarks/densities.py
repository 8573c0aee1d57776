"""A density of latents that an idea draws from: a conditional flow."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vae_augment.seeding import generator

FLOW_LAYERS, FLOW_WIDTH, FLOW_STEPS = 6, 64, 1_000


class Flow(nn.Module):
    """Affine couplings conditioned on the class (Dinh et al. 2017, "Density estimation using Real NVP")."""

    def __init__(self, latent_dim: int, classes: int) -> None:
        super().__init__()
        self.half, self.classes = latent_dim // 2, classes
        inputs, outputs = self.half + classes, 2 * (latent_dim - self.half)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, FLOW_WIDTH), nn.ReLU(), nn.Linear(FLOW_WIDTH, outputs))
            for _ in range(FLOW_LAYERS)
        )

    def _coupling(self, layer: nn.Module, fixed: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        classes = nn.functional.one_hot(rows, self.classes).float()
        shift, log_scale = layer(torch.cat([fixed, classes], 1)).chunk(2, 1)
        return shift, log_scale.tanh()

    def loss(self, z: Tensor, rows: Tensor) -> Tensor:
        """Mean negative log-likelihood, but for a constant."""
        log_det = torch.zeros(len(z))
        for layer in self.layers:
            fixed, moving = z[:, : self.half], z[:, self.half :]
            shift, log_scale = self._coupling(layer, fixed, rows)
            z = torch.cat([(moving - shift) * (-log_scale).exp(), fixed], 1)
            log_det = log_det - log_scale.sum(1)
        return (0.5 * z.square().sum(1) - log_det).mean()

    def sample(self, noise: Tensor, rows: Tensor) -> Tensor:
        z = noise
        for layer in reversed(self.layers):
            moving, fixed = z[:, : -self.half], z[:, -self.half :]
            shift, log_scale = self._coupling(layer, fixed, rows)
            z = torch.cat([fixed, moving * log_scale.exp() + shift], 1)
        return z


def fitted_flow(codes: list[Tensor]) -> Flow:
    """A flow trained on codes with a little noise, without which so few points would pull it to spikes."""
    z, rows = torch.cat(codes), torch.repeat_interleave(torch.tensor([len(c) for c in codes]))
    random = generator(0, "flow", "training")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = Flow(z.shape[1], len(codes))
    optimizer = torch.optim.AdamW(flow.parameters(), 1e-3, weight_decay=1e-2)
    for _ in range(FLOW_STEPS):
        some = torch.randint(len(z), (128,), generator=random)
        noisy = z[some] + 0.3 * torch.randn(len(some), z.shape[1], generator=random)
        optimizer.zero_grad()
        flow.loss(noisy, rows[some]).backward()
        optimizer.step()
    return flow
