"""Choose a dataset's random moves: every family is tried on folds of the images themselves, before there is a VAE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vae_augment.bank.policy import Policy
from vae_augment.fitting.cross_validation import CrossValidation
from vae_augment.images.moves import FLIPPED, MIRRORED, with_flips

SCREENED, KEPT = 2, 2  # after so many folds so many families go on, beside the default and none
LEAST_IMAGES = 20
TOLD_APART = 2.0  # standard errors by which predictions must be better than chance, and moves than others
FLIPS_APART = 1.0  # and moves with flips than those without
LITTLE = 0.25  # of the way from chance to all right: if they are surely below, the labels tell nothing


def choose_moves(
    trial: CrossValidation,
    default: Policy,
    families: tuple[str, ...],
    on_try: Callable[[str], object] = lambda _: None,
    apart: float = TOLD_APART,
) -> Policy:
    """The default with the moves that lower the log-loss of held-out images most, and with what was found in `origin`.

    Families race over the folds (Maron and Moore 1994): those clearly behind the best leave after each. The default's
    own stands unless another is clearly better, or the images as they are no worse: folds are short, which favours
    slight moves. Flips must be better by one standard error, since they take few more steps to learn; both axes, where
    both help, unless one is clearly better. Where no moves help the images are served as they are, if the default has
    moves; and where classifiers surely do little better than chance. Where images are too few to show even that, the
    default stands untried.

    Args:
        trial: on the dataset.
        default: the policy for the kind and number of images; its probability to jitter is that to move.
        families: names in `vae_augment.images.moves.MOVES` that are tried beside the default's and "none".
        on_try: called with the name of a family before it is tried.
        apart: standard errors by which another family is clearly better.
    """

    def judge(name: str, fold: int) -> None:
        on_try(name)
        share = 0.0 if name == "none" else default.p_jitter
        trial.judge(name, replace(default, moves=name, p_generate=0.0, p_jitter=share), [fold])

    names = list(dict.fromkeys(("none", default.moves, *families)))
    for fold in trial.folds:
        for name in names:
            judge(name, fold)
        names = _left(trial, names, stay=("none", default.moves), most=KEPT if fold + 1 >= SCREENED else len(names))
    best = trial.best(names)
    mean, error = trial.over_chance(names)
    if mean < TOLD_APART * error:
        if mean + TOLD_APART * error < LITTLE:
            return _unmoved(default, "do not augment: held-out images are told apart no better than by chance")
        return replace(default, origin="untried: so few images do not show what moves do to them")
    mean, error = trial.over(default.moves, best)
    if mean <= apart * error and (default.moves == "none" or trial.over(default.moves, "none")[0] < 0):
        best = default.moves
    flips = [with_flips(best, each) for each in (MIRRORED, FLIPPED)]
    for name in flips:
        for fold in trial.folds:
            judge(name, fold)
            mean, error = trial.over(name, best)
            if mean > TOLD_APART * error or (fold + 1 >= SCREENED and mean >= 0):
                break
    gains = {name: trial.over(name, best) for name in flips}
    better = [name for name, (mean, error) in gains.items() if mean < -FLIPS_APART * error]
    if better:
        mirrored, both = better[0], better[-1]  # where both help, both axes unless the first is clearly better
        mean, error = trial.over(mirrored, both)
        best = mirrored if mean < -TOLD_APART * error else both
    shown = _shown(trial, [*names, *flips])
    if best != "none":
        return replace(default, p_generate=0.0, keep_detail=True, moves=best, origin=f"{best} moves: {shown}")
    found = f"no moves, since none lower the log-loss enough: {shown}"
    return replace(default, origin=found) if default.moves == "none" else _unmoved(default, found)


def _left(trial: CrossValidation, names: list[str], *, stay: tuple[str, ...], most: int) -> list[str]:
    """The best families, at most so many, that are not clearly behind the first of them, and those that stay."""
    ranked = sorted(names, key=lambda name: trial.over(name, "none")[0])
    figures = [(name, *trial.over(name, ranked[0])) for name in ranked[:most]]
    near = [name for name, mean, error in figures if mean <= TOLD_APART * error]
    return list(dict.fromkeys((*near, *stay)))


def _unmoved(default: Policy, origin: str) -> Policy:
    return replace(default, p_generate=0.0, p_jitter=0.0, moves="none", origin=origin)


def _shown(trial: CrossValidation, names: list[str]) -> str:
    """Log-loss of each family over the images as they are, and its standard error, the best first."""
    figures = sorted((trial.over(name, "none"), name) for name in dict.fromkeys(names) if name != "none")
    listed = ", ".join(f"{name} {mean:+.3f} (se {error:.3f})" for (mean, error), name in figures)
    return f"log-loss of held-out images over none: {listed}"
