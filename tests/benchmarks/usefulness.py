"""Does it help? Held-out accuracy of one small CNN with and without augmentation, ours and others'.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.usefulness [--cell NAME ...] [--arm NAME ...] [--seeds N] [--table]

Every cell is a dataset and a number of real images; every seed draws other images, fits its own bank and starts all
arms from the same weights, with the same batches, for the same number of steps. Test sets are whole and are used to
measure alone. Raw results go to docs/results/CELL.json, one run after the other, and what is there is not run again,
but for our arms where the recipe of `fit` has risen; docs/results.md is made from them. The peers run from their own
packages in an environment that is made for them.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from tests.benchmarks.peers.environment import PeerResult, peer_python, run_peer
from tests.benchmarks.results_page import write_page
from vae_augment import FitConfig, VAEBank, fit
from vae_augment.data import open_data
from vae_augment.data.loading import load_images
from vae_augment.data.source import Source
from vae_augment.evaluation.arms import InMemory, batches, default_classical
from vae_augment.evaluation.intervals import recalls
from vae_augment.evaluation.rounds import TEXTBOOK
from vae_augment.files.writing import atomic_write
from vae_augment.fitting import RECIPE
from vae_augment.fitting.classifier import new_classifier, predict, train_classifier
from vae_augment.seeding import derive, draw_items, generator

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
PEERS_FOLDER = Path(os.environ.get("VAE_AUGMENT_PEERS", ".venv-peers"))
LONG_TAIL = (4000, 2000, 1000, 750, 500, 350, 200, 100, 60, 40)  # of the ten digits
POOL = 300  # images a class that a peer makes
PYTHAE_RATE = (
    1e-3  # its default of 1e-4 leaves so few images blurred after its 300 epochs, and a poor peer proves nothing
)
PEER_SHARE = 0.5  # of a batch is taken from its pool
DEVICE = torch.device("cpu")

EVERYWHERE = (
    *("none", "classical", "ours", "ours+classical", "moves", "moves+classical", "mixup", "mixup+classical"),
    *("trivialaugment", "randaugment"),
)
TEXTBOOK_ARMS = ("textbook", "textbook+classical")
PEERS = ("smote", "deepsmote", "pythae-normal", "pythae-gmm")
BALANCING = ("oversampling", "oversampling+classical", "balanced", "balanced+classical")
OURS = tuple(name for arm in ("ours", "moves", "balanced") for name in (arm, f"{arm}+classical"))


def with_classical(*arms: str) -> tuple[str, ...]:
    return tuple(name for arm in arms for name in (arm, f"{arm}+classical"))


@dataclass(frozen=True)
class Cell:
    """A dataset and how many of its training images are used.

    Args:
        data: "mnist" or "sign-digits".
        counts: real images a class; one number for all.
        steps: of the classifier, batches of 64.
        arms: what is compared.
    """

    data: str
    counts: tuple[int, ...]
    steps: int
    arms: tuple[str, ...]

    @property
    def balanced(self) -> bool:
        return len(set(self.counts)) == 1


CELLS = {
    "mnist-10": Cell("mnist", (10,), 600, (*EVERYWHERE, *TEXTBOOK_ARMS, *with_classical(*PEERS, "pyraug-rhvae"))),
    "mnist-50": Cell("mnist", (50,), 600, (*EVERYWHERE, *TEXTBOOK_ARMS, *with_classical(*PEERS, "pyraug-rhvae"))),
    "mnist-200": Cell("mnist", (200,), 600, EVERYWHERE),
    "mnist-long-tail": Cell("mnist", LONG_TAIL, 1500, (*EVERYWHERE, *BALANCING, *with_classical("smote", "deepsmote"))),
    "sign-digits-10": Cell("sign-digits", (10,), 600, EVERYWHERE),
    "sign-digits-40": Cell("sign-digits", (40,), 600, EVERYWHERE),
}


@cache
def images_of(data: str, train: bool) -> InMemory:
    """All training or test images, at the size that a default fit gives a bank of them."""
    root = Path(os.environ["VAE_AUGMENT_DATA"])
    if data == "mnist":
        from torchvision.datasets import MNIST

        dataset = MNIST(root, train=train)
        return InMemory(dataset.data[:, None], dataset.targets)
    source = Source(open_data(str(root / data / ("train" if train else "test"))).dataset)
    loaded = load_images(source, (3, 64, 64))
    return InMemory(loaded.images, loaded.labels)


def training_images(cell: Cell, seed: int) -> InMemory:
    everything = images_of(cell.data, True)
    chosen = []
    for label in range(10):
        count = cell.counts[label % len(cell.counts)]
        chosen.append(draw_items(everything.targets, label, generator(seed, "benchmark", label), count))
    items = torch.cat(chosen)
    return InMemory(everything.images[items], everything.targets[items])


class Round:
    """One cell and seed: its images, and what is fitted on them when it is first asked for."""

    def __init__(self, name: str, seed: int, record: dict) -> None:
        self.cell, self.seed, self.record = CELLS[name], seed, record
        self.train, self.test = training_images(self.cell, seed), images_of(self.cell.data, False)
        self._banks: dict[str, VAEBank] = {}
        self._pools: dict[str, PeerResult] = {}

    def bank(self, kind: str) -> VAEBank:
        if kind not in self._banks:
            config = TEXTBOOK if kind == "textbook" else FitConfig()
            started = time.perf_counter()
            bank = fit(self.train, config=config, seed=self.seed)
            seconds = round(time.perf_counter() - started, 1)
            if torch.get_num_threads() == 1:  # as the peers
                self.record.setdefault("fit_seconds", {}).setdefault(kind, seconds)
            self.record.setdefault("policy", {})[kind] = bank.policy.to_dict()
            self.record.setdefault("recipe", {})[kind] = RECIPE
            self._banks[kind] = bank
        return self._banks[kind]

    def batches(self, arm: str) -> Iterator[tuple[Tensor, Tensor]]:
        source, _, recipe = arm.partition("+")
        if source in PEERS or source == "pyraug-rhvae":
            return self._peer(source, bool(recipe))
        kind = "textbook" if source == "textbook" else "ours"
        bank = self.bank(kind) if arm in OURS or kind == "textbook" else None
        strategy = "not majority" if source == "balanced" else None
        name = arm.replace("balanced", "ours")
        options = {"classical": self.classical, "sampling_strategy": strategy, "seed": self.seed}
        return batches(name, self.train, bank, **options)

    @property
    def classical(self) -> Callable:
        return default_classical(self.train.images.shape[1])

    def _peer(self, method: str, recipe: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Half of each batch from a pool that a peer made; in the long tail, as many made images as balance it."""
        made = self._made(method)
        if not self.cell.balanced:
            both = InMemory(torch.cat([self.train.images, made.images]), torch.cat([self.train.targets, made.labels]))
            name = "classical" if recipe else "none"
            yield from batches(name, both, None, classical=self.classical, sampling_strategy=None, seed=self.seed)
        pools = [made.images[made.labels == label] for label in range(10)]
        random, moves = generator(self.seed, "peer"), generator(self.seed, "classical")
        nothing = batches("none", self.train, None, classical=self.classical, sampling_strategy=None, seed=self.seed)
        for images, labels in nothing:
            for i in (torch.rand(len(images), generator=random) < PEER_SHARE).nonzero()[:, 0].tolist():
                pool = pools[int(labels[i])]
                images[i] = pool[int(torch.randint(len(pool), (1,), generator=random))].float() / 255
            yield (self.classical(images, moves) if recipe else images), labels

    def _made(self, method: str) -> PeerResult:
        """The images that a peer makes, once for both of its arms."""
        if method not in self._pools:
            present = torch.bincount(self.train.targets)
            self._pools[method] = run_peer(
                method,
                self.train.images,
                self.train.targets,
                per_class=POOL if self.cell.balanced else (present.max() - present).tolist(),
                seed=self.seed,
                python=peer_python(PEERS_FOLDER),
                learning_rate=PYTHAE_RATE if method.startswith("pythae") else None,
            )
            self.record.setdefault("fit_seconds", {})[method] = round(self._pools[method].seconds, 1)
        return self._pools[method]

    def run(self, arm: str) -> dict:
        seed = derive(self.seed, "classifier")
        model = new_classifier(None, tuple(self.train.images.shape[1:]), 10, seed, DEVICE)
        train_classifier(model, self.batches(arm), steps=self.cell.steps, seed=seed)
        predicted = predict(model, self.test.images)
        recall = recalls(predicted, self.test.targets, 10) * 100
        return {
            "accuracy": round((predicted == self.test.targets).double().mean().item() * 100, 3),
            "balanced_accuracy": round(recall.mean().item(), 3),
            "recall": [round(value, 2) for value in recall.tolist()],
        }


