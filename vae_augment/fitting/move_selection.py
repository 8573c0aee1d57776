"""Choose a dataset's random moves: every family is tried on folds of the images themselves, before there is a VAE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from vae_augment.bank.policy import MOVES_OF_KIND, Policy, default_policy, named_policy
from vae_augment.config import FitConfig
from vae_augment.data.loading import FitData
from vae_augment.fitting.checkpoint import Checkpoint, Part
from vae_augment.fitting.cross_validation import TOLD_APART, CrossValidation
from vae_augment.fitting.training import Move
from vae_augment.images.callers_moves import one_by_one
from vae_augment.images.kinds import kind_of_images
from vae_augment.images.moves import (
    FAMILIES,
    FLIPPED,
    MIRRORED,
    MOVES,
    colour_channels,
    default_invariances,
    with_flips,
)

SCREENED = 2  # folds that every family is tried on, so one by each network
KEPT = 2  # the best families, which see the other folds too, as the default, its best rival and none do
LEAST_IMAGES = 20
LEAST_TRYING = 600  # steps of a fit
BETTER = 1.0  # and flips than none, and the images as they are than the default's moves
DRAWN = 1.5  # and another kind's moves than those of drawings, which are the most particular
RIVALS = {MOVES_OF_KIND["drawings"]: (MOVES_OF_KIND["photographs"], MOVES_OF_KIND["textures"])}
LITTLE = 0.25  # of the way from chance to all right: two standard errors below it, the labels tell nothing


def first_policy(data: FitData, config: FitConfig) -> Policy:
    """The policy that is named, or else the default of the images' kind and number."""
    counts = torch.unique(data.labels, return_counts=True)[1].tolist()
    if config.policy != "auto":
        return named_policy(config.policy, counts, method="exemplar")
    return default_policy(counts, kind=kind_of_images(data.images), method="exemplar")


def training_moves(config: FitConfig, images: float, channels: int) -> Move | None:
    """The random moves a VAE is trained with, by its number of images and their channels that matter."""
    wanted = config.invariances
    if callable(wanted):
        return one_by_one(wanted)
    if wanted == "custom":
        raise ValueError("invariances must be given again: a bank does not hold a transform.")
    if wanted == "auto":
        wanted = default_invariances(images, channels)
    moves = MOVES[wanted]
    return None if moves is None else moves.draw


def tried_moves(
    data: FitData,
    default: Policy,
    steps: int,
    seed: int,
    device: torch.device,
    checkpoint: Checkpoint,
    on_try: Callable[[str], object],
) -> Policy:
    """The default policy with the moves that do best on folds of the images; as it is for very few images.

    Args:
        data: the images.
        default: the policy for their kind and number.
        steps: of the whole fit; of so few that trying moves would take longer, none is tried.
        seed: of folds, weights and draws.
        device: where to train.
        checkpoint: keeps the policy.
        on_try: called with words before families are tried.
    """
    if too_little(data, steps):
        return replace(default, origin=f"{default.origin}; too few images, classes or steps to try it")
    kept = checkpoint.load("moves")
    if kept is None:
        trial = CrossValidation(data, seed=seed, device=device)
        families = FAMILIES["colour" if colour_channels(data.images) >= 3 else "grey"]
        chosen = choose_moves(trial, default, families, on_try)
        kept = Part({}, {"policy": replace(chosen, origin=f"{default.origin}; {chosen.origin}").to_dict()})
        checkpoint.save("moves", kept)
    return Policy.from_dict(kept.values["policy"])


def too_little(data: FitData, steps: int) -> bool:
    """True if there are too few images or classes to try moves on, or steps of a fit for it to be worth their time."""
    return steps < LEAST_TRYING or len(data.names) < 2 or len(data.images) < LEAST_IMAGES


