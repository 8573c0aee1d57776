"""Images of a class for a contact sheet: real, reconstructed, jittered and generated."""

from __future__ import annotations

import torch
from torch import Tensor

from vae_augment.bank.bank import VAEBank
from vae_augment.images.tensors import to_uint8
from vae_augment.model.devices import single_thread
from vae_augment.seeding import generator

COLUMNS = 6  # images of each kind


def shown_images(bank: VAEBank, images: Tensor | None, label: int, seed: int = 0) -> dict[str, Tensor]:
    """uint8 images [up to COLUMNS, C, H, W] of each kind, the same on any number of threads.

    Jittered ones of photographs and textures come first, since they keep detail that others lose.

    Args:
        bank: a fitted bank.
        images: uint8 [N, C, H, W] of the class at the bank's size, to draw from; None: only generated images.
        label: of the class.
        seed: of the choice and the draws.
    """
    random = generator(seed, "contact sheet", label)
    shown = {}
    with single_thread():
        if images is not None:
            real = images[torch.randperm(len(images), generator=random)[:COLUMNS]]
            labels = torch.full((len(real),), label)
            shown["real"] = real
            again, jittered = to_uint8(bank.reconstruct(real, labels)), bank.jitter(real, labels, generator=random)
            both = {"reconstructed": again, "jittered": jittered}
            shown |= dict(reversed(both.items())) if bank.vae.components else both
        shown["generated"] = bank.sample(torch.full((COLUMNS,), label), generator=random)
    return shown