def run_cell(name: str, arms: list[str], seeds: int) -> None:
    path = RESULTS / f"{name}.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    cell = CELLS[name]
    content |= {"cell": name, "counts": list(cell.counts), "steps": cell.steps}
    rounds = content.setdefault("seeds", {})
    for seed in range(seeds):
        record = rounds.setdefault(str(seed), {"arms": {}})
        wanted = [arm for arm in cell.arms if not arms or arm in arms]
        if record.get("recipe", {}).get("ours") != RECIPE and any(arm in OURS for arm in wanted):
            record["arms"] = {arm: found for arm, found in record["arms"].items() if arm not in OURS}
            record.get("fit_seconds", {}).pop("ours", None)
        missing = [arm for arm in wanted if arm not in record["arms"]]
        current = Round(name, seed, record) if missing else None
        for arm in missing:
            record["arms"][arm] = current.run(arm)
            print(
                name, seed, arm, record["arms"][arm]["accuracy"], record["arms"][arm]["balanced_accuracy"], flush=True
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, (json.dumps(content, indent=1) + "\n").encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs="*", choices=list(CELLS), default=list(CELLS))
    parser.add_argument("--arm", nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--table", action="store_true", help="make the page from what is there, run nothing")
    parser.add_argument("--threads", type=int, default=0, help="torch's, so that two cells can run side by side")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    for name in [] if options.table else options.cell:
        run_cell(name, options.arm, options.seeds)
    write_page(RESULTS, RESULTS.with_suffix(".md"))


if __name__ == "__main__":
    main()
