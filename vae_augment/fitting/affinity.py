"""Leave out jitter that makes images look like another class's, where they are too few to try the VAE on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import mean

import torch
from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.bank.content import BankContent
from vae_augment.bank.jitter import jitter
from vae_augment.bank.policy import Policy
from vae_augment.data.loading import FitData
from vae_augment.fitting.cross_validation import MOST_IMAGES, TOLD_APART, CrossValidation
from vae_augment.fitting.move_selection import too_little
from vae_augment.images.tensors import to_uint8
from vae_augment.model.devices import single_thread
from vae_augment.seeding import generator

MOST_LOST = 0.1  # log-loss by which images may be known less well once they are jittered
DRAWS = 4  # jittered versions of each image
MOVED = "moved"  # name of the policy without jitter


def recognised(
    policy: Policy, content: BankContent, data: FitData, *, steps: int, seed: int, device: torch.device
) -> Policy:
    """The policy, without the VAE if images are no longer known for their class once they are jittered.

    Far fewer images show this than show what jitter does for accuracy (docs/what_helps.md).

    Args:
        policy: as it is without this.
        content: a bank fitted on the images.
        data: the images.
        steps: of the whole fit.
        seed: of folds, weights and draws.
        device: where to train.
    """
    if not (policy.vae and policy.p_jitter) or too_little(data, steps) or len(data.images) > MOST_IMAGES:
        return policy
    lost_by = losses(VAEBank(replace(content, policy=policy)), data, seed=seed, device=device)
    if lost_by is None:
        return policy
    lost = lost_by(policy.scale)
    chosen, told = (policy, "jittered") if lost <= MOST_LOST else (policy.without_vae(), "not jittered after all")
    shown = f"{told}, by what jitter adds to the log-loss of images on folds: {lost:+.3f}"
    return replace(chosen, origin=f"{policy.origin}; {shown}")


def losses(bank: VAEBank, data: FitData, *, seed: int, device: torch.device) -> Callable[[float], float] | None:
    """A function of the scale of jitter: mean log-loss of jittered images over that of the images as they are.

    This is affinity (Gontijo-Lopes et al. 2021, "Tradeoffs in Data Augmentation: An Empirical Study") in log-loss, of
    classifiers that other folds' images have trained, moved as the bank's policy tells and not jittered. None where
    these tell images apart no better than by chance, so that nothing can be lost.

    Args:
        bank: of all the classes or some.
        data: at most `MOST_IMAGES` images.
        seed: of folds, weights and draws.
        device: where to train.
    """
    trial = CrossValidation(data, seed=seed, device=device)
    trial.judge({MOVED: bank.policy.without_vae()}, trial.folds)
    mean_over, error = trial.over_chance([MOVED])
    if not mean_over > TOLD_APART * error:
        return None
    before = trial.predicted(MOVED, data.images)
    known = torch.tensor([label in bank.row_of for label in data.labels.tolist()])
    rows = torch.tensor([bank.row_of[label] for label in data.labels[known].tolist()])
    noise = torch.randn(DRAWS, len(rows), bank.latent_dim, generator=generator(seed, "affinity"))
    before[~known] = torch.nan

    def jittered(each: Tensor, scale: float) -> Tensor:
        images = data.images.clone()
        with single_thread():  # the same bits on any number
            images[known] = to_uint8(jitter(bank, images[known], rows, each, scale=scale))
        return images

    def lost_by(scale: float) -> float:
        found = (trial.predicted(MOVED, jittered(each, scale)) for each in noise)
        return mean(trial.difference(after, before)[0] for after in found)

    return lost_by
