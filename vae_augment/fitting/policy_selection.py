"""Choose whether the VAE belongs in a policy, from training data alone: one split and one trial bank."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count, product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from vae_augment.bank import VAEBank
from vae_augment.bank.draws import REAL, draw_batch, shares_of
from vae_augment.bank.policy import Policy
from vae_augment.bank.synthesis import Synthesis
from vae_augment.data.loading import FitData
from vae_augment.data.source import Source
from vae_augment.fitting.classifier import ClassifierJob, Factory, SmallCNN, logits, new_classifier, train_classifiers
from vae_augment.fitting.cross_validation import (
    BATCH,
    EPOCHS,
    JUDGES,
    TOLD_APART,
    evened,
    log_loss,
    mean_and_error,
    weights,
)
from vae_augment.model.devices import single_thread
from vae_augment.seeding import derive, draw_items, generator

HELD_OUT = 0.25  # of each class
MOST_HELD_OUT = 2_000  # images
LEAST_HELD_OUT = 20  # images; fewer say nothing
LEAST_TRIED = 50  # images; fewer do not tell whether the VAE helps
FEW_HELD_OUT = 100  # images; as many are held out from the warm start, whose VAE is then the trial
GENERATED_IMAGES = "generated images"  # name of a candidate
MANY_HELD_OUT = 200  # images, on which more candidates are compared


class Split(NamedTuple):
    """A dataset's images in two parts."""

    train: FitData  # for the trial's VAEs and classifiers
    held_out: FitData  # for measuring them


def split(data: FitData, seed: int) -> Split | None:
    """Hold out a quarter of each class, drawn by seed; None if too few images are left on either side."""
    held = torch.zeros(len(data.images), dtype=torch.bool)
    share = min(HELD_OUT, MOST_HELD_OUT / max(1, len(data.images)))
    for label, name in data.names.items():
        items = draw_items(data.labels, label, generator(seed, "policy", name))
        held[items[: round(len(items) * share) if len(items) > 1 else 0]] = True
    if int(held.sum()) < LEAST_HELD_OUT or len(data.names) < 2:
        return None
    return Split(*(FitData(data.images[mask], data.labels[mask], data.names) for mask in (~held, held)))


def choose(
    bank: VAEBank,
    default: Policy,
    parts: Split,
    *,
    instead: Policy | None = None,
    steps: int,
    seed: int,
    device: torch.device,
) -> tuple[Policy, SmallCNN]:
    """The default policy with the VAE or without it, and a classifier trained on images that are moved and no more.

    Two networks are trained on the training part as a wrapper serves it that evens classes out (as
    sampling_strategy="not majority" does), and their log-losses of the same held-out images compared. A default that
    jitters does so unless moves alone have the lower one, by three standard errors where the networks see the images
    few times, since what trains for longer gains more by it; where it does not, jitter must be better by one to come
    in. Of fewer than LEAST_TRIED held-out images the standard error is about as large as what is looked for
    (docs/what_helps.md): the default stands, and no more than the classifier is made.

    Args:
        bank: a trial, fitted on the training part alone.
        default: the policy for the dataset's size and kind, its moves chosen.
        parts: of the dataset.
        instead: a policy that takes the default's place, but for the images held out: one that generates.
        steps: of each classifier's training.
        seed: of the classifiers and draws, the same for every candidate.
        device: where to train.
    """
    labels = torch.tensor(sorted(parts.train.names))
    answers = torch.searchsorted(labels, parts.held_out.labels)  # [N]
    weight = weights(answers)

    def trained(policies: Iterable[Policy], networks: Sequence[Factory]) -> list[list[nn.Module]]:
        """For each policy a classifier by each network."""
        jobs, start = [], derive(seed, "judge")
        for policy, network in product(policies, networks):
            model = new_classifier(network, bank.image_shape, len(labels), start, device, scaled_to=parts.train.images)
            jobs.append(ClassifierJob(model, partial(_batches, bank, policy, parts.train, seed), seed))
        models = train_classifiers(jobs, steps=steps)
        return [models[i : i + len(networks)] for i in range(0, len(models), len(networks))]

    def losses_of(models: list[nn.Module]) -> Tensor:
        """Log-loss of each held-out image, averaged over classifiers: [N]."""
        with single_thread():
            found = [log_loss(logits(model, parts.held_out.images), answers, weight) for model in models]
        return torch.stack(found).mean(0)

    moved, usual = default.without_vae(), replace(default, vae=True)
    if default.off or len(answers) < LEAST_TRIED:
        [[judge]] = trained([moved], [SmallCNN])
        assert isinstance(judge, SmallCNN)
        untried = default if default.off else instead or default
        if not default.off:
            told = (
                f"{'with' if untried.vae else 'without'} the VAE, untried on as few as {len(answers)} held-out images"
            )
            untried = replace(untried, origin=f"{untried.origin}; {told}")
        return untried, judge
    candidates = {"jitter": usual}
    if instead is not None:
        candidates = {GENERATED_IMAGES: instead, "jitter": usual}
    elif len(answers) >= MANY_HELD_OUT:
        name = "jitter without detail" if usual.keep_detail else "jitter with detail"
        candidates[name] = replace(usual, keep_detail=not usual.keep_detail)
    without, *others = trained([moved, *candidates.values()], JUDGES)
    losses = {name: losses_of(models) for name, models in zip(candidates, others, strict=True)}
    judge = without[JUDGES.index(SmallCNN)]
    assert isinstance(judge, SmallCNN)
    short = steps * BATCH < EPOCHS * len(evened(torch.searchsorted(labels, parts.train.labels)))
    return _decide(default, candidates, losses, losses_of(without), weight, TOLD_APART if short else 0.0), judge


