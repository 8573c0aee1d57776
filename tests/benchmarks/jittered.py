"""How well a classifier tells jittered images from real ones: half of the time if it cannot.

    VAE_AUGMENT_DATA=DIR python -m tests.benchmarks.jittered [--kind NAME ...]

All training images of a kind are halved. One half is jittered by a bank fitted on a few of all, the other stays as it
is; a small network is trained on half of both, at the images' own resolution, and asked about the rest (Lopez-Paz and
Oquab 2017, "Revisiting Classifier Two-Sample Tests"). Nothing is moved. Results go to docs/results/photographs.json and
with it to docs/photographs.md; docs/jittered.png is of the hands.
"""

from __future__ import annotations

import argparse
import json

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.v2.functional import to_pil_image
from torchvision.utils import make_grid

from tests.benchmarks.kinds_data import CELLS, Cell, Kind, folder
from tests.benchmarks.photographs import JITTERED, RESULTS, finish
from vae_augment import FitConfig, VAEBank, fit
from vae_augment.files.writing import atomic_write
from vae_augment.images.tensors import to_float
from vae_augment.seeding import generator

HANDS = Cell(Kind("sign-digits", (30,), (64,), folder("sign-digits", 3)), 64, 30)
OF_KIND = {"hands": HANDS, "ants and bees": CELLS["ants-bees-64px-20"], "tiles": CELLS["magnetic-tiles-20"]}
NETWORKS = 2
STEPS, BATCH, SEEN = 800, 32, 0.75  # a network is trained on such parts of the sides
SHOWN, SHOWN_SCALE = 12, 0.8
# name: keep_detail and smooth
WAYS = {
    "decoded anew": (False, False),
    "detail kept": (True, False),
    "detail kept, difference smoothed": (True, True),
}


def told_apart(real: Tensor, other: Tensor, seed: int) -> float:
    """Share of real and other float images [N, C, H, W] that a network, trained on half of them, knows for such."""
    draws = generator(seed, "two samples")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Sequential(nn.LazyConv2d(width, 3, 2, 1), nn.ReLU()) for width in (32, 64, 64)]
        network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(1))
        network(real[:2])
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=STEPS)
    side, answers = round(SEEN * real.shape[2]), torch.arange(2 * BATCH) >= BATCH
    for step in range(STEPS):
        some = [x[::2][torch.randint(len(x[::2]), (BATCH,), generator=draws)] for x in (real, other)]
        y, x = torch.randint(real.shape[2] - side + 1, (2,), generator=draws).tolist()
        images = torch.cat(some)[:, :, y : y + side, x : x + side]
        images = images.flip(3) if step % 2 else images
        loss = F.binary_cross_entropy_with_logits(network(images)[:, 0], answers.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        right = [(network(real[1::2]) < 0).float().mean(), (network(other[1::2]) > 0).float().mean()]
    return float(sum(right)) / 2


def measure(name: str, cell: Cell) -> dict[str, dict[str, float]]:
    """Shares of each way, at each scale; and of images that are not jittered at all."""
    bank = fit(cell.train(0), config=FitConfig(policy="photographs"))
    everything = cell.kind.load("train", cell.side)
    order = torch.randperm(len(everything.images), generator=generator(0, "halves"))
    first, second = order.chunk(2)
    source, labels, real = everything.images[first], everything.targets[first], to_float(everything.images[second])
    made = {"not jittered": source} | {
        way: jittered(bank, source, labels, bank.policy.scale, *options) for way, options in WAYS.items()
    }
    rows = {}
    for way, images in made.items():
        shares = [told_apart(real, to_float(images), seed) for seed in range(NETWORKS)]
        rows[way] = {name: round(sum(shares) / NETWORKS, 3)}
        print(name, way, shares, flush=True)
    if cell is HANDS:
        pictures = torch.cat(
            [jittered(bank, source[:SHOWN], labels[:SHOWN], SHOWN_SCALE, *way) for way in WAYS.values()]
        )
        tiles = make_grid(torch.cat([source[:SHOWN], pictures]), nrow=SHOWN, pad_value=255)
        enlarged = F.interpolate(tiles[None], scale_factor=1.5, mode="nearest")[0]
        to_pil_image(enlarged).save(RESULTS.parents[1] / "jittered.png")
    return rows


def jittered(bank: VAEBank, images: Tensor, labels: Tensor, scale: float, keep_detail: bool, smooth: bool) -> Tensor:
    draws = generator(0, "jitter")
    return bank.with_policy(smooth=smooth).jitter(images, labels, scale=scale, keep_detail=keep_detail, generator=draws)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", nargs="*", choices=OF_KIND, default=list(OF_KIND))
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.kind:
        content = json.loads(RESULTS.read_text())
        table = content.setdefault(JITTERED, {})
        for way, found in measure(name, OF_KIND[name]).items():
            table.setdefault(way, {}).update(found)
        atomic_write(RESULTS, (json.dumps(content, indent=1) + "\n").encode())
        finish(content)


if __name__ == "__main__":
    main()
