"""Ways of making images from a bank and real images, each an idea that `tests.benchmarks.ideas` measures."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn

from tests.benchmarks.densities import fitted_flow
from vae_augment import VAEBank
from vae_augment.bank.jitter import jitter as bank_jitter
from vae_augment.evaluation.arms import InMemory
from vae_augment.images.moves import Moves
from vae_augment.model.latent import covariance, pooled_covariance
from vae_augment.seeding import generator

POOL = 300  # latents a class that are drawn ahead, where a draw takes long
ERASED = 0.3  # of the side


class Fitted:
    """A bank and its training images, and what ideas fit on them when it is first asked for.

    Args:
        bank: None for ideas that need none.
        data: labels 0 to K-1, which are the bank's class positions too.
        judge: makes a classifier trained on the data with classical augmentation.
    """

    def __init__(self, bank: VAEBank | None, data: InMemory, judge: Callable[[], nn.Module]) -> None:
        self._bank, self.data, self._judge = bank, data, judge
        self.items = [(data.targets == label).nonzero()[:, 0] for label in range(int(data.targets.max()) + 1)]

    @property
    def bank(self) -> VAEBank:
        assert self._bank is not None
        return self._bank

    @cached_property
    def judge(self) -> nn.Module:
        with torch.enable_grad():
            return self._judge()

    @cached_property
    def posteriors(self) -> list[tuple[Tensor, Tensor]]:
        """Mean and log-variance [N, L] of each class's training images."""
        images = (self.data.images[items].float() / 255 for items in self.items)
        rows = (torch.full((len(items),), row) for row, items in enumerate(self.items))
        return [self.bank.models.encode(x, row) for x, row in zip(images, rows, strict=True)]

    @cached_property
    def codes(self) -> list[Tensor]:
        return [mean for mean, _ in self.posteriors]

    @cached_property
    def own_factors(self) -> Tensor:
        """Cholesky factors [K, L, L] of each class's own covariance, not shrunk."""
        return torch.stack([factor(covariance(codes)) for codes in self.codes])

    @cached_property
    def pooled_factors(self) -> Tensor:
        """The factor of the covariance within classes, for each class [K, L, L]."""
        return factor(pooled_covariance(self.codes)).expand(len(self.codes), -1, -1)

    @cached_property
    def flow_pool(self) -> Tensor:
        """[K, POOL, L], from one flow for all classes."""
        with torch.enable_grad():
            flow = fitted_flow(self.codes)
        noise = torch.randn(len(self.codes) * POOL, self.bank.latent_dim, generator=generator(0, "flow"))
        rows = torch.arange(len(self.codes)).repeat_interleave(POOL)
        return flow.sample(noise, rows).view(len(self.codes), POOL, -1)


Make = Callable[[Fitted, Tensor, Tensor, torch.Generator], Tensor]  # float images, class positions -> float images


def factor(matrix: Tensor) -> Tensor:
    return torch.linalg.cholesky(matrix + 1e-6 * torch.eye(len(matrix)))


def normal(known: Fitted, count: int, random: torch.Generator) -> Tensor:
    return torch.randn(count, known.bank.latent_dim, generator=random)


def moved(moves: Moves) -> Make:
    return lambda known, x, rows, random: moves.draw(x, random)


def jitter(scale: float, *, detail: bool, moves: Moves | None = None) -> Make:
    def make(known: Fitted, x: Tensor, rows: Tensor, random: torch.Generator) -> Tensor:
        x = x if moves is None else moves.draw(x, random)
        return bank_jitter(known.bank, x, rows, normal(known, len(x), random), scale=scale, keep_detail=detail)

    return make


def coloured(factors: str, scale: float) -> Make:
    """Jitter by the covariance whose Cholesky factors are that attribute of what is fitted."""

    def make(known: Fitted, x: Tensor, rows: Tensor, random: torch.Generator) -> Tensor:
        step = torch.einsum("bij,bj->bi", getattr(known, factors)[rows], normal(known, len(x), random))
        return known.bank.models.decode(known.bank.models.encode(x, rows)[0] + scale * step, rows)

    return make


def generated(method: str, temperature: float = 1.0) -> Make:
    def make(known: Fitted, x: Tensor, rows: Tensor, random: torch.Generator) -> Tensor:
        chosen = torch.rand(len(x), generator=random)
        z = known.bank.draw(rows, normal(known, len(x), random), chosen, method, temperature)
        return known.bank.models.decode(z, rows)

    return make


def from_flow(known: Fitted, x: Tensor, rows: Tensor, random: torch.Generator) -> Tensor:
    """Decoded from latents that were drawn ahead."""
    chosen = torch.randint(POOL, (len(x),), generator=random)
    return known.bank.models.decode(known.flow_pool[rows, chosen], rows)


def partners(known: Fitted, labels: Tensor, random: torch.Generator) -> Tensor:
    """A random image of each label, float [B, C, H, W]."""
    items = (known.items[label] for label in labels.tolist())
    picks = [of[int(torch.randint(len(of), (1,), generator=random))] for of in items]
    return known.data.images[torch.stack(picks)].float() / 255


