"""Train K VAEs at once: each class has its own weights, images, randomness and, if it must be, its own failure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vae_augment.fitting.checkpoint import NOTHING_KEPT, Checkpoint, Part
from vae_augment.fitting.divergence import Guard
from vae_augment.fitting.learning_curve import LearningCurve, blank
from vae_augment.model.devices import block_of, computes_bfloat16, flush_denormals
from vae_augment.model.vae import VAE, Params

Move = Callable[[Tensor, torch.Generator], Tensor]

CLASSES_AT_ONCE = {"cpu": 1, "cuda": 64}  # on a CPU a loop over classes beats grouped convolutions
BFLOAT16_FROM = 3 * 32 * 32  # numbers an image; smaller ones gain little by it
WARM_UP_SHARE = 0.1  # of the steps, until the rate peaks
SNAPSHOT_EVERY = 25  # steps between states to return to when a loss is not finite
MOVED_SHARE = 0.75  # of a batch; the rest stays as it is, so that the VAE also knows the images themselves


@dataclass(frozen=True)
class Job:
    """What one class is trained on.

    Args:
        images: uint8 [N, C, H, W], N >= 1.
        generator: the class's own randomness, so that training beside others changes nothing.
        moves: images are trained on after this, which moves each at random, given float images [B, C, H, W] and the
            generator; None: as they are.
    """

    images: Tensor
    generator: torch.Generator
    moves: Move | None


class Trained(NamedTuple):
    """What came of a training.

    Args:
        params: weights of K classes, on the CPU.
        notes: of each class, "" or why it failed.
        curves: float16 [K, POINTS, 2], how the reconstruction loss in nats per value of an image, and the KL
            divergence in nats per image, went; means over the batches (see vae_augment.fitting.learning_curve).
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
    on_step: Callable[[], object] = lambda: None,
    on_point: Callable[[int, Tensor], object] = lambda steps, losses: None,
    checkpoint: Checkpoint = NOTHING_KEPT,
    name: str = "training",
) -> Trained:
    """Minimise the negative evidence lower bound of each class by Adam, its rate rising, then falling along a cosine.

    A class whose loss is not finite returns to its last good state and goes on at half the rate; after three
    such returns it stays there, and its note says why.

    Args:
        vae: the model's shapes.
        params: initial weights of K classes; not changed.
        jobs: what each class is trained on.
        steps: optimizer steps; 0 returns the weights as they came.
        batch_size: images a class and step, drawn with replacement, so that a class of one image trains too.
        learning_rate: the schedule's peak.
        device: where to train.
        on_step: called after each step, and for each that was taken before.
        on_point: called with the number of steps taken and the mean losses [K, 2] since the last time, at each point
            of the curves.
        checkpoint: where the state is kept every few seconds, and gone on from: what comes out is the same to the bit.
        name: of that state.
    """
    weights = {name: tensor.detach().clone().to(device).requires_grad_() for name, tensor in params.items()}
    guard = Guard(weights, len(jobs))
    if steps == 0:
        return Trained(*guard.result(), blank(len(jobs)))
    optimizer = torch.optim.Adam(weights.values(), lr=learning_rate, betas=(0.9, 0.99), fused=True)
    curve = LearningCurve(len(jobs), steps, device)
    run = _Run(weights, optimizer, guard, curve, jobs)
    kept = checkpoint.load(name)
    first = 0 if kept is None else run.restore(kept)
    for _ in range(first):
        on_step()
    in_bfloat16 = math.prod(vae.image_shape) >= BFLOAT16_FROM and computes_bfloat16(device)
    with flush_denormals():
        for step in range(first, steps):
            if step % SNAPSHOT_EVERY == 0 and guard.snapshot(optimizer) and checkpoint.due:
                checkpoint.save(name, run.part(step))
            images = torch.stack([_batch(job, batch_size, device) for job in jobs])  # [K, B, C, H, W]
            noise = torch.stack([torch.randn(batch_size, vae.latent_dim, generator=j.generator) for j in jobs])
            with torch.autocast(device.type, torch.bfloat16, enabled=in_bfloat16):
                loss = vae.loss(weights, images, noise.to(device))
            total = loss.total / math.prod(vae.image_shape)  # [K], nats per pixel
            finite = torch.isfinite(total)
            optimizer.param_groups[0]["lr"] = learning_rate * _rate(step, steps)
            optimizer.zero_grad(set_to_none=True)
            torch.where(finite, total, torch.zeros_like(total)).sum().backward()
            guard.before_step()
            optimizer.step()
            guard.after_step(optimizer, finite, step, loss)
            point = curve.add(step, loss.reconstruction / math.prod(vae.image_shape), loss.kl, finite)
            if point is not None:
                on_point(step + 1, point)
            on_step()
    return Trained(*guard.result(), curve.values())


