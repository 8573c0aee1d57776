"""What helps and what does not: each idea's held-out accuracy beside plain and classical training.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.ideas [--cell NAME ...] [--idea TEXT ...] [--seeds N] [--table]

Nothing here sees a test set: images are drawn from training data, and held out from training data. The defaults were
chosen by these figures. Raw results go to docs/results/ideas-CELL.json, and what is there is not run again;
docs/what_helps.md is made from them.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from tests.benchmarks.ideas_page import write_page
from tests.benchmarks.usefulness import RESULTS, images_of
from vae_augment import FitConfig, VAEBank, fit
from vae_augment.arms import InMemory, batches, default_classical
from vae_augment.classifier import new_classifier, predict, train_classifier
from vae_augment.moves import AFFINE, COLOUR, ELASTIC, ELASTIC_COLOUR, Moves
from vae_augment.seeding import derive, generator

STEPS = 600
CELLS = {"mnist-10": ("mnist", 10), "mnist-50": ("mnist", 50), "sign-digits-10": ("sign-digits", 10)}
HELD_OUT = 5_000  # images of the training data, the same for all seeds
BANKS = {
    "textbook": FitConfig(sharing="none", invariances="none", policy="none"),
    "plain": FitConfig(invariances="none", policy="none"),
    "affine": FitConfig(invariances="affine", policy="none"),
    "moved": FitConfig(policy="none"),  # elastic moves, and of colours where there are any
}

Make = Callable[[VAEBank, InMemory, Tensor, Tensor, torch.Generator], Tensor]  # float images, rows -> float images


def normal(bank: VAEBank, count: int, random: torch.Generator) -> Tensor:
    return torch.randn(count, bank.latent_dim, generator=random)


def jitter(scale: float, *, detail: bool, moves: Moves | None = None) -> Make:
    def make(bank, data, x, rows, random):
        x = x if moves is None else moves.draw(x, random)
        return bank.move(x, rows, normal(bank, len(x), random), scale, detail)

    return make


def moved(moves: Moves) -> Make:
    return lambda bank, data, x, rows, random: moves.draw(x, random)


def generated(method: str, temperature: float = 1.0) -> Make:
    def make(bank, data, x, rows, random):
        chosen = torch.rand(len(x), generator=random)
        return bank.decode_rows(bank.draw(rows, normal(bank, len(x), random), chosen, method, temperature), rows)

    return make


def partners(data: InMemory, labels: Tensor, random: torch.Generator) -> Tensor:
    """A random image of each label."""
    found = [(data.targets == label).nonzero()[:, 0] for label in range(10)]
    picks = [found[k][int(torch.randint(len(found[k]), (1,), generator=random))] for k in labels.tolist()]
    return data.images[torch.stack(picks)].float() / 255


def interpolated(bank, data, x, rows, random):
    """Up to half-way to another image of the class, in latent space."""
    z, other = bank.encode_rows(x, rows)[0], bank.encode_rows(partners(data, rows, random), rows)[0]
    return bank.decode_rows(z + torch.rand(len(x), 1, generator=random) / 2 * (other - z), rows)


def carried(bank, data, x, rows, random):
    """Moved by the difference of two images of another class (as Schwartz et al. 2018 do with deltas)."""
    others = (rows + torch.randint(1, 10, (len(rows),), generator=random)) % 10
    a, b = (bank.encode_rows(partners(data, others, random), others)[0] for _ in range(2))
    return bank.decode_rows(bank.encode_rows(x, rows)[0] + 0.5 * (a - b), rows)


def posterior(bank, data, x, rows, random):
    """Drawn from each image's own posterior, whose covariance is the local metric (Chadebec and Allassonniere 2022)."""
    mean, logvar = bank.encode_rows(x, rows)
    return bank.decode_rows(mean + (logvar / 2).exp() * normal(bank, len(x), random), rows)


def screened(make: Make) -> Make:
    """Of two draws, the one that a classifier trained with classical augmentation is surer of."""
    judges: dict[int, torch.nn.Module] = {}

    @torch.no_grad()
    def surer(bank, data, x, rows, random):
        if id(data) not in judges:
            with torch.enable_grad():
                judges[id(data)] = trained(data, batches("classical", data, None, **plain_options(data, 0)), 0)
        two = [make(bank, data, x, rows, random) for _ in range(2)]
        sure = [judges[id(data)](images).softmax(1).gather(1, rows[:, None]) for images in two]
        return torch.where((sure[0] >= sure[1])[..., None, None], two[0], two[1])

    return surer


def constant(share: float) -> Callable[[float], float]:
    return lambda progress: share


def falling(progress: float) -> float:
    return 0.9 * (1 + math.cos(math.pi * progress)) / 2


