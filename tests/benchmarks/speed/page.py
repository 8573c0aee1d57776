"""docs/performance.md, made from the raw results of the speed benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tabulate import tabulate

Result = dict[str, Any]

INTRODUCTION = """# Performance

Each figure is a ratio of two things that took turns in one run: the median of the rounds. Machines are shared and
noisy, so seconds are for scale alone. Made by `python -m tests.benchmarks.speed`, which names what it needs; each
section is `--only` its name. The raw results are in [results](results).
"""


def met(figure: float, target: float, *, at_most: bool = False) -> str:
    """A figure with its target, and whether it is met."""
    good = figure <= target if at_most else figure >= target
    return f"{figure:g} (target: at {'most' if at_most else 'least'} {target:g}{'' if good else '; **missed**'})"


def table(rows: Any, headers: Any = "keys") -> str:
    return str(tabulate(rows, headers, tablefmt="github", floatfmt=".3g")) + "\n"


def against_peer(result: Result) -> str:
    rows = [
        {
            "pair": number,
            "pythae, epochs": pair["pythae"][-1]["epochs"],
            "s": round(pair["pythae"][-1]["seconds"]),
            "its best distance": pair["best"],
            "ours to that, s": pair["ours to it, s"],
            "over pythae's": pair["time over the peer's"],
            "whole default fit, s": round(pair["ours"][-1]["seconds"]),
            "its distance": pair["ours at the end"],
            "over pythae's best": pair["distance over the peer's"],
        }
        for number, pair in enumerate(result["pairs"], 1)
    ]
    return f"""## Fitting, to equal quality (`against_peer`)

All of MNIST, one model per class, the same threads. pythae's VAE with its defaults and its Gaussian mixtures trains
until ten epochs better its distance by less than 2 %; what it draws with does not count as time. Ours is the time of a
whole `fit` with a share of the default's steps, from nothing. The distance is the Frechet distance of 10,000 generated
digits to the test images, in the features of a CNN that comes with the benchmark.

{table(rows)}
Time to pythae's best distance over pythae's: {met(result["time over the peer's"], 0.1, at_most=True)}. Distance of a
default fit over pythae's best: {met(result["distance over the peer's"], 0.5, at_most=True)}.

How ours falls with the share of steps (first pair; drawn around exemplars, and from a Gaussian per class):

{table(result["pairs"][0]["ours"])}"""


def training(result: Result) -> str:
    parts = {name: result[name] for name in result if name.startswith("parts")}
    text = f"""## Where the time of a fit goes, and what was tried (`training`)

Share of a whole fit without the policy's choice:

{table([{"fit of": name.removeprefix("parts, "), **shares} for name, shares in parts.items()])}
A step of training done in other ways, on a CPU. The first ships on CPUs, for photographs in bfloat16 (see `precision`);
stacked classes on GPUs. torch.compile breaks its graph where patches are added up.
"""
    for name, one in result["ways"].items():
        text += f"\n{name}, {one['images a second']} images a second in the first way:\n\n{table(one['rows'])}"
        compiling = one["compiling, s"]
        text += f"\ntorch.compile: {compiling if isinstance(compiling, str) else f'{compiling} s to compile'}.\n"
    text += f"\nBatches of other sizes, 28x28:\n\n{table(result['batches'])}"
    text += f"""
Eight classes of 28x28 one after the other, over the same stacked: small batches would gain. It does not ship, since a
class that is fitted again, alone, is to have the same bytes as beside others, and stacked products round differently.

{table(result["stacking"])}"""
    if "denormal numbers kept, over zero" in result:
        text += (
            f"\nTime of a fit with denormal numbers kept, over zero: {result['denormal numbers kept, over zero']:g}.\n"
        )
    return text


def schedules(result: Result) -> str:
    return f"""## Other schedules (`schedules`)

Larger batches with a rate to match, and fewer steps at a higher one, on 20,000 images of MNIST without the policy's
choice; the first row is what ships. Steps and rates are over its own. The distance is that of `against_peer`; lower is
better.

{table(result["rows"])}"""


def precision(result: Result) -> str:
    return f"""## Half precision (`precision`)

Whole fits of 960 photographs at 64x64 without the policy's choice, the loss in bfloat16 or not, and the error of their
reconstructions of 240 others. The second way takes fewer steps instead.

{table(result["rows"])}
Steps alone, by the shape of the images. bfloat16 ships for images of 3,072 numbers and more, on processors with
instructions for it (AVX512-BF16 or AMX).

{table(result["steps"])}"""


def scaling(result: Result) -> str:
    opened = result["opening the bank of most classes"]
    largest = max(row["KB a class"] for row in result["rows"] if row["classes"] >= 100)
    return f"""## More classes and more images (`scaling`)

