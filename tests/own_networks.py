"""Small networks of one's own, for tests: an encoder and a decoder."""

import math

from torch import nn


class Encoder(nn.Module):
    def __init__(self, shape, latent_dim, *norms):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), *norms, nn.Linear(math.prod(shape), 16), nn.Tanh())
        self.out = nn.Linear(16, 2 * latent_dim)

    def forward(self, images):
        return self.out(self.body(images)).chunk(2, dim=1)


def linear(shape, latent_dim):
    return Encoder(shape, latent_dim), nn.Sequential(nn.Linear(latent_dim, math.prod(shape)), nn.Unflatten(1, shape))


def with_batch_norm(shape, latent_dim):
    values = math.prod(shape)
    layers = nn.Linear(latent_dim, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, values), nn.Sigmoid()
    encoder = Encoder(shape, latent_dim, nn.BatchNorm1d(values))
    return encoder, nn.Sequential(*layers, nn.Unflatten(1, shape))
