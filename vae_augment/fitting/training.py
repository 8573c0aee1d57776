"""Train K VAEs at once. Each class has its own weights, images and randomness, and fails alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vae_augment.fitting.callbacks import Callback, Training
from vae_augment.fitting.divergence import SkipNonFinite
from vae_augment.fitting.learning_curve import LearningCurve, blank
from vae_augment.model.devices import computes_bfloat16, flush_denormals
from vae_augment.model.vae import VAE, Params

Move = Callable[[Tensor, torch.Generator], Tensor]

CLASSES_AT_ONCE = {"cpu": 1, "cuda": 64}  # on a CPU a loop over classes beats grouped convolutions
BFLOAT16_FROM = 3 * 32 * 32  # values of an image; smaller images gain little by bfloat16
WARM_UP_SHARE = 0.1  # of the steps, until the rate peaks
MOVED_SHARE = 0.75  # of a batch; the rest is not moved, so that the VAE also knows the images themselves


@dataclass(frozen=True)
class Job:
    """The images and randomness of one class's training.

    Args:
        images: uint8 [N, C, H, W], N >= 1.
        generator: the class's own, so that training beside others changes nothing.
        moves: a function of float images [B, C, H, W] and the generator that moves each image at random; None: images
            are not moved.
    """

    images: Tensor
    generator: torch.Generator
    moves: Move | None


class Trained(NamedTuple):
    """The result of a training.

    Args:
        params: weights of K classes, on the CPU.
        notes: of each class, "" or the reason why it failed.
        curves: float16 [K, POINTS, 2], learning curves: the reconstruction loss in nats per value of an image, and the
            KL divergence in nats per image (see vae_augment.fitting.learning_curve).
    """

    params: Params
    notes: list[str]
    curves: Tensor


def train(
    vae: VAE,
    params: Params,
    jobs: Sequence[Job],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    device: torch.device,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Minimise the negative evidence lower bound of each class by Adam, with linear warm-up and cosine decay.

    A class skips a step if its loss is not finite. After too many in a row it has failed, and its note says why.

    Args:
        vae: the model's shapes.
        params: initial weights of K classes; not changed.
        jobs: the images and randomness of each class.
        steps: optimizer steps; 0 returns the initial weights.
        batch_size: images of each class in a step, drawn with replacement, so that one image is enough.
        learning_rate: the schedule's peak.
        device: where to train.
        callbacks: called around the steps, in this order.
    """
    copied = {name: tensor.detach().clone().to(device) for name, tensor in params.items()}
    weights = {name: tensor.requires_grad_() for name, tensor in copied.items() if name not in vae.fixed}
    if steps == 0:
        return Trained(_finished(copied), [""] * len(jobs), blank(len(jobs)))
    optimizer = torch.optim.Adam(weights.values(), lr=learning_rate, betas=(0.9, 0.99), fused=True)
    skip, curve = SkipNonFinite(len(jobs)), LearningCurve(len(jobs), steps, device)
    callbacks = [skip, curve, *callbacks]
    fixed = {name: copied[name] for name in vae.fixed}
    training = Training(vae, weights, optimizer, jobs, steps, curve, callbacks, fixed=fixed)
    for callback in callbacks:
        callback.on_start(training)
    values = math.prod(vae.image_shape)  # of an image
    in_bfloat16 = values >= BFLOAT16_FROM and computes_bfloat16(device)
    with flush_denormals():
        for step in range(training.step, steps):
            training.step = step
            # A batch of each class, and the noise of the reparameterisation.
            images = torch.stack([_batch(job, batch_size, device) for job in jobs])  # [K, B, C, H, W]
            draws = [torch.randn(batch_size, vae.latent_dim, generator=job.generator) for job in jobs]
            noise = torch.stack(draws).to(device)  # [K, B, L]
            with torch.autocast(device.type, torch.bfloat16, enabled=in_bfloat16):
                training.loss = vae.loss(copied, images, noise)  # nats per image, [K] each
            nats = training.loss.total / values  # [K], per value, so that one rate suits images of any size
            training.finite = torch.isfinite(nats)  # [K]
            # Classes share no weights, so the gradient of their sum is each class's own.
            optimizer.zero_grad(set_to_none=True)
            torch.where(training.finite, nats, torch.zeros_like(nats)).sum().backward()
            for callback in callbacks:
                callback.on_gradients(training)
            optimizer.param_groups[0]["lr"] = learning_rate * _rate(step, steps)
            optimizer.step()
            for callback in callbacks:
                callback.on_step(training)
    return Trained(_finished(copied), skip.notes(), curve.values())


def _finished(weights: Params) -> Params:
    return {name: weight.detach().cpu() for name, weight in weights.items()}


def _rate(step: int, steps: int) -> float:
    """Factor of the peak rate at a step: linear warm-up, then half a cosine down."""
    warm_up = max(1, round(steps * WARM_UP_SHARE))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up + 1) / (steps - warm_up + 1)))


def _batch(job: Job, batch_size: int, device: torch.device) -> Tensor:
    """Float images [B, C, H, W] of a class, on the device."""
    chosen = torch.randint(len(job.images), (batch_size,), generator=job.generator)
    images = job.images[chosen.to(job.images.device)].to(device).float().div_(255)
    count = 0 if job.moves is None else round(batch_size * MOVED_SHARE)
    if job.moves is None or count == 0:
        return images
    return torch.cat([job.moves(images[:count], job.generator), images[count:]])
