"""Labels for images that have none, by classifiers trained on those that have: pseudo-labels (Lee 2013)."""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vae_augment.bank.metadata import LearnedFrom
from vae_augment.bank.policy import Policy
from vae_augment.data.loading import FitData
from vae_augment.fitting.checkpoint import Checkpoint, Part
from vae_augment.fitting.classifier import Scaled, features
from vae_augment.fitting.cross_validation import CrossValidation, finite_logits, reduced, temperature, weights

ROUNDS = 2  # of labels, the second by classifiers that have seen those of the first
STEPS = 500  # of each classifier; with the 200 that tell moves apart hands are known half as often
SURE = 0.9  # probability from which on a label is believed
LEAST_RIGHT = 0.5  # of the way from chance to all right, on labelled images left out; below it no label is believed
USUAL = 0.9  # share of labelled images left out that lie as near to a class as an image must to be believed
LEAST_FOREIGN = 20  # images, from which classifiers learn what is of no class
RIDGE = 0.1  # of the mean variance of features, added to each: images are few
LEAST_VARIANCE = 1e-12
UNKNOWN = -1


LEAST_ADOPTED = 20  # images a class; with fewer the VAEs have seen hardly more than the classifier


class PseudoLabels(NamedTuple):
    """Labels found for images that have none.

    Args:
        classes: int64 [M], 0 to K-1, or UNKNOWN where none is believed.
        sure: float32 [M], the probability of the likeliest class.
        right: share of labelled images that classifiers trained without them label correctly, all classes alike.
    """

    classes: Tensor
    sure: Tensor
    right: float


class Adopted(NamedTuple):
    """Unlabelled images with labels that are believed, and the others.

    Args:
        data: the images adopted, class by class, with labels of the dataset.
        places: int64, the place of each in the images that were given.
        others: uint8 [M, C, H, W], images whose class is not known.
        summary: for a bank's metadata.
    """

    data: FitData
    places: Tensor
    others: Tensor
    summary: LearnedFrom

    @property
    def enough(self) -> bool:
        """True if the VAE of a typical class has seen clearly more than the labelled images."""
        return bool(median(self.summary.adopted.values()) >= LEAST_ADOPTED)


def adopt(
    data: FitData, unlabelled: Tensor, policy: Policy, seed: int, device: torch.device, checkpoint: Checkpoint
) -> Adopted:
    """Label images that have no label.

    Args:
        data: the labelled images.
        unlabelled: uint8 [M, C, H, W].
        policy: how the labelled images are moved.
        seed: of the classifiers.
        device: where to train them.
        checkpoint: keeps the labels.
    """
    kept = checkpoint.load("adopted")
    if kept is None:
        found = pseudo_labels(CrossValidation(data, seed=seed, device=device, even=False), policy, unlabelled)
        kept = Part({"classes": found.classes, "sure": found.sure}, {"right": found.right})
        checkpoint.save("adopted", kept)
    classes, sure = kept.tensors["classes"], kept.tensors["sure"]
    known = classes != UNKNOWN
    places = classes.argsort(stable=True)[int((~known).sum()) :]  # UNKNOWN is the first
    labels = torch.tensor(sorted(data.names))[classes[places]]
    summary = LearnedFrom(
        images=len(unlabelled),
        right=round(kept.values["right"], 4),
        sure=round(sure[known].mean().item(), 4) if bool(known.any()) else 0.0,
        adopted={name: int((labels == label).sum()) for label, name in sorted(data.names.items())},
    )
    return Adopted(FitData(unlabelled[places], labels, data.names), places, unlabelled[~known], summary)


