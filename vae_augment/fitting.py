"""fit: a labelled image dataset in, a bank out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from vae_augment.bank import VAEBank
from vae_augment.bank_file import BankContent, ClassInfo, Start, as_stored
from vae_augment.config import FitConfig
from vae_augment.fit_data import FitData, common_shape, load_images
from vae_augment.latent import LatentStats, active_dims, concatenate, describe, pooled_covariance
from vae_augment.model import VAE, Params, kl_per_dim, stack
from vae_augment.policy import Policy, default_policy, silent_policy
from vae_augment.raw import common_range
from vae_augment.seeding import generator
from vae_augment.source import Source
from vae_augment.training import CLASSES_AT_ONCE, Job, choose_device, posterior, train

logger = logging.getLogger(__name__)

WARM_SHARE = 0.75  # of a class's steps are the shared ones
WARM_FACTOR = 2  # batch and peak rate of the warm start, over those of fine-tuning
FEW_IMAGES_FOR_MOVES = 1000  # a class with fewer is trained on moved copies when invariances="auto"
FEW_SAMPLES = 5  # images; a class with fewer is reported as such


def fit(
    dataset: Dataset[Any],
    *,
    config: FitConfig = FitConfig(),
    labels: Sequence[int] | Tensor | None = None,
    classes: Sequence[str | int] | None = None,
    start: VAEBank | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
) -> VAEBank:
    """Fit one VAE per class of a dataset.

    Transforms of a torchvision-style dataset are set aside: the VAEs see raw images. The same dataset, options and seed
    give the same bank, byte for byte, on one machine with one version of torch and number of threads.

    Example:
        >>> bank = fit(torchvision.datasets.MNIST("data"), config=FitConfig(preset="fast"))

    Args:
        dataset: map-style, of (image, label) items; images are PIL images, arrays or tensors of 8x8 pixels or more.
        config: how to fit. With `start`, its model's shape is kept, and a plain `FitConfig()` means the start's own.
        labels: integer labels [N], for a dataset that has none or to use others.
        classes: fit these only, by name or label; the others are used for the warm start alone.
        start: a bank to add to: `classes` (all of the dataset's, if None) are fitted from its warm start and replace or
            join its classes, the rest of which keep every byte.
        device: "auto" takes a CUDA device if there is one; or any torch device.
        seed: of everything random here.
        progress: show a progress bar, if standard error is a terminal.

    Returns:
        A bank on the CPU.

    Raises:
        TypeError: the dataset is iterable, or its items are not (image, label).
        ValueError: an empty dataset, a class that it lacks, labels that are not integers, images below 8x8, or a start
            that was fitted without a warm start or for other images.
    """
    source = Source(dataset, labels)
    wanted = _wanted(source, classes)
    resolved = config.resolve(len(source)) if start is None else _config_with(config, start, len(source))
    shape = start.image_shape if start is not None else common_shape(source, config)
    vae = start.vae if start is not None else VAE(shape, resolved.latent_dim or 0, resolved.width or 0)
    if start is not None:
        _check_fits(source, config, start)
    data = load_images(source, shape)
    torch_device = choose_device(device)
    steps = resolved.steps or 0
    warm_steps = round(steps * WARM_SHARE) if resolved.sharing == "warm-start" else 0
    shared = None if start is None else _start_of(start)
    with _progress((0 if shared else warm_steps) + (steps - warm_steps) * len(wanted), progress) as bar:
        fitter = _Fitter(vae, resolved, data, torch_device, seed, bar)
        if warm_steps and shared is None:
            shared = fitter.warm_start(warm_steps)
        content = fitter.fine_tune(wanted, shared, steps - warm_steps)
    described = {
        "name": type(dataset).__name__,
        "source": "dataset object",
        "fingerprint": source.fingerprint(),
        "images": len(source),
        "seed": seed,
    }
    content = replace(content, data=described, value_range=source.value_range)
    for info in content.class_infos:
        if info.status in ("failed", "collapsed"):
            logger.warning("class %r %s: %s", info.name, info.status, info.note)
    return VAEBank(content) if start is None else _joined(start, VAEBank(content))


class _Fitter:
    """The three stages of a fit: warm start, fine-tuning, latent statistics."""

    def __init__(
        self, vae: VAE, config: FitConfig, data: FitData, device: torch.device, seed: int, bar: tqdm[Any]
    ) -> None:
        self.vae, self.config, self.data = vae, config, data
        self.device, self.seed, self.bar = device, seed, bar

    def _moved(self, images: float) -> bool:
        auto = self.config.invariances == "auto" and images < FEW_IMAGES_FOR_MOVES
        return auto or self.config.invariances == "affine"

    def warm_start(self, steps: int) -> Start:
        """One VAE trained on all classes, and the covariance within classes of its latents."""
        self.bar.set_description("warm start on all classes")
        moved = self._moved(len(self.data.images) / len(self.data.names))
        params, notes = train(
            self.vae,
            self.vae.init(generator(self.seed, "init")),
            [Job(self.data.images, generator(self.seed, "warm start"), moved)],
            steps=steps,
            batch_size=self.config.batch_size * WARM_FACTOR,
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
            self.config,
            self._policy(stats),
            data={},
            start=start,
        )

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
                batch_size=self.config.batch_size,
                learning_rate=self.config.learning_rate,
                device=self.device,
                on_step=partial(self.bar.update, len(group)),
            )
            trained.append(as_stored(params))
            notes += group_notes
        return stack(trained), notes

    def _job(self, label: int) -> Job:
        images = self.data.of(label)
        return Job(images, generator(self.seed, "fine-tune", self.data.names[label]), self._moved(len(images)))

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
        per_class = len(self.data.images) / len(self.data.names)
        return default_policy(per_class, natural=self.vae.image_shape[0] >= 3, method=method)


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


def _wanted(source: Source, classes: Sequence[str | int] | None) -> list[int]:
    """The labels to fit, in order."""
    if classes is None:
        return sorted(source.classes)
    by_name = {name: label for label, name in source.classes.items()}
    labels = []
    for wanted in classes:
        label = by_name.get(wanted) if isinstance(wanted, str) else int(wanted)
        if label not in source.classes:
            known = ", ".join(repr(name) for name in list(by_name)[:20])
            raise ValueError(f"class {wanted!r} has no images in the dataset; it has {known}.")
        labels.append(label)
    if not labels:
        raise ValueError("classes must name at least one class, got none.")
    return sorted(set(labels))


def _config_with(config: FitConfig, start: VAEBank, images: int) -> FitConfig:
    """The options of a fit that goes on from `start`. Raises ValueError if they ask for a model of another shape."""
    if config == FitConfig():
        return start.config
    shape = {
        "latent_dim": start.latent_dim,
        "width": start.vae.width,
        "image_size": max(start.image_shape[1:]),
        "sharing": "warm-start",
    }
    for name, value in shape.items():
        if getattr(config, name) not in (None, value):
            raise ValueError(f"{name} must be that of the start bank, {value!r}, got {getattr(config, name)!r}.")
    return replace(config.resolve(images), latent_dim=start.latent_dim, width=start.vae.width)


def _check_fits(source: Source, config: FitConfig, start: VAEBank) -> None:
    """Raise ValueError if the images are of another kind than the start's; read values as it does."""
    channels = common_shape(source, config)[0]
    if channels != start.image_shape[0]:
        raise ValueError(f"images must have {start.image_shape[0]} channels as the start's do, got {channels}.")
    source.value_range = common_range(source.value_range, start.value_range)


def _start_of(bank: VAEBank) -> Start:
    start = bank.content.start
    if start is None:
        raise ValueError("start must be a bank fitted with sharing='warm-start', got one without shared weights.")
    return start


def _joined(start: VAEBank, fitted: VAEBank) -> VAEBank:
    """The start bank with its classes of the same labels replaced, and the others joined."""
    kept = [i.label for i in start.class_infos if i.label not in {f.label for f in fitted.class_infos}]
    joined = VAEBank.merge(start.subset(kept), fitted) if kept else fitted
    return VAEBank(replace(joined.content, config=start.config, policy=start.policy, data=start.data))


@contextmanager
def _progress(total: int, shown: bool) -> Iterator[tqdm[Any]]:
    """A bar on standard error, if that is a terminal."""
    with tqdm(total=total, disable=None if shown else True, unit="step", file=sys.stderr) as bar:
        yield bar
