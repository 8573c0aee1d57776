"""The stages of a fit: warm start, fine-tuning, latent statistics, the choice of a policy."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from vae_augment.bank import VAEBank
from vae_augment.bank_file import BankContent, ClassInfo, Start, as_stored
from vae_augment.config import SMALL_DATASET, FitConfig
from vae_augment.fit_data import FitData
from vae_augment.latent import LatentStats, active_dims, concatenate, describe, pooled_covariance
from vae_augment.model import VAE, Params, kl_per_dim, stack
from vae_augment.moves import MOVES, default_invariances, one_by_one
from vae_augment.policy import Policy, default_policy, silent_policy
from vae_augment.quality import Quality, measure_quality
from vae_augment.seeding import generator
from vae_augment.selection import choose, split
from vae_augment.training import CLASSES_AT_ONCE, Job, Move, posterior, train

logger = logging.getLogger(__name__)

WARM_FACTOR = 2  # batch and peak rate of the warm start, over those of fine-tuning
SMALL_SIDE = 32  # pixels
SMALL_BATCH = 16  # images a step in fine-tuning at least, and no more than classes have
TRIAL_SHARE = 0.15  # of the steps, for the bank that the policy is chosen with
JUDGE_SHARE, LEAST_JUDGE_STEPS = 0.3, 350  # of the steps, for each classifier that the policy is chosen with
FEW_SAMPLES = 5  # images; a class with fewer is reported as such


class Fitter:
    """The stages of a fit: warm start, fine-tuning, latent statistics, the choice of a policy."""

    def __init__(
        self, vae: VAE, config: FitConfig, data: FitData, device: torch.device, seed: int, bar: tqdm[Any]
    ) -> None:
        self.vae, self.config, self.data = vae, config, data
        self.device, self.seed, self.bar = device, seed, bar

    def _moves(self, images: float) -> Move | None:
        """What a VAE of so many images is trained on copies by."""
        wanted = self.config.invariances
        if callable(wanted):
            return one_by_one(wanted)
        if wanted == "custom":
            raise ValueError("invariances must be given again: a bank does not hold a transform.")
        if wanted == "auto":
            wanted = default_invariances(images, self.vae.image_shape[0])
        moves = MOVES[wanted]
        return None if moves is None else moves.draw

    @property
    def _many_or_small(self) -> bool:
        """Whether a larger batch is worth its time. Of few photographs it is not, and each costs more than a digit."""
        return len(self.data.images) >= SMALL_DATASET or max(self.vae.image_shape[1:]) <= SMALL_SIDE

    def warm_start(self, steps: int) -> Start:
        """One VAE trained on all classes, and the covariance within classes of its latents."""
        self.bar.set_description("warm start on all classes")
        moves = self._moves(len(self.data.images) / len(self.data.names))
        params, notes = train(
            self.vae,
            self.vae.init(generator(self.seed, "init")),
            [Job(self.data.images, generator(self.seed, "warm start"), moves)],
            steps=steps,
            batch_size=self.config.batch_size * (WARM_FACTOR if self._many_or_small else 1),
            learning_rate=self.config.learning_rate * WARM_FACTOR,
            device=self.device,
            on_step=self.bar.update,
        )
        if notes[0]:
            logger.warning("warm start stopped early: %s", notes[0])
        params = {name: tensor.float() for name, tensor in as_stored(params).items()}
        means = posterior(self.vae, params, self.data.images, self.device)[0]
        by_class = [means[self.data.labels == label] for label in self.data.names]
        return Start(params, pooled_covariance(by_class), steps)

    def fine_tune(self, labels: list[int], start: Start | None, steps: int) -> BankContent:
        """One VAE per class, from the shared weights or from random ones, and what is known of its latents."""
        params, notes = self._train_classes(labels, start, steps)
        described = [self._describe(*job, start, steps) for job in zip(labels, _each(params), notes, strict=True)]
        infos, stats = zip(*described, strict=True)
        return BankContent(
            self.vae,
            params,
            concatenate(stats),
            infos,
            FitConfig.from_dict(self.config.to_dict()),  # without a transform, which may not be pickled
            self._policy(stats),
            data={},
            start=start,
        )

    def select(self, default: Policy) -> tuple[Policy, Quality] | None:
        """A policy chosen with a trial bank, which has not seen a quarter of the images, and the trial's quality."""
        parts = split(self.data, self.seed)
        if parts is None:
            return None
        self.bar.set_description("choosing the policy")
        trial = Fitter(self.vae, self.config, parts.train, self.device, self.seed, self.bar)
        steps = max(1, round((self.config.steps or 0) * TRIAL_SHARE))
        self.bar.total = (self.bar.total or 0) + steps * (
            1 if self.config.sharing == "warm-start" else len(parts.train.names)
        )
        shared = trial.warm_start(steps) if self.config.sharing == "warm-start" else None
        content = trial.fine_tune(sorted(parts.train.names), shared, 0 if shared else steps)
        bank = VAEBank(replace(content, policy=default))
        all_steps = self.config.steps or 0
        judged = max(round(all_steps * JUDGE_SHARE), min(all_steps, LEAST_JUDGE_STEPS))
        policy, judge = choose(bank, default, parts, steps=judged, seed=self.seed, device=self.device)
        train, held_out = ((part.images, part.labels) for part in (parts.train, parts.held_out))
        return policy, measure_quality(bank, judge, train, held_out, seed=self.seed)

    def _train_classes(self, labels: list[int], start: Start | None, steps: int) -> tuple[Params, list[str]]:
        at_once = CLASSES_AT_ONCE.get(self.device.type, 1)
        trained: list[Params] = []
        notes: list[str] = []
        for first in range(0, len(labels), at_once):
            group = labels[first : first + at_once]
            names = [self.data.names[label] for label in group]
            self.bar.set_description(names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}")
            own = [self.vae.init(generator(self.seed, "init", n)) if start is None else start.params for n in names]
            params, group_notes = train(
                self.vae,
                stack(own),
                [self._job(label) for label in group],
                steps=steps,
                batch_size=min(self.config.batch_size, max(SMALL_BATCH, len(self.data.images) // len(self.data.names))),
                learning_rate=self.config.learning_rate,
                device=self.device,
                on_step=partial(self.bar.update, len(group)),
            )
            trained.append(as_stored(params))
            notes += group_notes
        return stack(trained), notes

    def _job(self, label: int) -> Job:
        images = self.data.of(label)
        return Job(images, generator(self.seed, "fine-tune", self.data.names[label]), self._moves(len(images)))

    def _describe(
        self, label: int, params: Params, note: str, start: Start | None, steps: int
    ) -> tuple[ClassInfo, LatentStats]:
        images, name = self.data.of(label), self.data.names[label]
        mean, logvar, rmse = posterior(self.vae, params, images, self.device)
        pooled = None if start is None else start.pooled
        stats = describe(mean, pooled, self.config.exemplars, generator(self.seed, "exemplars", name))
        status, reason = _status(images, active_dims(mean), note)
        info = ClassInfo(
            name=name,
            label=label,
            images=len(images),
            steps=steps + (0 if start is None else start.steps),
            rmse=round(rmse, 6),
            kl=round(kl_per_dim(mean, logvar).sum(1).mean().item(), 4),
            active=active_dims(mean),
            status=status,
            note=reason,
        )
        return info, stats

    def _policy(self, stats: Sequence[LatentStats]) -> Policy:
        method = "exemplar" if all(int(s.counts[0]) for s in stats) else "gaussian"
        if self.config.policy == "none":
            return silent_policy(method)
        counts = torch.unique(self.data.labels, return_counts=True)[1].tolist()
        return default_policy(counts, channels=self.vae.image_shape[0], method=method)


def _each(params: Params) -> list[Params]:
    """The weights of each class apart (K = 1), in single precision."""
    return [{name: t[k : k + 1].float() for name, t in params.items()} for k in range(len(params["log_sigma"]))]


def _status(images: Tensor, active: int, failure: str) -> tuple[str, str]:
    """How a class's fit went, and what to do where it did not go well."""
    if failure:
        return "failed", f"{failure}. Lower learning_rate, or look for odd images in this class"
    if len(images) < FEW_SAMPLES:
        return (
            "few-samples",
            f"{len(images)} images teach a VAE little; generated ones will resemble them closely",
        )
    if bool((images == images[:1]).all()):
        return "constant", "all images are the same, so there is no variation to learn"
    if active == 0:
        return (
            "collapsed",
            "no latent dimension is in use. Train for more steps, or with sharing='warm-start'",
        )
    return "ok", ""
