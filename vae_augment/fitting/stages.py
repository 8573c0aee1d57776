"""The stages of a fit: warm start, fine-tuning, latent statistics, the choice of a policy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from vae_augment.bank import VAEBank
from vae_augment.bank.content import BankContent, ClassInfo, Start
from vae_augment.bank.inference import Models
from vae_augment.bank.packed_weights import Stored, halved, join
from vae_augment.bank.policy import UNLABELLED, Policy, generating
from vae_augment.config import FitConfig
from vae_augment.data.loading import FitData
from vae_augment.exceptions import FitWarning, warn
from vae_augment.fitting.affinity import recognised
from vae_augment.fitting.budget import WARM_FACTOR, judge_steps, tuning_batch, tuning_steps, warm_batch
from vae_augment.fitting.callbacks import Callback, CallEachStep, KeepState, Progress
from vae_augment.fitting.checkpoint import Checkpoint, Part
from vae_augment.fitting.components import begin_with_components
from vae_augment.fitting.fitted_class import FittedClass, status_of
from vae_augment.fitting.move_selection import first_policy, training_moves, tried_moves
from vae_augment.fitting.policy_selection import FEW_HELD_OUT, LEAST_TRIED, Split, choose, split
from vae_augment.fitting.pseudo_labels import Adopted, adopt
from vae_augment.fitting.quality import Quality, measure_quality
from vae_augment.fitting.side_by_side import side_by_side
from vae_augment.fitting.training import CLASSES_AT_ONCE, Job, train
from vae_augment.fitting.training_log import LogLosses, TrainingLog
from vae_augment.images.kinds import kind_of_images
from vae_augment.images.moves import colour_channels
from vae_augment.model.latent import LatentStats, active_dims, concatenate, describe, pooled_covariance
from vae_augment.model.network_vae import NetworkVAE
from vae_augment.model.vae import VAE, kl_per_dim, stack
from vae_augment.printable import shortened
from vae_augment.progress import passed
from vae_augment.seeding import generator

WARM_SHARE = 0.75  # of a class's steps belong to the warm start
BAR_NAME = 24  # characters of a class name beside the progress bar
TRIAL_SHARE = 0.5  # of the steps, for a trial bank of its own


class Fitter:
    """The stages of a fit: warm start, fine-tuning, latent statistics, the choice of a policy."""

    def __init__(
        self,
        vae: VAE,
        config: FitConfig,
        data: FitData,
        device: torch.device,
        seed: int,
        bar: tqdm[Any],
        checkpoint: Checkpoint,
        log: TrainingLog | None,
        unlabelled: Tensor | None = None,
    ) -> None:
        self.vae, self.config, self.data = vae, config, data
        self.device, self.seed, self.bar = device, seed, bar
        self.checkpoint, self.log = checkpoint, log
        self.unlabelled = unlabelled  # seen by the warm start alone, once others of them are adopted
        self.adopted: Adopted | None = None
        self._generating: Policy | None = None  # in place of the default, where enough images are adopted
        self._p_unlabelled = 0.0  # likewise
        self._channels = colour_channels(data.images)
        self._trial_steps = max(1, round((config.steps or 0) * TRIAL_SHARE))
        self._default = first_policy(data, config)

    def fit(self, labels: list[int], start: Start | None) -> tuple[BankContent, Quality | None]:
        """Run all stages; also returns the quality of the trial bank that the policy was chosen with.

        Enough images to choose on are held out from the warm start alone: its VAE is the trial bank, at no cost in
        steps, and fine-tuning sees every image. Few images are all needed by the warm start: the trial is another fit,
        of which very few take the figures of quality alone.

        Args:
            labels: the classes to fit.
            start: replaces the warm start. No policy is chosen, since the bank to extend has one.
        """
        steps = self.config.steps or 0
        share = 1.0 if self.config.share else WARM_SHARE  # one VAE of all classes gives less away of each image
        warm_steps = round(steps * share) if self.config.sharing == "warm-start" else 0
        sizes = self.config.batch_size, self._fine_batch, len(self.data.names)
        fine_steps = tuning_steps(steps - warm_steps, *sizes) if warm_steps else steps
        choosing = self.config.policy == "auto" and start is None
        parts = split(self.data, self.seed) if choosing else None
        spared = bool(warm_steps) and parts is not None and len(parts.held_out.images) >= FEW_HELD_OUT
        self.bar.total = (warm_steps if start is None else 0) + fine_steps * len(labels)
        if parts is not None and not spared:
            self.bar.total += self._trial_steps * (1 if warm_steps else len(parts.train.names))
        if choosing:
            asked = self.data, self._default, steps, self.seed, self.device, self.checkpoint
            self._default = tried_moves(*asked, self.bar.set_description)
        if self.unlabelled is not None:
            self._adopt(self.unlabelled)
        chosen = None
        if parts is not None and spared:
            trial = self._on(parts.train)
            start = trial.warm_start(warm_steps)
            chosen = self._select(trial.fine_tune(sorted(parts.train.names), start, 0), parts)
        elif warm_steps and start is None:
            start = self.warm_start(warm_steps)
        content = self.fine_tune(labels, start, fine_steps)
        if parts is not None and chosen is None:
            chosen = self._select(self._on(parts.train)._short_fit(), parts)
        policy, quality = (content.policy, None) if chosen is None else chosen
        if choosing and self._generating is None and (parts is None or len(parts.held_out.images) < LEAST_TRIED):
            self.bar.set_description("choosing how far to jitter")
            policy = recognised(policy, content, self.data, steps=steps, seed=self.seed, device=self.device)
        return replace(content, policy=replace(policy, p_unlabelled=self._p_unlabelled)), quality

    def _on(self, data: FitData) -> Fitter:
        """A fitter of other images for a trial, whose parts are kept under other names."""
        kept = self.checkpoint.within("trial")
        other = Fitter(self.vae, self.config, data, self.device, self.seed, self.bar, kept, self.log, self.unlabelled)
        other.adopted, other._default, other._generating = self.adopted, self._default, self._generating
        return other

    def _images_of(self, label: int) -> Tensor:
        """Images that a class's VAE is trained on, uint8 [N, C, H, W]."""
        own = self.data.of(label)
        return own if self.adopted is None else torch.cat([own, self.adopted.data.of(label)])

    @property
    def seen(self) -> FitData:
        """Images that the class VAEs are trained on: the labelled ones, and those adopted."""
        return self.data if self.adopted is None else self.data.joined(self.adopted.data)

    def warm_start(self, steps: int) -> Start:
        """Train one VAE on all classes; with the within-class covariance of its posterior means."""
        kept = self.checkpoint.load("start")
        if kept is None:
            kept = self._train_start(steps)
            self.checkpoint.save("start", kept)
            self.checkpoint.clear("warm-start")
        else:
            passed(self.bar, steps)
        if kept.values["note"]:
            warn(f"warm start stopped early: {kept.values['note']}", FitWarning)
        params = {name: kept.tensors[name].float() for name in self.vae.shapes}
        return Start(params, kept.tensors["pooled"], steps, kept.tensors["curve"])

    def _train_start(self, steps: int) -> Part:
        """The shared weights, rounded to half precision, with their statistics and the reason of an early stop."""
        self.bar.set_description("warm start on all classes")
        seen = self.seen
        images = seen.images if self.unlabelled is None else torch.cat([seen.images, self.unlabelled])
        moves = training_moves(self.config, len(images) / len(seen.names), self._channels)
        params = self.vae.init(generator(self.seed, "init"))
        begin_with_components(self.vae, params, images, moves, generator(self.seed, "components"))
        params, notes, curves = train(
            self.vae,
            params,
            [Job(images, generator(self.seed, "warm start"), moves)],
            steps=steps,
            batch_size=warm_batch(self.config.batch_size, len(images), self.vae),
            learning_rate=self.config.learning_rate * WARM_FACTOR,
            device=self.device,
            callbacks=self._callbacks("warm-start", ["warm start"]),
        )
        params = halved(self.vae, params)
        models = Models(self.vae, Stored.pack(self.vae, params, None), self.device)
        means = models.encode(seen.images, torch.zeros_like(seen.labels).to(self.device))[0].cpu()
        by_class = [means[seen.labels == label] for label in seen.names]
        halves = {name: tensor.half() for name, tensor in params.items()}
        return Part({**halves, "pooled": pooled_covariance(by_class), "curve": curves[0]}, {"note": notes[0]})

    def _callbacks(self, name: str, shown: list[str], before: int = 0) -> list[Callback]:
        """Callbacks of a training: keep its state, show its progress, log its losses."""
        callbacks = [KeepState(self.checkpoint, name), Progress(self.bar, len(shown))]
        return callbacks if self.log is None else [*callbacks, LogLosses(self.log, shown, before)]

    def fine_tune(self, labels: list[int], start: Start | None, steps: int) -> BankContent:
        """Train one VAE per class, from the shared weights or from random ones; with its latent statistics."""
        parts = {label: self.checkpoint.load(f"class-{label}") for label in (labels if steps else ())}
        done = {label: FittedClass.of(part, self.vae, start) for label, part in parts.items() if part is not None}
        passed(self.bar, steps * len(done))
        left = [label for label in labels if label not in done]
        at_once = CLASSES_AT_ONCE.get(self.device.type, 1)
        groups = [left[first : first + at_once] for first in range(0, len(left), at_once)]
        fitted = partial(self._fit_group, start=start, steps=steps)
        # One small VAE gains little by a second thread. What callers wrote draws from randomness that threads share.
        callers = callable(self.config.invariances) or isinstance(self.vae, NetworkVAE)
        for found in map(fitted, groups) if callers or self.device.type != "cpu" else side_by_side(fitted, groups):
            done |= found
        return self._content([done[label] for label in labels], start)

    def _content(self, classes: Sequence[FittedClass], start: Start | None) -> BankContent:
        """A bank of fitted classes with the default policy."""
        stats = concatenate([each.stats for each in classes])
        return BankContent(
            self.vae,
            join([each.weights for each in classes]),
            stats,
            torch.cat([each.curve for each in classes]),
            tuple(each.info for each in classes),
            FitConfig(**self.config.to_dict()),  # without a transform, which may not be pickled
            self._policy(stats),
            data={},
            start=start,
        )

    def _short_fit(self) -> BankContent:
        """Fit a trial bank in fewer steps: the warm start alone, or without sharing each class."""
        self.bar.set_description("trial")
        self.log = None
        labels, steps = sorted(self.data.names), self._trial_steps
        shared = self.config.sharing == "warm-start"
        return self.fine_tune(labels, self.warm_start(steps) if shared else None, 0 if shared else steps)

    def _select(self, trial: BankContent, parts: Split) -> tuple[Policy, Quality]:
        """Choose a policy with a trial bank that has not seen the held-out images; with the trial's quality.

        Images that it adopted were labelled by classifiers that know the held-out labels too.
        """
        kept = self.checkpoint.load("policy")
        if kept is not None:
            return Policy.from_dict(kept.values["policy"]), Quality.from_dict(kept.values["quality"])
        self.bar.set_description("choosing the policy")
        usual = self._policy(trial.stats)
        default, bank = replace(self._default, method=usual.method), VAEBank(replace(trial, policy=usual))
        judged = judge_steps(self.config.steps or 0, len(self.data.names))
        instead = None if self._generating is None else usual
        judging: Any = {"steps": judged, "seed": self.seed, "device": self.device}
        policy, judge = choose(bank, default, parts, instead=instead, **judging)
        train, held_out = ((part.images, part.labels) for part in (parts.train, parts.held_out))
        quality = measure_quality(bank, judge, train, held_out, seed=self.seed)
        self.checkpoint.save("policy", Part({}, {"policy": policy.to_dict(), "quality": quality.to_dict()}))
        return policy, quality

    @property
    def _fine_batch(self) -> int:
        images = len(self.data.images) + (0 if self.adopted is None else len(self.adopted.data.images))
        return tuning_batch(self.config.batch_size, images, len(self.data.names))

    def _fit_group(
        self, labels: list[int], on_step: Callable[[], None] = lambda: None, *, start: Start | None, steps: int
    ) -> dict[int, FittedClass]:
        """Train some classes together."""
        names = [self.data.names[label] for label in labels]
        ends = names[:1] if len(names) == 1 else [names[0], names[-1]]
        self.bar.set_description(" to ".join(shortened(name, BAR_NAME) for name in ends))
        own = [self.vae.init(generator(self.seed, "init", n)) if start is None else start.params for n in names]
        training = f"training-{labels[0]}-{len(labels)}"
        seen = [self._images_of(label) for label in labels]
        moves = [training_moves(self.config, len(images), self._channels) for images in seen]
        jobs = [Job(i, generator(self.seed, "fine-tune", n), m) for i, n, m in zip(seen, names, moves, strict=True)]
        params, notes, curves = train(
            self.vae if start is None else self.vae.tuned(),
            stack(own),
            jobs,
            steps=steps,
            batch_size=self._fine_batch,
            learning_rate=self.config.learning_rate,
            device=self.device,
            callbacks=[*self._callbacks(training, names, 0 if start is None else start.steps), CallEachStep(on_step)],
        )
        weights = Stored.pack(self.vae, params, None if start is None else start.params)
        fitted = {}
        for row, (label, note) in enumerate(zip(labels, notes, strict=True)):
            own_weights = weights.pick([row])
            described = self._describe(label, own_weights, note, start, steps)
            fitted[label] = FittedClass(own_weights, *described, curves[row : row + 1])
            if steps:
                self.checkpoint.save(f"class-{label}", fitted[label].part())
            if steps and self.log is not None:
                bank = VAEBank(self._content([fitted[label]], start))
                self.log.contact_sheet(bank, self.data.of(label), label, fitted[label].info.steps)
        self.checkpoint.clear(training)
        return fitted

    def _describe(
        self, label: int, weights: Stored, note: str, start: Start | None, steps: int
    ) -> tuple[ClassInfo, LatentStats]:
        """Figures of a class's fit, and its latent statistics."""
        images, name = self._images_of(label), self.data.names[label]
        models = Models(self.vae, weights, self.device)
        rows = torch.zeros(len(images), dtype=torch.long, device=self.device)  # of the one class
        codes, logvar = models.encode(images, rows)  # [N, L] each
        error = models.squared_errors(images, codes, rows).sum().item() / images.numel()
        mean = codes.cpu()
        pooled = None if start is None else start.pooled
        stats = describe(mean, pooled, self.config.exemplars, generator(self.seed, "exemplars", name))
        status, reason = status_of(
            images, lambda places: models.decode(codes[places], rows[places]).cpu(), active_dims(mean), note
        )
        info = ClassInfo(
            name=name,
            label=label,
            images=len(self.data.of(label)),
            steps=steps + (0 if start is None else start.steps),
            rmse=round(math.sqrt(error), 6),
            kl=round(kl_per_dim(mean, logvar.cpu()).sum(1).mean().item(), 4),
            active=active_dims(mean),
            status=status,
            note=reason,
        )
        return info, stats

    def _adopt(self, unlabelled: Tensor) -> None:
        """Take unlabelled images whose label is sure for images of their class from now on."""
        self.bar.set_description("labelling the unlabelled images")
        self.adopted = adopt(self.data, unlabelled, self._default, self.seed, self.device, self.checkpoint)
        self.unlabelled = self.adopted.others
        if self.adopted.enough and self.config.policy == "auto":
            seen, kind = f"{len(self.adopted.data.images)} unlabelled images too", kind_of_images(self.data.images)
            self._generating = None if self._default.off else generating(self._default, kind, seen)
            self._p_unlabelled = UNLABELLED

    def _policy(self, stats: LatentStats) -> Policy:
        method = "exemplar" if bool(stats.counts.all()) else "gaussian"
        return replace(self._generating or self._default, method=method)