def _rate(step: int, steps: int) -> float:
    """Share of the peak rate at a step: up in a straight line, down along half a cosine."""
    warm_up = max(1, round(steps * WARM_UP_SHARE))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up + 1) / (steps - warm_up + 1)))


class _Run:
    """The whole state of a training, as a part of a checkpoint and back."""

    MOMENTS = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        weights: Params,
        optimizer: torch.optim.Optimizer,
        guard: Guard,
        curve: LearningCurve,
        jobs: Sequence[Job],
    ) -> None:
        self._weights, self._optimizer, self._guard, self._curve, self._jobs = weights, optimizer, guard, curve, jobs

    def part(self, step: int) -> Part:
        """Before a step at which the guard has just found all classes finite: its good state is this one."""
        tensors = {f"generator.{k}": job.generator.get_state() for k, job in enumerate(self._jobs)}
        tensors |= {"curve.sums": self._curve.sums.cpu(), "curve.counts": self._curve.counts.cpu()}
        for name, weight in self._weights.items():
            tensors[f"weight.{name}"] = weight.detach().cpu()
            moments = self._optimizer.state[weight] or {moment: torch.zeros_like(weight) for moment in self.MOMENTS}
            tensors |= {f"{moment}.{name}": moments[moment].detach().cpu() for moment in self.MOMENTS}
        return Part(tensors, {"step": step, **self._guard.values()})

    def restore(self, part: Part) -> int:
        """Go on from a part. Returns the step that comes next."""
        step: int = part.values["step"]
        for k, job in enumerate(self._jobs):
            job.generator.set_state(part.tensors[f"generator.{k}"])
        self._curve.sums.copy_(part.tensors["curve.sums"])
        self._curve.counts.copy_(part.tensors["curve.counts"])
        for name, weight in self._weights.items():
            weight.data.copy_(part.tensors[f"weight.{name}"])
        states = {
            place: {
                "step": torch.tensor(float(step)),
                **{moment: part.tensors[f"{moment}.{name}"] for moment in self.MOMENTS},
            }
            for place, name in enumerate(self._weights)
        }
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": states, "param_groups": groups})
        self._guard.restore(part.values)
        return step


def _batch(job: Job, batch_size: int, device: torch.device) -> Tensor:
    """Float images [B, C, H, W] of a class, on the device."""
    chosen = torch.randint(len(job.images), (batch_size,), generator=job.generator)
    images = job.images[chosen.to(job.images.device)].to(device).float().div_(255)
    count = 0 if job.moves is None else round(batch_size * MOVED_SHARE)
    if job.moves is None or count == 0:
        return images
    return torch.cat([job.moves(images[:count], job.generator), images[count:]])


@torch.no_grad()
def posterior(vae: VAE, params: Params, images: Tensor, device: torch.device) -> tuple[Tensor, Tensor, float]:
    """Mean and log-variance [N, L] of one class's uint8 images [N, C, H, W], and their reconstruction's RMSE."""
    weights = {name: tensor.to(device) for name, tensor in params.items()}
    means, logvars, squared_error = [], [], 0.0
    for block in images.split(block_of(device)):
        x = block.to(device).float().div_(255)[None]  # [1, B, C, H, W]
        mean, logvar = vae.encode(weights, x)
        squared_error += (x - vae.decode(weights, mean)).square().sum().item()
        means.append(mean[0].cpu())
        logvars.append(logvar[0].cpu())
    return torch.cat(means), torch.cat(logvars), math.sqrt(squared_error / images.numel())