The 60,000 images of MNIST relabelled into more classes, and fewer of them in ten; each fit a process of its own, the
two ends twice in turns. The distance is that of `against_peer`, of all classes' images together.

{table(result["rows"])}
Time, most classes over fewest: {met(result["time, most classes over fewest"], 1.5, at_most=True)}. Memory:
{met(result["memory, most classes over fewest"], 2, at_most=True)}. On disk, KB a class of 100 and more:
{met(largest, 100, at_most=True)}. Opening one class of the largest bank takes {opened["one"]["seconds"]:.2f} s and
{opened["one"]["memory, MB"]:g} MB, opening all {opened["all"]["seconds"]:.2f} s and {opened["all"]["memory, MB"]:g} MB.
"""


def generating(result: Result) -> str:
    small, large = result["counts"]
    return f"""## Generating (`generating`)

`vae-augment generate`, 28x28, as a whole process: {result["images a second"]} images a second between {small} and
{large} images, so that starting up does not count.

- over the rate at which all cores encode and write as many finished images: {met(result["over writing alone"], 0.65)}
{_by_part(result)}- over pythae's sampler, which draws and saves {result["pythae, images a second"]} a second:
  {met(result["over pythae"], 5)}
- memory of {large} images over that of {small}: {result["memory, large count over small"]:g}
- distance of what this bank draws, fitted to the bundled sample, to MNIST's test images: {result["distance"]:g}
"""


def _by_part(result: Result) -> str:
    if "microseconds" not in result:
        return ""
    drawn, encoded, written = (result["microseconds"][part] for part in ("drawn", "encoded", "written"))
    share = (encoded + written) / (drawn + encoded + written)
    return f"""- processor time of an image: {drawn:g} microseconds to draw it, {encoded:g} to encode it and {written:g}
  to write it, by which that ratio is {share:.2f}; what is missing is waiting, for memory and the file system
"""


def serving(result: Result) -> str:
    targets = {("MNIST", 2): 0.85, ("sign-digits", 2): 0.95}
    said = []
    for row in result["rows"]:
        target = targets.get((row["data"].split(",")[0], row["workers"]))
        if target is not None:
            said.append(f"{row['data'].split(',')[0]}: {met(row['wrapper / base'], target)}")
    return f"""## Serving (`serving`)

A DataLoader over the wrapper, every fourth item generated and every fourth jittered, over one without it. Batches of
64; a round is three epochs of each. Without moves: the same images as they are decoded. For scale, albumentations'
ElasticTransform on half of the images, and a memory-mapped pool of finished images in the wrapper's place: made anew
by all cores before each epoch, or made once and kept.

{table(result["rows"])}
With two workers, {"; ".join(said)}. The bank of MNIST draws digits at a distance of {result["MNIST, distance"]:g}.

Images are decoded live. The pool is given its best case, without moves and with the files decoded already. Made anew
it is what the table says; kept, it is quicker to read, but the same few images come back in every epoch, it takes the
room of half the dataset, and with `seed=None` its items would not follow torch's generator. What does not change from
draw to draw is kept in shared memory: codes, reconstructions and the pixels of files, each up to a limit, beyond which
it is worked out again.
"""


def starting(result: Result) -> str:
    wrapping = result["wrapping MNIST, s"]
    return f"""## Starting (`starting`)

- importing vae_augment and its main names, over `import torch, torchvision`:
  {met(result["import, ratio"], 1.15, at_most=True)}
- `vae-augment --help`, s: {met(round(result["help, s"], 2), 0.5, at_most=True)}
- `VAEAugmentedDataset(MNIST(...))` with its bank in the cache, s: {met(round(wrapping["median"], 2), 1, at_most=True)}
"""


def accelerator(result: Result) -> str:
    if "not run" in result:
        return f"## On a GPU (`accelerator`)\n\nNot run: {result['not run']}. A test runs the same code on the CPU.\n"
    decoding = result["decoding"]
    return f"""## On a GPU (`accelerator`)

{result["device"]}. Classes trained together over one by one:

{table(result["stacked"])}
Decoding: {decoding["images a second"]} images a second, at most {decoding["largest difference from a CPU's"]:.1g}
from a CPU's. A fit of all of MNIST: {result["fit of all of MNIST, s"]} s.
"""


SECTIONS: dict[str, Callable[[Result], str]] = {
    "against_peer": against_peer,
    "training": training,
    "schedules": schedules,
    "precision": precision,
    "scaling": scaling,
    "generating": generating,
    "serving": serving,
    "starting": starting,
    "accelerator": accelerator,
}


def page(results: dict[str, Result]) -> str:
    """The page of the parts that there are results of."""
    machines = list(dict.fromkeys(one for result in results.values() for one in result["machine"].split("; or ")))
    where = "The machine: " + "; or ".join(machines) + ".\n"
    return "\n".join([INTRODUCTION, where, *(SECTIONS[name](result) for name, result in results.items())])
