"""The augmentation policy that a bank carries: probabilities, strength, and the default for a kind of dataset."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

from vae_augment.files.untrusted_json import check_types, from_dict
from vae_augment.images.kinds import KINDS
from vae_augment.images.moves import FEW_IMAGES, MOVES, Moves
from vae_augment.model.samplers import SAMPLERS

MAX_SCALE = 1000  # standard deviations


@dataclass(frozen=True)
class Policy:
    """The default probabilities and strength of augmentation, of the wrapper and the bank.

    Args:
        p_generate: probability that an item is a newly generated image of its class.
        p_jitter: probability that an item is a version of itself: jittered in latent space, moved, or both.
        scale: jitter in units of the class's spread in latent space.
        keep_detail: add the decoded difference to the image, instead of replacing it by the decoded one.
        smooth: where detail is kept, the difference is averaged over parts of the image: light and colour change
            and edges stay.
        method: the sampler of generated images.
        moves: a name in `vae_augment.images.moves.MOVES`: random moves of an image after it is jittered or generated.
        vae: False if items of p_jitter are moved and not jittered. Jitter that is asked for (`bank.jitter`, the
            wrapper's `p_jitter`, a transform's `scale`) has the scale none the less.
        p_unlabelled: share of the items that are unlabelled images taken for their class, where these are at hand; the
            probabilities above are those of the other items.
        origin: a sentence that says where the values come from.
    """

    p_generate: float
    p_jitter: float
    scale: float = 0.8
    keep_detail: bool = False
    method: str = "exemplar"
    moves: str = "none"
    vae: bool = True
    p_unlabelled: float = 0.0
    origin: str = ""
    smooth: bool = False

    def __post_init__(self) -> None:
        check_types(Policy, vars(self), "the policy")
        shares = self.p_generate, self.p_jitter
        if not (min(shares) >= 0 and sum(shares) <= 1):
            raise ValueError(f"p_generate and p_jitter must be in [0, 1] together, got {shares}")
        if not 0 <= self.p_unlabelled <= 1:
            raise ValueError(f"p_unlabelled must be in [0, 1], got {self.p_unlabelled}")
        if not 0 <= self.scale <= MAX_SCALE:
            raise ValueError(f"scale must be a finite number of at least 0, and at most {MAX_SCALE}, got {self.scale}")
        for name, known in (("method", tuple(SAMPLERS)), ("moves", tuple(MOVES))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {getattr(self, name)!r}")

    @property
    def mover(self) -> Moves | None:
        return MOVES[self.moves]

    @property
    def off(self) -> bool:
        """True if it augments nothing, unlabelled images apart."""
        return not (self.p_generate or (self.p_jitter and (self.vae or self.mover)))

    @property
    def served_scale(self) -> float:
        """Scale of the jitter of items that the policy serves."""
        return self.scale if self.vae else 0.0

    @property
    def sentence(self) -> str:
        """How often the wrapper changes items, and by what."""
        again = (
            f" Where it is given the unlabelled images again, {100 * self.p_unlabelled:g} of a hundred are of those."
        )
        more = again if self.p_unlabelled else ""
        if self.off:
            return f"The wrapper serves the images as they are, unless it is told otherwise.{more}"
        done = [
            *(["jittered"] if self.served_scale else []),
            *([] if self.mover is None else [f"moved ({self.moves})"]),
        ]
        changed = [f"{100 * self.p_jitter:g} {' and '.join(done) or 'as they are'}"] if self.p_jitter else []
        made = "newly generated" if self.mover is None else f"newly generated and moved ({self.moves})"
        generated = [f"{100 * self.p_generate:g} {made}"] if self.p_generate else []
        rest = "" if self.p_jitter + self.p_generate >= 1 else "; the others are the images themselves"
        return f"Of a hundred items the wrapper serves {', '.join(changed + generated)}{rest}.{more}"

    def without_vae(self) -> Policy:
        """The same moves as often, and nothing jittered or generated."""
        share = min(1.0, self.p_generate + self.p_jitter)
        return replace(self, p_generate=0.0, p_jitter=share, keep_detail=True, vae=False, p_unlabelled=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Fields as a bank's metadata holds them, `smooth` only where it is True."""
        return {name: value for name, value in asdict(self).items() if name != "smooth" or value}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Policy:
        """The inverse of `to_dict`. The entry "tiers" of earlier versions, always empty, is dropped."""
        if isinstance(values, dict) and values.get("tiers") == []:
            values = {name: value for name, value in values.items() if name != "tiers"}
        return from_dict(cls, values, "the policy")


# Share of newly generated items where VAEs have seen images that the classifier does not see, by kind.
GENERATED = {"drawings": 0.5, "photographs": 0.25, "textures": 0.0}
UNLABELLED = 0.5  # share of unlabelled images themselves where they are at hand; the other items are as told above


FAR_MORE = 5  # times the images of a dataset; a bank that has seen as many of a typical class has more to tell than it


def generating(policy: Policy, kind: str, seen: str) -> Policy:
    """The same policy with newly generated images, moved too, in a share of the items.

    Args:
        policy: the policy for the labelled images alone.
        kind: of the images, a name in `vae_augment.images.kinds.KINDS`.
        seen: text that says what the VAEs have seen that the classifier does not see.
    """
    share = GENERATED[kind]
    if not share:
        return policy
    told = f"newly generated images in {100 * share:g} of 100, since the VAEs have seen {seen}"
    jitter = (1 - share) * policy.p_jitter
    return replace(policy, p_generate=share, p_jitter=jitter, vae=True, origin=f"{policy.origin}; {told}")