def pseudo_labels(trial: CrossValidation, policy: Policy, images: Tensor) -> PseudoLabels:
    """Label images by the classifiers of a cross-validation, where these are sure, and as evenly as classes allow.

    Probabilities are the geometric mean of all classifiers', at the temperature that is best for images held out. An
    image of none of the classes may have a sure label too. It shows in features: if it lies further from the nearest
    class than labelled images left out do, it is not believed (Lee et al. 2018, "A Simple Unified Framework for
    Detecting Out-of-Distribution Samples and Adversarial Attacks"). Images that are far and not sure are a class of
    their own for the second round, by which it recognises others and no longer asks for distance. For digits that
    works, where a VAE's evidence hardly does (docs/what_helps.md).

    Args:
        trial: of the labelled images.
        policy: how these are moved.
        images: uint8 [M, C, H, W], at the size of the labelled ones.
    """
    small, more, right = reduced(images), None, 0.0
    classes, sure = torch.full((len(images),), UNKNOWN), torch.zeros(len(images))
    far = torch.zeros(len(images), dtype=torch.bool)  # from all classes, by classifiers of the labelled images alone
    for round_ in range(ROUNDS if trial.usable and trial.classes > 1 else 0):
        trained = trial.train([(policy, fold) for fold in trial.usable], more, steps=STEPS)
        models = dict(zip(trial.usable, trained, strict=True))
        left_out = {fold: trial.part(fold, held_out=True) for fold in models}
        # [N, K], and K+1 where a class of foreign images was taught
        outputs = torch.cat([finite_logits(models[fold], some) for fold, (some, _) in left_out.items()])
        answers = torch.cat([labels for _, labels in left_out.values()])  # [N]
        weight = weights(answers)
        if round_ == 0:  # later classifiers have labels from the others, who have seen the images left out
            right = (weight * (outputs.argmax(1) == answers)).mean().item()
            chance = 1 / trial.classes
            if right - chance < LEAST_RIGHT * (1 - chance):
                break
            far = _far(trial, models, small)
        softened = max(1.0, temperature(outputs, answers, weight))
        votes = torch.zeros(len(images), outputs.shape[1])  # sums of log-probabilities
        for model in models.values():
            votes += (finite_logits(model, small) / softened).log_softmax(1)
        sure, likeliest = votes.div_(len(models)).softmax(1).max(1)  # [M] each
        believed = (sure >= SURE) & (likeliest < trial.classes) & ~far
        classes = _evened(torch.where(believed, likeliest, UNKNOWN), sure)
        if not bool((classes != UNKNOWN).any()):
            break
        taught, foreign = classes.clone(), (far & (sure < SURE)).nonzero()[:, 0]
        if len(foreign) >= LEAST_FOREIGN:  # the next classifiers tell them, and need no distance
            most = int((classes != UNKNOWN).sum())  # of all classes together
            taught[foreign[:: 1 + len(foreign) // most]] = trial.classes
            far = torch.zeros_like(far)
        more = small[taught != UNKNOWN], taught[taught != UNKNOWN]
    return PseudoLabels(classes, sure, right)


def _far(trial: CrossValidation, models: dict[int, nn.Module], images: Tensor) -> Tensor:
    """True for images that lie further from all classes than most labelled images left out: bool [M]."""
    far, usual = torch.zeros(len(images)), []
    for fold, model in models.items():
        distance = _Distance(model, *trial.part(fold, held_out=False))
        own = distance(trial.part(fold, held_out=True)[0])  # [n]
        scale = own.mean().clamp_min(torch.finfo(own.dtype).tiny)  # another one for each classifier
        usual.append(own / scale)
        far += distance(images) / scale / len(models)
    return ~(far <= torch.cat(usual).quantile(USUAL))


class _Distance:
    """Mahalanobis distance in a classifier's features of images from the nearest class, of one pooled covariance.

    Args:
        model: a `Scaled` network.
        images: uint8 [n, C, h, w], from which means and covariance are.
        labels: int64 [n].
    """

    def __init__(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        assert isinstance(model, Scaled)
        self._model, found = model, features(model, images).nan_to_num(0.0, 0.0, 0.0)  # [n, D]
        means = torch.stack([found[labels == label].mean(0) for label in labels.unique()])  # [K, D]
        within = found - means[torch.searchsorted(labels.unique(), labels)]
        covariance = within.T @ within / len(within)
        variance = covariance.diagonal().mean().clamp_min(LEAST_VARIANCE)
        self._factor = torch.linalg.cholesky(covariance + RIDGE * variance * torch.eye(len(covariance)))
        self._means = self._whitened(means)

    def __call__(self, images: Tensor) -> Tensor:
        """Distances [N] of images [N, C, h, w]."""
        found = features(self._model, images).nan_to_num(0.0, 0.0, 0.0)  # of a model gone astray
        return torch.cdist(self._whitened(found), self._means).amin(1)

    def _whitened(self, found: Tensor) -> Tensor:
        whitened: Tensor = torch.linalg.solve_triangular(self._factor, found.T, upper=False)
        return whitened.T


def _evened(classes: Tensor, sure: Tensor) -> Tensor:
    """Classes [M] with the least sure images of the large ones UNKNOWN, beyond the median number of a class."""
    counts = torch.bincount(classes[classes != UNKNOWN])
    if not len(counts):
        return classes
    most, kept = int(counts[counts > 0].median()), torch.full_like(classes, UNKNOWN)
    for label in counts.nonzero()[:, 0].tolist():
        items = (classes == label).nonzero()[:, 0]
        kept[items[sure[items].argsort(descending=True, stable=True)[:most]]] = label
    return kept