# name: (bank, how images are made, share of a batch by progress of the training)
GREY = {
    "moved affinely": (None, moved(AFFINE), constant(0.75)),
    "moved elastically": (None, moved(ELASTIC), constant(0.75)),
    "textbook: a VAE per class from scratch, prior": ("textbook", generated("prior"), constant(0.5)),
    "shared start, prior": ("plain", generated("prior"), constant(0.5)),
    "shared start, jitter 0.8": ("plain", jitter(0.8, detail=False), constant(0.5)),
    "VAE of affine copies, jitter 0.8": ("affine", jitter(0.8, detail=False), constant(0.5)),
    "VAE of elastic copies, jitter 0.8": ("moved", jitter(0.8, detail=False), constant(0.5)),
    "jitter 0.8, detail kept": ("moved", jitter(0.8, detail=True), constant(0.5)),
    "jitter 0.8, share falling": ("moved", jitter(0.8, detail=False), falling),
    "jitter 0.8, screened by a classifier": ("moved", screened(jitter(0.8, detail=False)), constant(0.5)),
    "drawn around exemplars": ("moved", generated("exemplar"), constant(0.5)),
    "drawn from a Gaussian": ("moved", generated("gaussian"), constant(0.5)),
    "interpolated within the class": ("moved", interpolated, constant(0.5)),
    "differences of other classes carried over": ("moved", carried, constant(0.5)),
    "drawn from the posterior": ("moved", posterior, constant(0.5)),
    "moved, then jittered 0.4": ("moved", jitter(0.4, detail=False, moves=ELASTIC), constant(0.85)),
    "moved, then jittered 0.4, detail kept (the default)": (
        "moved",
        jitter(0.4, detail=True, moves=ELASTIC),
        constant(0.85),
    ),
    "moved, then jittered 0.8, detail kept": ("moved", jitter(0.8, detail=True, moves=ELASTIC), constant(0.85)),
}
COLOURED = {
    "moved affinely, with colour": (None, moved(COLOUR), constant(0.75)),
    "moved elastically, with colour": (None, moved(ELASTIC_COLOUR), constant(0.75)),
    "shared start, jitter 0.8": ("plain", jitter(0.8, detail=False), constant(0.5)),
    "VAE of moved copies, jitter 0.8": ("moved", jitter(0.8, detail=False), constant(0.5)),
    "jitter 0.8, detail kept": ("moved", jitter(0.8, detail=True), constant(0.5)),
    "interpolated within the class": ("moved", interpolated, constant(0.5)),
    "moved, then jittered 0.4, detail kept": ("moved", jitter(0.4, detail=True, moves=ELASTIC_COLOUR), constant(0.75)),
    "moved, then jittered 0.8, detail kept (the default)": (
        "moved",
        jitter(0.8, detail=True, moves=ELASTIC_COLOUR),
        constant(0.75),
    ),
}


def split(cell: str, seed: int) -> tuple[InMemory, InMemory]:
    """Training and held-out images, both of the training data."""
    data, count = CELLS[cell]
    everything = images_of(data, True)
    order = torch.randperm(len(everything), generator=generator(0, "ideas"))
    held = order[: min(HELD_OUT, len(order) // 2)]
    rest = order[len(held) :]
    chosen = []
    for label in range(10):
        items = rest[everything.targets[rest] == label]
        chosen.append(items[torch.randperm(len(items), generator=generator(seed, "ideas", label))[:count]])
    return tuple(InMemory(everything.images[i], everything.targets[i]) for i in (torch.cat(chosen), held))


def plain_options(data: InMemory, seed: int) -> dict:
    return {"classical": default_classical(data.images.shape[1]), "sampling_strategy": None, "seed": seed}


def trained(data: InMemory, stream: Iterator, seed: int) -> torch.nn.Module:
    model = new_classifier(None, tuple(data.images.shape[1:]), 10, derive(seed, "ideas"), torch.device("cpu"))
    return train_classifier(model, stream, steps=STEPS, seed=seed)


@torch.no_grad()
def mixed(idea: tuple, bank: VAEBank | None, data: InMemory, classical: bool, seed: int) -> Iterator:
    """Batches some of whose images are made by an idea."""
    _, make, share = idea
    kinds, draws, moves = (generator(seed, "ideas", name) for name in ("kinds", "draws", "classical"))
    recipe = default_classical(data.images.shape[1])
    for step, (images, labels) in enumerate(batches("none", data, None, **plain_options(data, seed))):
        some = torch.rand(len(images), generator=kinds) < share(step / STEPS)
        if bool(some.any()):
            images[some] = make(bank, data, images[some], labels[some], draws).clamp(0, 1)
        yield (recipe(images, moves) if classical else images), labels


def run(cell: str, wanted: list[str], seeds: int) -> None:
    path = RESULTS / f"ideas-{cell}.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    ideas = COLOURED if cell.startswith("sign") else GREY
    for seed in range(seeds):
        train, held_out = split(cell, seed)
        banks: dict[str, VAEBank] = {}
        for name in ("nothing", *ideas):
            if name != "nothing" and wanted and not any(text in name for text in wanted):
                continue
            results = content.setdefault(name, {"alone": {}, "with classical": {}})
            for beside, accuracies in results.items():
                if str(seed) in accuracies:
                    continue
                classical = beside == "with classical"
                if name == "nothing":
                    arm = "classical" if classical else "none"
                    stream = batches(arm, train, None, **plain_options(train, seed))
                else:
                    kind = ideas[name][0]
                    if kind is not None and kind not in banks:
                        banks[kind] = fit(train, config=BANKS[kind], seed=seed)
                    stream = mixed(ideas[name], banks.get(kind), train, classical, seed)
                right = predict(trained(train, stream, seed), held_out.images) == held_out.targets
                accuracies[str(seed)] = round(right.double().mean().item() * 100, 3)
                print(cell, seed, name, beside, accuracies[str(seed)], flush=True)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.with_suffix(".partial").write_text(json.dumps(content, indent=1) + "\n")
                path.with_suffix(".partial").replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs="*", choices=list(CELLS), default=list(CELLS))
    parser.add_argument("--idea", nargs="*", default=[], help="those whose names hold one of these texts")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--table", action="store_true", help="make the page from what is there, run nothing")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    for cell in [] if options.table else options.cell:
        run(cell, options.idea, options.seeds)
    write_page(RESULTS, Path(RESULTS).with_name("what_helps.md"))


if __name__ == "__main__":
    main()