def _decide(
    default: Policy,
    candidates: dict[str, Policy],
    losses: dict[str, Tensor],
    alone: Tensor,
    weight: Tensor,
    apart: float,
) -> Policy:
    """The candidate, the first of which is the usual one, or the default without the VAE: by log-losses [N].

    A default that jitters does not by this only if moves alone are better by more than `apart` standard errors.
    """
    figures = {name: mean_and_error(weight * (found - alone)) for name, found in losses.items()}
    best = min(figures, key=lambda name: figures[name][0])
    usual = next(iter(candidates))
    if best != usual:  # it stands unless another is better by a standard error
        mean, error = mean_and_error(weight * (losses[best] - losses[usual]))
        best = best if mean < -error else usual
    mean, error = figures[best]
    worst = 0.0 if best == GENERATED_IMAGES else apart * error
    helps = mean <= worst if default.vae or best == GENERATED_IMAGES else mean < -error
    shown = "; ".join(f"{name} {mean:+.3f} (se {error:.3f})" for name, (mean, error) in figures.items())
    found = f"log-loss of {len(alone)} held-out images over moves alone: {shown}"
    policy = candidates[best] if helps else default.without_vae()
    told = f"with the VAE, {best}" if helps else "without the VAE"
    return replace(policy, origin=f"{policy.origin}; {told}, {found}")


def _batches(bank: VAEBank, policy: Policy, data: FitData, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless shuffled batches of the images that a wrapper with this policy serves."""
    order = generator(seed, "policy", "order")
    labels = torch.searchsorted(torch.tensor(sorted(data.names)), data.labels)
    served = Served(VAEBank(replace(bank.content, policy=policy)), data, seed)
    size = min(BATCH, len(served.origin))
    for epoch in count():
        for some in torch.randperm(len(served.origin), generator=order).unfold(0, size, size):
            yield served.batch(some, epoch).float().div_(255), labels[served.origin[some]]  # [B, C, H, W], [B]


class Served:
    """Images of a fit, served by the bank's policy as a `VAEAugmentedDataset` of them serves them, classes evened out.

    Args:
        bank: on the CPU.
        data: images of its classes, at its size.
        seed: of the draws.
    """

    def __init__(self, bank: VAEBank, data: FitData, seed: int) -> None:
        rows = torch.tensor([bank.row_of[label] for label in data.labels.tolist()])
        self._bank, self._images, self._seed = bank, data.images, seed
        self.origin = evened(rows)  # [M], the image behind each item; beyond N items are added ones, which are not real
        generate, jitter = bank.policy.p_generate, bank.policy.p_jitter
        added = torch.tensor([generate / (generate + jitter) if generate else 0.0, 1.0, 0.0])
        wanted = torch.tensor([generate, jitter, 0.0]).repeat(len(self.origin), 1)
        wanted[len(rows) :] = added
        self._shares = shares_of(bank, rows[self.origin], wanted)  # [M, 3]
        self._synthesis = Synthesis(bank, Source(TensorDataset(data.images, data.labels)), rows)

    def batch(self, items: Tensor, epoch: int) -> Tensor:
        """Items [B] as a wrapper with the same seed serves them in an epoch: uint8 [B, C, H, W]."""
        draws = draw_batch(self._bank, items.tolist(), self._shares[items], seed=self._seed, epoch=epoch)
        made = (draws.kind != REAL).nonzero()[:, 0]
        behind = self.origin[items]
        images = self._images[behind]
        if len(made):
            synthetic = self._synthesis.items(behind[made], draws.pick(made))
            images[made] = torch.stack([image for image, _ in synthetic])
        return images