# (images a class at most, p_generate, p_jitter, scale), measured on digits and on photographs (docs/what_helps.md).
DEFAULTS = ((100, 0.0, 0.85, 0.4), (1_000, 0.0, 0.5, 0.4), (float("inf"), 0.05, 0.1, 0.8))
# Smoothing halves the change that jitter makes of photographs (docs/photographs.md), so they are jittered twice as far.
SMOOTHED_FACTOR, SMOOTHED_SCALE = 2.0, 0.8  # of the scale, and what it comes to at most
MOVES_OF_KIND = {"drawings": "elastic", "photographs": "combined", "textures": "several"}
NAMED = ("none", "gentle", *MOVES_OF_KIND)
VERY_UNEQUAL, ENOUGH = 10, 100  # the largest class over the smallest, and images of a typical one


def default_policy(counts: Sequence[int], *, kind: str, method: str) -> Policy:
    """The default policy for a dataset's size and kind, the same for rare and common classes.

    Many images in very unequal classes are moved affinely and not bent. Bending lowers balanced accuracy there, since a
    rare class comes to be known by its bends, the more so if `sampling_strategy` adds to it (docs/what_helps.md).

    Args:
        counts: images of each class.
        kind: of the images, a name in `vae_augment.images.kinds.KINDS`.
        method: the sampler of generated images.
    """
    typical, fewest, most = median(counts), min(counts), max(counts)
    _, p_generate, p_jitter, scale = next(row for row in DEFAULTS if typical <= row[0])
    moves = MOVES_OF_KIND[kind] if typical < FEW_IMAGES else "none"
    size = f"about {typical:.0f} a class"
    if typical > ENOUGH and most >= VERY_UNEQUAL * fewest:
        moves = "colour" if kind == "photographs" else "affine"
        size = f"{fewest} to {most} a class, which sampling_strategy='not majority' would even out"
    smooth, detail = kind == "photographs", kind != "drawings" or moves != "none"
    scale = min(SMOOTHED_FACTOR * scale, SMOOTHED_SCALE) if smooth else scale
    policy = Policy(
        0.0 if detail else p_generate,
        p_jitter,
        scale,
        keep_detail=detail,
        smooth=smooth,
        method=method,
        moves=moves,
        origin=f"default for {kind} ({KINDS[kind]}), {size}",
    )
    return policy.without_vae() if kind == "textures" else policy


def policy_beside(
    own: Policy, counts: Sequence[int], seen: Sequence[int], shared: Sequence[int], kind: str | None
) -> Policy:
    """The policy for a dataset beside a bank: the bank's own, or, for far fewer images, the default of so few.

    That moves as the bank's own does, unless it has no moves because its classes are large, or the dataset's classes
    are very unequal; jitters no further than the bank's own; and generates if the bank has seen far more images of a
    typical class of the dataset.

    Args:
        own: the bank's policy, for the data it was fitted on.
        counts: images of each class of the dataset.
        seen: images of each class that the bank has seen.
        shared: images that the bank has seen of each of the dataset's classes.
        kind: of the dataset's images; None: the kind that the bank's policy names, or drawings.
    """
    if not len(counts) or min(counts) < 0:
        raise ValueError(f"counts must be the numbers of images of one class or more, got {list(counts)}.")
    if max(seen) < FAR_MORE * max(1, *counts) or (own.off and max(seen) < FEW_IMAGES):
        return own
    kind = kind or next((name for name in KINDS if f"default for {name}" in own.origin), "drawings")
    found = default_policy(counts, kind=kind, method=own.method)
    if own.p_jitter and own.smooth == found.smooth:  # how far jitter goes may have been tried on the bank's own images
        found = replace(found, scale=min(found.scale, own.scale)) if own.vae else found.without_vae()
    if own.mover is not None and found.moves == MOVES_OF_KIND[kind]:
        found = replace(found, moves=own.moves, origin=f"{found.origin}; {own.moves} moves, as the bank's")
    if median(shared) >= FAR_MORE * max(1, median(counts)):
        found = generating(found, kind, f"about {median(shared):g} images a class, far more than the dataset holds")
    return replace(found, p_unlabelled=own.p_unlabelled)


def named_policy(name: str, counts: Sequence[int], *, method: str) -> Policy:
    """A policy that a user names: "none", "gentle", or that of a kind.

    Args:
        name: one of NAMED.
        counts: images of each class.
        method: the sampler of generated images.
    """
    if name == "none":
        return silent_policy(method)
    typical = min(median(counts), FEW_IMAGES - 1)  # so that there are moves for many images too
    policy = default_policy([math.ceil(typical)], kind="textures" if name == "gentle" else name, method=method)
    return replace(policy, moves="gentle" if name == "gentle" else policy.moves, origin=f"{name}, named by hand")


def silent_policy(method: str) -> Policy:
    """A policy that augments nothing, unless a caller gives probabilities."""
    return Policy(0.0, 0.0, method=method, origin="switched off (policy='none')")
