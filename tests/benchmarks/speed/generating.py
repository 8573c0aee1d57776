"""`vae-augment generate` on the command line, beside encoding and writing the same finished images and nothing else.

Rates are of the images between a small and a large count, so that starting up does not count. Both write as many files
to the same temporary folder, in turns; in memory where there is room, since a disk's own pauses are longer than either.
pythae's sampler draws and saves with its VAE of one class, on the same threads.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from tests.benchmarks.digit_features import distance_of
from tests.benchmarks.peers.environment import peer_python, settings
from tests.benchmarks.speed.measured import data_folder, in_child, peak_megabytes
from vae_augment import FitConfig, VAEBank, fit
from vae_augment.exporting import BLOCK
from vae_augment.files.writing import write_quickly
from vae_augment.images.encoding import encode_pngs
from vae_augment.mnist_sample import MNISTSample
from vae_augment.model.devices import single_thread

PEER = Path(__file__).resolve().parents[1] / "peers" / "pythae_generate.py"
PEER_COUNTS = (1_000, 5_000)
ROOM = 4 * 2**30  # bytes


class Finished(Dataset[int]):
    """Images that are there already, encoded and written a block at a time by whoever asks for one."""

    def __init__(self, path: Path, count: int, out: Path) -> None:
        self.images, self.count, self.out = np.load(path, mmap_mode="r"), count, str(out)

    def __len__(self) -> int:
        return -(-self.count // BLOCK)

    def __getitem__(self, index: int) -> int:
        first = index * BLOCK
        places = np.arange(first, min(first + BLOCK, self.count)) % len(self.images)
        for number, content in enumerate(encode_pngs(torch.from_numpy(self.images[places])), first):
            write_quickly(f"{self.out}{os.sep}{number % 10}", f"{number:06d}.png", content)
        return len(places)


def written(path: Path, count: int, out: Path) -> None:
    """Every core encodes and writes finished images, into ten folders as a bank of ten classes does."""
    for digit in range(10):
        (out / str(digit)).mkdir(parents=True)
    torch.set_num_threads(1)
    for _ in DataLoader(Finished(path, count, out), batch_size=None, num_workers=os.cpu_count() or 1):
        pass


def parts(bank: VAEBank) -> dict[str, float]:
    """Processor time of one image in microseconds, on one thread: to draw it, to encode it, and to write it.

    What the ratio should be where processes do not hinder each other: it goes by the processor and by PyTorch, while
    the rates also tell what memory, the file system and starting cost.
    """
    labels, random = torch.full((BLOCK,), bank.class_infos[0].label), torch.Generator().manual_seed(0)
    with single_thread(), tempfile.TemporaryDirectory(dir=in_memory()) as folder:
        images = bank.sample(labels, generator=random)
        contents = list(encode_pngs(images))
        ways = {
            "drawn": lambda: bank.sample(labels, generator=random),
            "encoded": lambda: list(encode_pngs(images)),
            "written": lambda: [write_quickly(folder, f"{n}.png", each) for n, each in enumerate(contents)],
        }
        taken = {name: median(_processor_time(way) for _ in range(20)) for name, way in ways.items()}
    return {name: round(seconds / BLOCK * 1e6, 1) for name, seconds in taken.items()}


def _processor_time(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def generated(bank: Path, count: int, out: Path) -> dict:
    """Seconds and memory of the command."""
    command = [sys.executable, "-m", "vae_augment", "generate", bank, "--out", out, "--count", count]
    started = time.perf_counter()
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    taken = time.perf_counter() - started
    return {"seconds": taken, "peak, MB": peak_megabytes(resource.RUSAGE_CHILDREN)}


def child() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("generate", "write"))
    parser.add_argument("source", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    if options.what == "generate":
        print(json.dumps(generated(options.source, options.count, options.out)))
        return
    started = time.perf_counter()
    written(options.source, options.count, options.out)
    print(json.dumps({"seconds": time.perf_counter() - started}))


def in_memory() -> str | None:
    """A folder in memory with room for both, or None."""
    folder = "/dev/shm"
    return folder if os.path.isdir(folder) and shutil.disk_usage(folder).free > ROOM else None


def rate(small: float, large: float, counts: tuple[int, int]) -> float:
    return (counts[1] - counts[0]) / (large - small)


def measure(short: bool) -> dict:
    counts, rounds = ((5_000, 20_000), 1) if short else ((20_000, 200_000), 3)
    rounds_of: list[dict] = []
    with tempfile.TemporaryDirectory(dir=in_memory()) as folder:
        bank, finished = Path(folder, "bank.safetensors"), Path(folder, "finished.npy")
        config = FitConfig(steps=100 if short else None, policy="none")  # a decoder's weights do not change its speed
        fitted = fit(MNISTSample(), config=config, progress=False)
        fitted.save(bank)
        labels = torch.arange(10).repeat_interleave(1_000)
        np.save(finished, fitted.sample(labels, generator=torch.Generator().manual_seed(0)).numpy())
        for _ in range(rounds):
            taken = {}
            for what, source in (("generate", bank), ("write", finished)):
                for count in counts:
                    out = Path(folder, f"{what}-{count}")
                    taken[what, count] = in_child(__spec__.name, what, source, count, out)
                    shutil.rmtree(out)
            seconds = {key: answer["seconds"] for key, answer in taken.items()}
            ours, alone = (rate(seconds[w, counts[0]], seconds[w, counts[1]], counts) for w in ("generate", "write"))
            memory = [taken["generate", count]["peak, MB"] for count in counts]
            rounds_of.append(
                {
                    "images a second": ours,
                    "written alone": alone,
                    "memory": memory,
                    **{f"{counts[0]} images, s": seconds["generate", counts[0]]},
                }
            )
            print(rounds_of[-1], flush=True)
    result = {
        "counts": counts,
        "rounds": rounds_of,
        "images a second": round(median(one["images a second"] for one in rounds_of)),
        "over writing alone": round(median(one["images a second"] / one["written alone"] for one in rounds_of), 3),
        "memory, large count over small": round(median(m["memory"][1] / m["memory"][0] for m in rounds_of), 3),
    }
    result["microseconds"] = parts(fitted)
    if short:
        return result
    result["distance"] = distance_of(fitted)
    peer = median(peer_rate() for _ in range(rounds))
    return result | {"pythae, images a second": round(peer), "over pythae": round(result["images a second"] / peer, 1)}


def peer_rate() -> float:
    from torchvision.datasets import MNIST

    data, seconds = MNIST(data_folder()), []
    python = peer_python(Path(os.environ.get("VAE_AUGMENT_PEERS", ".venv-peers")))
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder, "in.npz"), images=data.data[data.targets == 0][:, None].numpy())
        for count in PEER_COUNTS:
            command = [python, PEER, Path(folder, "in.npz"), Path(folder, str(count)), "--count", count]
            done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, env=settings())
            seconds.append(float(done.stdout.splitlines()[-1]))
    return rate(*seconds, PEER_COUNTS)


if __name__ == "__main__":
    child()
