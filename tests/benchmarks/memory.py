"""How much memory a large bank takes in a DataLoader with four workers, in units of the bank's own size.

    python -m tests.benchmarks.memory [--classes 3000] [--json FILE]

The proportional set sizes of the main process and the workers are added up (a page shared by n processes counts 1/n in
each), with the bank and with one of a single class in its place and as many images in memory; the difference is what
the bank takes.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import torch
from tabulate import tabulate
from torch.utils.data import DataLoader, RandomSampler, Subset, TensorDataset

from vae_augment import FitConfig, VAEAugmentedDataset, VAEBank
from vae_augment.bank.content import BankContent, ClassInfo
from vae_augment.bank.packed_weights import LARGEST, Stored, flatten
from vae_augment.bank.policy import Policy
from vae_augment.fitting.learning_curve import blank
from vae_augment.model.conv_vae import ConvVAE
from vae_augment.model.latent import LatentStats

WORKERS, BATCH, BATCHES, IMAGES_PER_CLASS = 4, 32, 80, 4


def large_bank(classes: int) -> VAEBank:
    """One of random weights: what it draws does not matter here."""
    vae, generator = ConvVAE((1, 28, 28), 16), torch.Generator().manual_seed(0)
    start = flatten(vae, vae.init(generator)).half()
    weights = Stored(
        vae,
        torch.randint(-LARGEST, LARGEST + 1, (classes, start.shape[1]), dtype=torch.int8, generator=generator),
        torch.full((classes, len(vae.shapes)), 1e-4),
        torch.zeros(classes, dtype=torch.long),
        start,
    )
    stats = LatentStats(
        torch.zeros(classes, 16),
        torch.eye(16).repeat(classes, 1, 1),
        torch.randn(classes, 512, 16, generator=generator).half(),
        torch.full((classes,), 512),
    )
    infos = tuple(ClassInfo(str(k), k, IMAGES_PER_CLASS, 1, 0.1, 1.0, 16, "ok") for k in range(classes))
    config = FitConfig().resolve(classes * IMAGES_PER_CLASS)
    return VAEBank(
        BankContent(vae, weights, stats, blank(len(infos)), infos, config, Policy(0.5, 0.5), {"name": "random"}, None)
    )


def proportional_set_size(pid: int) -> int:
    """Bytes, those of shared libraries aside: how much of them is counted depends on what else uses them."""
    size, library = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        name, *rest = line.split()
        if not name.endswith(":"):  # a mapping: its addresses, and its file at the end
            library = ".so" in rest[-1]
        elif name == "Pss:" and not library:
            size += 1024 * int(rest[0])
    return size


def set_size_in_use(path: Path, classes: int, images: int, start_method: str, workers: int) -> int:
    """Bytes of the main process and its workers at rest, when they have served batches of all classes."""
    torch.set_num_threads(1)
    held = TensorDataset(torch.zeros(images, 1, 28, 28, dtype=torch.uint8), torch.arange(images) % classes)
    base = Subset(held, range(classes * IMAGES_PER_CLASS))
    ds = VAEAugmentedDataset(base, path, p_generate=0.5, p_jitter=0.5)
    loader = DataLoader(
        ds,
        BATCH,
        sampler=RandomSampler(ds, replacement=True, num_samples=BATCHES * BATCH),
        num_workers=workers,
        multiprocessing_context=start_method,
        persistent_workers=True,
    )
    batches = iter(loader)
    for _ in batches:
        pass
    pids = [os.getpid(), *(worker.pid for worker in batches._workers)]
    return sum(map(proportional_set_size, pids))


def in_fresh_process(path: Path, classes: int, images: int, start_method: str, workers: int) -> int:
    """`set_size_in_use` in a process that has not done anything else."""
    context = torch.multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_answer, args=(answers, path, classes, images, start_method, workers))
    process.start()
    answer = answers.get(timeout=110)
    process.join()
    return answer


def _answer(answers, *task) -> None:
    answers.put(set_size_in_use(*task))


def measure(classes: int, start_method: str, folder: Path, workers: int = WORKERS) -> dict:
    large, small = folder / "large.safetensors", folder / "small.safetensors"
    if not large.exists():
        large_bank(classes).save(large)
        large_bank(1).save(small)
    size, images = large.stat().st_size, classes * IMAGES_PER_CLASS
    banks = ((large, classes), (small, 1))
    taken, without = (in_fresh_process(path, n, images, start_method, workers) for path, n in banks)
    taken -= without
    return {"start method": start_method, "bank, MB": size / 1e6, "taken, MB": taken / 1e6, "ratio": taken / size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, default=3000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(options.classes, method, Path(folder)) for method in ("fork", "spawn")]
    print(tabulate(rows, headers="keys", floatfmt=".2f"))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
