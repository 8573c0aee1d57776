"""How often and how strongly to augment: data that a bank carries, not opinion in the wrapper."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vae_augment.latent import SAMPLERS


@dataclass(frozen=True)
class Policy:
    """What the wrapper and the bank do where their caller says nothing.

    Args:
        p_generate: probability that an item is a newly generated image of its class.
        p_jitter: probability that an item is a latent-jittered version of itself.
        scale: jitter in units of the class's spread in latent space.
        keep_detail: add the decoded difference to the image, instead of decoding it anew.
        method: the sampler of generated images.
        origin: where the values come from, for people to read.
    """

    p_generate: float
    p_jitter: float
    scale: float = 0.8
    keep_detail: bool = False
    method: str = "exemplar"
    origin: str = ""

    def __post_init__(self) -> None:
        numbers = (self.p_generate, self.p_jitter, self.scale)
        if not all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in numbers):
            raise ValueError(f"p_generate, p_jitter and scale must be numbers, got {numbers}")
        if not (self.p_generate >= 0 <= self.p_jitter and self.p_generate + self.p_jitter <= 1):
            raise ValueError(f"p_generate and p_jitter must be in [0, 1] together, got {numbers[:2]}")
        if not 0 <= self.scale < float("inf"):
            raise ValueError(f"scale must be a finite number of at least 0, got {self.scale}")
        if not isinstance(self.keep_detail, bool) or self.method not in SAMPLERS:
            raise ValueError(f"keep_detail {self.keep_detail!r} or method {self.method!r} is not known")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Policy:
        return cls(**values)


# (images a class at most, p_generate, p_jitter). Jitter helped most where images were fewest; images drawn anew helped
# too, but less. Early choices, to be replaced by ones made on the user's data.
DEFAULT_SHARES = ((20, 0.15, 0.6), (100, 0.1, 0.4), (1_000, 0.1, 0.2), (float("inf"), 0.05, 0.1))


def default_policy(images_per_class: float, *, natural: bool, method: str) -> Policy:
    """The default for a dataset's size and kind.

    Args:
        images_per_class: mean number of images a class.
        natural: colour photographs rather than drawings; their detail is kept.
        method: the sampler that the bank can serve.
    """
    _, p_generate, p_jitter = next(row for row in DEFAULT_SHARES if images_per_class <= row[0])
    kind = "colour images" if natural else "grey images"
    if natural:  # drawn anew they are blurred, and jittered ones keep their detail
        p_generate = 0.0
    origin = f"default for {kind}, about {images_per_class:.0f} a class; not tuned on this data"
    return Policy(p_generate, p_jitter, keep_detail=natural, method=method, origin=origin)


def silent_policy(method: str) -> Policy:
    """Augments nothing unless asked to."""
    return Policy(0.0, 0.0, method=method, origin="switched off (policy='none')")