def choose_moves(
    trial: CrossValidation,
    default: Policy,
    families: tuple[str, ...],
    on_try: Callable[[str], object] = lambda _: None,
    apart: float = TOLD_APART,
) -> Policy:
    """The default with the moves that lower the log-loss of held-out images most, and with what was found in `origin`.

    The default's own family stands unless another is better by three standard errors, or the images as they are by one:
    folds are short, which favours slight moves. Where they are shorter than so many images need, the images as they are
    must be better by three too. Those of drawings give way to another kind's by one and a half: not all that lies on an
    even ground is drawn. Flips must be better by one, since they take few more steps to learn: both axes where they
    are, unless mirroring alone is clearly better. Where no moves help the images are served as they are, if the default
    has moves; and where classifiers surely do little better than chance. Where images are too few to show even that,
    the default stands untried.

    Args:
        trial: on the dataset.
        default: the policy for the kind and number of images; its probability to jitter is that to move.
        families: names in `vae_augment.images.moves.MOVES` that are tried beside the default's and "none".
        on_try: called with words before families are tried.
        apart: standard errors by which another family is clearly better.
    """
    names = list(dict.fromkeys(("none", default.moves, *families)))

    def judge(names: list[str], folds: range) -> None:
        if not names:
            return
        on_try(f"trying {len(names)} families of moves")
        shares = {name: 0.0 if name == "none" else default.p_jitter for name in names}
        policies = {n: replace(default, moves=n, p_generate=0.0, p_jitter=share) for n, share in shares.items()}
        trial.judge(policies, folds)

    judge(names, trial.folds[:SCREENED])
    ranked = sorted(names, key=lambda name: trial.over(name, "none")[0])
    rivals = [name for name in ranked if name in RIVALS.get(default.moves, ())]
    names = list(dict.fromkeys((*ranked[:KEPT], *rivals[:1], "none", default.moves)))
    judge(names, trial.folds)
    best = trial.best(names)
    mean, error = trial.over_chance(names)
    if mean < TOLD_APART * error:
        if mean + 2 * error < LITTLE:
            return _unmoved(default, "do not augment: held-out images are told apart no better than by chance")
        return replace(default, origin="untried: so few images do not show what moves do to them")
    mean, error = trial.over(default.moves, best)
    over_none, none_error = trial.over(default.moves, "none")
    if mean <= apart * error and over_none <= (apart if trial.short else BETTER) * none_error:
        rival = trial.best([default.moves, *(name for name in rivals if name in names)])
        mean, error = trial.over(rival, default.moves)
        best = rival if mean < -DRAWN * error else default.moves
    flips = [with_flips(best, each) for each in (MIRRORED, FLIPPED)]
    judge(flips, trial.folds[:SCREENED])
    judge([name for name in flips if trial.over(name, best)[0] < 0], trial.folds)
    gains = {name: trial.over(name, best) for name in flips}
    better = [name for name, (mean, error) in gains.items() if mean < -BETTER * error]
    if better:
        mirrored, both = better[0], better[-1]
        mean, error = trial.over(mirrored, both)
        best = mirrored if mean < -TOLD_APART * error else both
    shown = _shown(trial, [*names, *flips])
    if best != "none":
        return replace(default, p_generate=0.0, keep_detail=True, moves=best, origin=f"{best} moves: {shown}")
    found = f"no moves, since none lower the log-loss enough: {shown}"
    return replace(default, origin=found) if default.moves == "none" else _unmoved(default, found)


def _unmoved(default: Policy, origin: str) -> Policy:
    return replace(default, p_generate=0.0, p_jitter=0.0, moves="none", origin=origin)


def _shown(trial: CrossValidation, names: list[str]) -> str:
    """Log-loss of each family over the images as they are, and its standard error, the best first."""
    figures = sorted((trial.over(name, "none"), name) for name in dict.fromkeys(names) if name != "none")
    listed = ", ".join(f"{name} {mean:+.3f} (se {error:.3f})" for (mean, error), name in figures)
    return f"log-loss of held-out images over none: {listed}"