def shifted(known: Fitted, x: Tensor, rows: Tensor, shift: Callable[[Tensor], Tensor], detail: bool) -> Tensor:
    """Decoded from the images' codes and the shift of these; or the difference that it makes, added to the images."""
    z = known.bank.models.encode(x, rows)[0]
    made = known.bank.models.decode(z + shift(z), rows)
    return x + made - known.bank.models.decode(z, rows) if detail else made


def interpolated(*, detail: bool) -> Make:
    """Up to half-way to another image of the class, in latent space."""

    def make(known: Fitted, x: Tensor, rows: Tensor, random: torch.Generator) -> Tensor:
        other = known.bank.models.encode(partners(known, rows, random), rows)[0]
        share = torch.rand(len(x), 1, generator=random) / 2
        return shifted(known, x, rows, lambda z: share * (other - z), detail)

    return make


def carried(*, detail: bool) -> Make:
    """Moved by the difference of two images of another class (as Schwartz et al. 2018 do with deltas)."""

    def make(known: Fitted, x: Tensor, rows: Tensor, random: torch.Generator) -> Tensor:
        classes = len(known.items)
        others = (rows + torch.randint(1, classes, (len(rows),), generator=random)) % classes
        a, b = (known.bank.models.encode(partners(known, others, random), others)[0] for _ in range(2))
        return shifted(known, x, rows, lambda z: 0.5 * (a - b), detail)

    return make


def posterior(known: Fitted, x: Tensor, rows: Tensor, random: torch.Generator) -> Tensor:
    """Drawn from each image's own posterior: what the VAE itself takes for the same image."""
    mean, logvar = known.bank.models.encode(x, rows)
    return known.bank.models.decode(mean + (logvar / 2).exp() * normal(known, len(x), random), rows)


def followed(make: Make, *others: Make) -> Make:
    def together(known: Fitted, x: Tensor, rows: Tensor, random: torch.Generator) -> Tensor:
        for one in (make, *others):
            x = one(known, x, rows, random)
        return x

    return together


def either(make: Make, other: Make) -> Make:
    """Each image made in one way or the other, as often."""

    def one_or_other(known: Fitted, x: Tensor, rows: Tensor, random: torch.Generator) -> Tensor:
        first = torch.rand(len(x), 1, 1, 1, generator=random) < 0.5
        return torch.where(first, make(known, x, rows, random), other(known, x, rows, random))

    return one_or_other


def flipped(known: Fitted, x: Tensor, rows: Tensor, random: torch.Generator) -> Tensor:
    """Half of the images mirrored."""
    some = torch.rand(len(x), 1, 1, 1, generator=random) < 0.5
    return torch.where(some, x.flip(-1), x)


def erased(known: Fitted, x: Tensor, rows: Tensor, random: torch.Generator) -> Tensor:
    """Half of the images with a square at the mean of the image (DeVries and Taylor 2017, "Cutout")."""
    x, side = x.clone(), round(ERASED * x.shape[-1])
    for image in x:
        if float(torch.rand((), generator=random)) < 0.5:
            top, left = (int(torch.randint(size - side + 1, (), generator=random)) for size in image.shape[-2:])
            image[:, top : top + side, left : left + side] = image.mean((1, 2), keepdim=True)
    return x


def thickened(known: Fitted, x: Tensor, rows: Tensor, random: torch.Generator) -> Tensor:
    """Bright strokes between thinned and thickened by a pixel on each side."""
    thick, thin = nn.functional.max_pool2d(x, 3, 1, 1), -nn.functional.max_pool2d(-x, 3, 1, 1)
    amount = torch.rand(len(x), 1, 1, 1, generator=random) * 2 - 1
    return torch.where(amount > 0, x + amount * (thick - x), x - amount * (thin - x))


def screened(make: Make, score: Callable[[Fitted, Tensor, Tensor], Tensor]) -> Make:
    """Of two draws, the one of the higher score."""

    def better(known: Fitted, x: Tensor, rows: Tensor, random: torch.Generator) -> Tensor:
        two = [make(known, x, rows, random) for _ in range(2)]
        first, second = (score(known, images, rows) for images in two)
        return torch.where((first >= second)[:, None, None, None], two[0], two[1])

    return better


def certainty(known: Fitted, images: Tensor, rows: Tensor) -> Tensor:
    """A classifier's probability of the class."""
    return known.judge(images).softmax(1).gather(1, rows[:, None])[:, 0]


def evidence(known: Fitted, images: Tensor, rows: Tensor) -> Tensor:
    """The evidence lower bound under the class's VAE, with pixels' standard deviation at 0.1."""
    mean, logvar = known.bank.models.encode(images, rows)
    error = (known.bank.models.decode(mean, rows) - images).square().sum((1, 2, 3)) / (2 * 0.1**2)
    return -error - 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1)
