"""evaluate: measure whether augmentation helps a classifier, on images held out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vae_augment.bank import VAEBank
from vae_augment.bank.policy import Policy
from vae_augment.config import FitConfig
from vae_augment.data.source import Source
from vae_augment.evaluation.arms import CLASSICAL, Classical, check_channels, default_classical, parse
from vae_augment.evaluation.backbones import Pretrained
from vae_augment.evaluation.intervals import paired_difference, recalls
from vae_augment.evaluation.prediction import Prediction
from vae_augment.evaluation.progress import Progress
from vae_augment.evaluation.result import Evaluation, verdict_of
from vae_augment.evaluation.rounds import Study
from vae_augment.evaluation.running import Rounds
from vae_augment.exceptions import check_type, check_whole
from vae_augment.fitting.checkpoint import Checkpoint, check_folder
from vae_augment.fitting.classifier import BATCH, Factory
from vae_augment.model.devices import choose_device
from vae_augment.processes import own_defaults
from vae_augment.seeding import check_seed
from vae_augment.wrapper.dataset import holds_augmented
from vae_augment.wrapper.sampling_strategy import Strategy, wanted_totals

LEAST_STEPS, MOST_STEPS, EPOCHS = 600, 5_000, 10


@torch.inference_mode(False)  # so that there are gradients, wherever it is called
@own_defaults()
def evaluate(
    dataset: Dataset[Any],
    *,
    labels: Sequence[int | str] | Tensor | None = None,
    bank: VAEBank | str | Path | None = None,
    test: Dataset[Any] | None = None,
    test_labels: Sequence[int | str] | Tensor | None = None,
    unlabelled: Dataset[Any] | str | Path | None = None,
    per_class: int | None = None,
    seeds: int = 5,
    arms: Sequence[str] = ("none", "classical", "ours", "ours+classical"),
    classifier: Factory | str | None = None,
    steps: int | None = None,
    seed: int = 0,
    progress: bool = True,
    config: FitConfig = FitConfig(),
    classical: Classical | None = None,
    sampling_strategy: Strategy | None = None,
    test_time_augmentation: int = 0,
    logit_adjustment: bool = False,
    device: str = "auto",
    minutes: float | None = None,
    checkpoint: str | Path | None = None,
) -> Evaluation:
    """Train the same classifier on the same images with and without augmentation, and compare on images held out.

    Each round fits a bank, including its policy, on the round's training images alone, and trains one classifier an
    arm: from the same initial weights, for the same number of steps, on the same images in the same order ("pseudo" and
    "oversampling" show others too, or some more often). Without `test` every round holds out a quarter of each class,
    or with `per_class` all other images.

    Example:
        >>> print(evaluate(ImageFolder("train"), test=ImageFolder("test")))

    Args:
        dataset: as in `fit`.
        labels: integers or names [N], in place of the dataset's own.
        bank: a bank or its path. With `test` and without `per_class` it must be fitted on `dataset`, and rounds differ
            in the classifiers alone. Otherwise each round fits a bank with its options, because the given one has seen
            images that are not trained on.
        test: images to measure on, of the same classes: by name, if both have names. None: they are held out from
            `dataset`, identical images together.
        test_labels: as `labels`, for `test`.
        unlabelled: as in `fit`, for the banks that are fitted. Images that are tested on are left out.
        per_class: train on this many images of each class, drawn anew in each round.
        seeds: number of rounds.
        arms: what to train on: "none", or a source, a recipe, or both, as in "ours+classical". Sources: "ours", "moves"
            (ours without the VAE), "pseudo" (moves, and half of each batch unlabelled images with labels found for
            them), "oversampling", "mixup", "cutmix", "textbook" (a VAE per class from scratch, drawn from the prior).
            Recipes: "classical", and torchvision's "randaugment", "trivialaugment" and "augmix".
        classifier: a function of (C, H, W) and K to a module, of float images [B, C, H, W] in [0, 1] to logits [B, K].
            Or a pretrained model of timm (extra `timm`): "timm:NAME" tunes it whole, "probe:timm:NAME" trains a linear
            layer on its frozen features. None: `SmallCNN`.
        steps: of each classifier's training, batches of 64; None: ten epochs, but 600 to 5,000 steps.
        seed: of everything random here.
        progress: say on standard error what it will take; then show a progress bar there, or, where it is no terminal,
            a line a minute.
        config: options of the banks that are fitted. With `bank`, its own options replace those that are the default
            here, and `invariances` that are a function must be given again. The arm "textbook" takes its preset,
            `steps`, `latent_dim` and `width`.
        classical: the augmentation of the classical arms, a function of float images [B, C, H, W] in [0, 1] and a CPU
            generator to the same shape. None: rotations of 15 degrees, shifts and scalings of 10 %, and for colour
            images brightness and contrast by 20 %.
        sampling_strategy: the wrapper's, in the arms "ours" and "moves".
        test_time_augmentation: mildly moved copies of each test image whose predictions are averaged with its own, in
            all arms.
        logit_adjustment: True predicts in all arms as if every class had been seen equally often in training (Menon et
            al. 2021).
        device: where to train; "auto" takes a CUDA device if there is one.
        minutes: begin no round but the first that would not be done by then; the result says how many were.
        checkpoint: a folder for finished rounds. The same evaluation goes on from it after an interruption, with more
            `seeds` too; a `classifier` or `classical` is known by its name alone. None: no round is kept.

    Raises:
        TypeError: as `fit`, or an option is of another type.
        FileExistsError: `checkpoint` is a file.
        ImportError: a pretrained classifier is named and timm is not installed.
        ValueError: an unknown arm, an option out of range, fewer than two classes, or fewer than two with an image left
            to test on; test data of other classes, of another scale, or all in `dataset` too; a bank that lacks a
            class; or a pretrained classifier whose weights are neither here nor to be had.
    """
    arms = tuple(dict.fromkeys(arms))
    for arm in arms:
        check_type("each of arms", arm, str, "the name of an arm")
        parse(arm)
    if test is None and test_labels is not None:
        raise ValueError("test_labels are for test, which is None.")
    named = [each if isinstance(each, str) else _name(each) for each in (classifier, classical)]
    if isinstance(classifier, str):
        classifier = Pretrained(classifier)
    check_seed(seed)
    check_type("config", config, FitConfig, "a FitConfig, such as FitConfig(preset='fast')")
    for name, function in (("classifier", classifier), ("classical", classical)):
        if function is not None and not callable(function):
            raise TypeError(f"{name} must be a function or None, got {function!r}.")
    check_folder(checkpoint)
    if minutes is not None and not (isinstance(minutes, (int, float)) and 0 < minutes < math.inf):
        raise ValueError(f"minutes must be a number above 0 or None, got {minutes!r}.")
    for name, value in (("seeds", seeds), ("steps", steps), ("per_class", per_class)):
        if value is not None:
            check_whole(name, value, 1)
    check_whole("test_time_augmentation", test_time_augmentation)
    check_type("logit_adjustment", logit_adjustment, bool, "True or False")
    if holds_augmented(dataset) or holds_augmented(test):
        raise TypeError("dataset and test must be the images themselves, not a VAEAugmentedDataset of them.")
    if not arms:
        raise ValueError("arms must name at least one arm, got none.")
    if unlabelled is None and any(parse(arm)[0] == "pseudo" for arm in arms):
        raise ValueError("the arm 'pseudo' needs unlabelled images.")
    measured = None if test is None else Source(test, test_labels)
    study = Study(Source(dataset, labels), bank, measured, per_class, config, seed, unlabelled)
    for arm in arms:
        check_channels(arm, study.shape[0])
    if isinstance(classifier, Pretrained):
        classifier(study.shape, len(study.names))  # errors now, not after a fit
    not_measured = study.unmeasured(seeds)
    strategy = None if sampling_strategy is None else study.strategy(sampling_strategy)
    if strategy is not None:
        wanted_totals(strategy, study.split(0)[0].targets, dict(enumerate(study.names)))  # errors now, not after hours
    per_round = steps or min(max(LEAST_STEPS, EPOCHS * study.train_count // BATCH), MOST_STEPS)
    recipe = classical or default_classical(study.channels)
    prediction = Prediction(test_time_augmentation, logit_adjustment)
    rounds = Rounds(study, arms, classifier, recipe, strategy, per_round, seed, choose_device(device), prediction)
    strategy_named = getattr(sampling_strategy, "__qualname__", sampling_strategy)
    key = study.key(arms, per_round, strategy_named, named, prediction)
    with Progress(shown=progress) as shown:
        shown.say(rounds.forecast(seeds) if progress else "")
        parts = rounds.run(seeds, minutes, Checkpoint(None if checkpoint is None else Path(checkpoint), key), shown)
    predictions = {arm: [part.tensors[arm] for part in parts] for arm in arms}
    answers = [study.split(number)[1].targets for number in range(len(parts))]
    policies = [Policy.from_dict(part.values["policy"]) for part in parts if part.values["policy"] is not None]
    setup = {
        "images": study.train_count,
        "images_per_class": study.fewest_and_most,
        "held_out": len(answers[0]),
        "classes": len(study.names),
        "image_shape": list(study.shape),
        "test_images_in_dataset": study.shared,
        "rounds": len(parts),
        "steps": per_round,
        "seed": seed,
        "sampling_strategy": sampling_strategy if isinstance(sampling_strategy, str) else strategy and "of its own",
        "not_measured": not_measured,
        "policies": [{"does": policy.sentence, "why": policy.origin} for policy in policies],
    }
    told = {
        "classifier": None if classifier is None else named[0],
        "test_time_augmentation": test_time_augmentation,
        "logit_adjustment": logit_adjustment,
    }
    setup |= {name: value for name, value in told.items() if value}
    if len(parts) < seeds:
        setup["not_measured"] = study.unmeasured(len(parts))
        setup["ended"] = f"after {len(parts)} of {seeds} rounds, at the limit of {minutes:g} minutes"
    return _summary(predictions, answers, study, setup)


def _summary(
    predictions: dict[str, list[Tensor]], answers: list[Tensor], study: Study, setup: dict[str, Any]
) -> Evaluation:
    metric = "balanced_accuracy" if study.unequal else "accuracy"
    rows: list[dict[str, Any]] = []
    for arm, rounds in predictions.items():
        recall = [recalls(p, a, len(study.names)) * 100 for p, a in zip(rounds, answers, strict=True)]
        accuracy = [(p == a).double().mean().item() * 100 for p, a in zip(rounds, answers, strict=True)]
        balanced = [r.nanmean().item() for r in recall]
        by_class = torch.stack(recall).nanmean(0).tolist()
        rows.append(
            {
                "arm": arm,
                "accuracy": _mean(accuracy),
                "balanced_accuracy": _mean(balanced),
                "recall": {n: None if r != r else round(r, 4) for n, r in zip(study.names, by_class, strict=True)},
                "rounds": [round(value, 4) for value in (balanced if study.unequal else accuracy)],
            }
        )
    by_arm = {row["arm"]: row for row in rows}
    for row in rows:
        for over in ("none", CLASSICAL):
            row[f"over_{over}"] = None
            if over in by_arm and row["arm"] != over:
                difference = paired_difference(
                    [a - b for a, b in zip(row["rounds"], by_arm[over]["rounds"], strict=True)],
                    overlap=study.overlap,
                    image_variance=_image_variance(predictions[row["arm"]], predictions[over], answers, study),
                )
                row[f"over_{over}"] = difference.to_dict()
    evaluation = Evaluation(rows, "", metric, setup)
    return replace(evaluation, verdict=verdict_of(evaluation))


def _name(function: object) -> str:
    """The name that a function is known by."""
    return str(getattr(function, "__qualname__", type(function).__name__))


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 4)


def _image_variance(ours: list[Tensor], theirs: list[Tensor], answers: list[Tensor], study: Study) -> float:
    """Variance of a difference due to the choice of test images, if all rounds have the same ones."""
    if not study.same_test_images:
        return 0.0
    pairs = zip(ours, theirs, answers, strict=True)
    change = torch.stack([(p == a).double() - (q == a).double() for p, q, a in pairs]).mean(0) * 100  # [N], points
    if len(change) < 2:
        return 0.0
    groups = [change[answers[0] == k] for k in answers[0].unique()] if study.unequal else [change]
    spreads = [(group if len(group) > 1 else change).var().item() / len(group) for group in groups]
    return sum(spreads) / len(groups) ** 2  # the variance of the mean of the groups' means
