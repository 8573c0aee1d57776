"""What helps and what does not: each idea's held-out accuracy beside plain and classical training.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.ideas [--cell NAME ...] [--idea TEXT ...] [--seeds N] [--table]

Nothing here sees a test set: images are drawn from training data, and held out from training data. The defaults were
chosen by these figures. Raw results go to docs/results/ideas-CELL.json, and what is there is not run again;
docs/what_helps.md is made from them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import torch

from tests.benchmarks.ideas_page import write_page
from tests.benchmarks.ideas_tried import BANKS, ELASTIC, IDEAS, Evened
from tests.benchmarks.usefulness import CELLS as USEFULNESS
from tests.benchmarks.usefulness import RESULTS, Cell, images_of
from tests.benchmarks.ways import Fitted
from vae_augment import VAEBank, fit
from vae_augment.evaluation.arms import InMemory, batches, default_classical
from vae_augment.evaluation.intervals import recalls
from vae_augment.fitting import stages
from vae_augment.fitting.classifier import new_classifier, predict, train_classifier
from vae_augment.images.moves import MOVES
from vae_augment.seeding import derive, draw_items, generator

BESIDE = ("alone", "with classical")
SHORT_TAIL = (100, 60, 40, 30, 20, 15, 10, 8, 6, 5)  # of the ten digits
CELLS = {
    **{name: USEFULNESS[name] for name in ("mnist-10", "mnist-50", "sign-digits-10", "mnist-long-tail")},
    "mnist-50-closely": USEFULNESS["mnist-50"],
    "mnist-short-tail": Cell("mnist", SHORT_TAIL, 600, ()),
}
HELD_OUT = dict.fromkeys(CELLS, 5_000) | {"mnist-50-closely": 20_000}  # images, at most half; the same for all seeds


def split(name: str, seed: int) -> tuple[InMemory, InMemory]:
    """Training and held-out images, both of the training data."""
    cell = CELLS[name]
    everything = images_of(cell.data, True)
    order = torch.randperm(len(everything), generator=generator(0, "ideas"))
    held = order[: min(HELD_OUT[name], len(order) // 2)]
    rest = order[len(held) :]
    chosen = []
    for label in range(10):
        count = cell.counts[label % len(cell.counts)]
        chosen.append(rest[draw_items(everything.targets[rest], label, generator(seed, "ideas", label), count)])
    return tuple(InMemory(everything.images[i], everything.targets[i]) for i in (torch.cat(chosen), held))


def plain_options(data: InMemory, seed: int) -> dict:
    return {"classical": default_classical(data.images.shape[1]), "sampling_strategy": None, "seed": seed}


def trained(data: InMemory, stream: Iterator, steps: int, seed: int) -> torch.nn.Module:
    model = new_classifier(None, tuple(data.images.shape[1:]), 10, derive(seed, "ideas"), torch.device("cpu"))
    return train_classifier(model, stream, steps=steps, seed=seed)


class Round:
    """One cell and seed: its images, and what is fitted on them when it is first asked for."""

    def __init__(self, cell: str, seed: int) -> None:
        self.seed, self.steps, self.balanced = seed, CELLS[cell].steps, CELLS[cell].balanced
        self.train, self.held_out = split(cell, seed)
        self._known: dict[str | None, Fitted] = {}

    def known(self, kind: str | None) -> Fitted:
        if kind not in self._known:
            self._known[kind] = Fitted(None if kind is None else self._bank(kind), self.train, self._judge)
        return self._known[kind]

    @patch.dict(MOVES, elastic=ELASTIC)  # what "elastic" was when ideas were first measured
    def accuracy(self, idea: tuple | Evened | None, classical: bool) -> float:
        """Of held-out images, in percent; the mean over classes where these are unequal in training."""
        if isinstance(idea, Evened):
            stream = self._evened(idea, classical)
        else:
            stream = self._plain(classical) if idea is None else self._mixed(idea, classical)
        model, truth = trained(self.train, stream, self.steps, self.seed), self.held_out.targets
        predicted = predict(model, self.held_out.images)
        right = (predicted == truth).double().mean() if self.balanced else recalls(predicted, truth, 10).mean()
        return round(right.item() * 100, 3)

    @torch.no_grad()
    def _mixed(self, idea: tuple, classical: bool) -> Iterator:
        """Batches some of whose images are made by an idea."""
        kind, make, share = idea
        known, recipe = self.known(kind), default_classical(self.train.images.shape[1])
        counts = torch.bincount(self.train.targets)
        kinds, draws, moves = (generator(self.seed, "ideas", name) for name in ("kinds", "draws", "classical"))
        for step, (images, labels) in enumerate(self._plain(classical=False)):
            some = torch.rand(len(images), generator=kinds) < share(step / self.steps, counts[labels])
            if bool(some.any()):
                images[some] = make(known, images[some], labels[some], draws).clamp(0, 1)
            yield (recipe(images, moves) if classical else images), labels

    def _evened(self, idea: Evened, classical: bool) -> Iterator:
        bank = None if idea.changes is None else self.known("default").bank.with_policy(**idea.changes)
        arm = ("oversampling" if bank is None else "ours") + ("+classical" if classical else "")
        options = plain_options(self.train, self.seed) | {"sampling_strategy": "not majority"}
        return batches(arm, self.train, bank, **options)

    def _bank(self, kind: str) -> VAEBank:
        config, warm_share = BANKS[kind]
        with patch.object(stages, "WARM_SHARE", warm_share):
            return fit(self.train, config=config, seed=self.seed)

    def _plain(self, classical: bool) -> Iterator:
        return batches("classical" if classical else "none", self.train, None, **plain_options(self.train, self.seed))

    def _judge(self) -> torch.nn.Module:
        return trained(self.train, self._plain(classical=True), self.steps, self.seed)


def run(cell: str, wanted: list[str], beside: list[str], seeds: int) -> None:
    path = RESULTS / f"ideas-{cell}.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    ideas = {"nothing": None, **IDEAS[cell]}
    chosen = [name for name in ideas if name == "nothing" or not wanted or any(text in name for text in wanted)]
    for seed in range(seeds):
        current = Round(cell, seed)
        for name in chosen:
            results = content.setdefault(name, {kind: {} for kind in BESIDE})
            for kind in beside:
                if str(seed) in results[kind]:
                    continue
                results[kind][str(seed)] = current.accuracy(ideas[name], kind == "with classical")
                print(cell, seed, name, kind, results[kind][str(seed)], flush=True)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.with_suffix(".partial").write_text(json.dumps(content, indent=1) + "\n")
                path.with_suffix(".partial").replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs="*", choices=CELLS, default=list(CELLS))
    parser.add_argument("--idea", nargs="*", default=[], help="those whose names hold one of these texts")
    parser.add_argument("--beside", nargs="*", choices=BESIDE, default=list(BESIDE))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--table", action="store_true", help="make the page from what is there, run nothing")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    for cell in [] if options.table else options.cell:
        run(cell, options.idea, options.beside, options.seeds)
    write_page(RESULTS, Path(RESULTS).with_name("what_helps.md"))


if __name__ == "__main__":
    main()
