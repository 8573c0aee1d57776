"""Where the time of a fit goes, and each way of spending less that was tried: a step of training done otherwise.

A round times some steps of each way, one after the other. Weights, images and noise are the same; images are random,
which costs as much as others. Ten classes of 28x28, 128 images each, unless it is said otherwise.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap

from tests.benchmarks.speed.measured import data_folder, in_turns, ratio
from vae_augment import FitConfig, fit
from vae_augment.fitting import training
from vae_augment.mnist_sample import MNISTSample
from vae_augment.model import conv_vae as model
from vae_augment.model.conv_vae import ConvVAE
from vae_augment.model.vae import LOG_SIGMA_RANGE, Params, kl_per_dim, stack

CLASSES, BATCH, STEPS = 10, 128, 4
GREY, COLOUR = (1, 28, 28), (3, 64, 64)
LEARNING_RATE = 2e-3


class Task:
    """Some classes' weights, images and noise, and a step of training."""

    def __init__(self, shape: tuple[int, int, int], classes: int, batch: int, device: str = "cpu") -> None:
        random = torch.Generator().manual_seed(0)
        self.vae, self.device = ConvVAE(shape, 16), torch.device(device)
        each = stack([self.vae.init(random) for _ in range(classes)])
        self.params = {name: tensor.to(device).requires_grad_() for name, tensor in each.items()}
        self.images = torch.rand(classes, batch, *shape, generator=random).to(device)
        self.noise = torch.randn(classes, batch, 16, generator=random).to(device)

    def steps(
        self,
        count: int = STEPS,
        *,
        apart: bool = True,
        adam: dict[str, bool] | None = None,
        around: Callable[[], Any] = nullcontext,
        loss: Callable[..., Tensor] | None = None,
    ) -> None:
        """So many steps of all classes, stacked or one class after the other."""
        loss = loss or (lambda vae, params, images, noise: vae.loss(params, images, noise).total.sum())
        rows = [slice(k, k + 1) for k in range(len(self.images))] if apart else [slice(None)]
        for row in rows:
            params = {n: t[row].detach().clone().requires_grad_() for n, t in self.params.items()}
            optimizer = torch.optim.Adam(params.values(), lr=LEARNING_RATE, **(adam or {"fused": True}))
            for _ in range(count):
                with around():
                    value = loss(self.vae, params, self.images[row], self.noise[row])
                optimizer.zero_grad(set_to_none=True)
                value.backward()
                optimizer.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def textbook_loss(vae: ConvVAE, params: Params, images: Tensor, noise: Tensor) -> Tensor:
    """The loss of one class by torch's own layers, which `vmap` can batch: weights without the class axis."""
    h = F.pad(images, vae.padding, mode="replicate")
    h = F.silu(F.conv2d(h, params["encoder.patch.weight"], params["encoder.patch.bias"], vae.patch))
    for i in range(vae.stages):
        h = F.conv2d(h, params[f"encoder.{i}.weight"], params[f"encoder.{i}.bias"], 2, 1)
        h = F.group_norm(h, 8, params[f"encoder.{i}.norm.weight"], params[f"encoder.{i}.norm.bias"])
        h = F.silu(h)
    mean, logvar = (h.flatten(1) @ params["encoder.out.weight"] + params["encoder.out.bias"]).chunk(2, 1)
    z = mean + noise * (logvar / 2).exp()
    h = F.silu(z @ params["decoder.in.weight"] + params["decoder.in.bias"]).unflatten(1, (-1, *vae.grid))
    for i in reversed(range(vae.stages)):
        h = F.pixel_shuffle(F.conv2d(h, params[f"decoder.{i}.weight"], params[f"decoder.{i}.bias"]), 2)
        h = F.group_norm(h, 8, params[f"decoder.{i}.norm.weight"], params[f"decoder.{i}.norm.bias"])
        h = F.silu(h)
    weight = params["decoder.patch.weight"].unflatten(1, (vae.image_shape[0], vae.patch + 2, vae.patch + 2))
    h = F.conv_transpose2d(h, weight, params["decoder.patch.bias"], vae.patch, 1).sigmoid()
    left, _, top, _ = vae.padding
    height, width = vae.image_shape[1:]
    error = (images - h[..., top : top + height, left : left + width]).square().flatten(1).sum(1).mean()
    sigma = params["log_sigma"].clamp(*LOG_SIGMA_RANGE)
    pixels = images[0].numel()
    return pixels * sigma + error / (2 * (2 * sigma).exp()) + kl_per_dim(mean, logvar).sum(1).mean()


def of_textbook(vae: ConvVAE, params: Params, images: Tensor, noise: Tensor) -> Tensor:
    return textbook_loss(vae, {name: tensor[0] for name, tensor in params.items()}, images[0], noise[0])


def of_vmap(vae: ConvVAE, params: Params, images: Tensor, noise: Tensor) -> Tensor:
    return vmap(partial(textbook_loss, vae))(params, images, noise).sum()


@contextmanager
def channels_last() -> Iterator[None]:
    whole = model.conv

    def convolved(params: Params, name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        return whole(params, name, x.contiguous(memory_format=torch.channels_last), stride, padding)

    with patch.object(model, "conv", convolved):
        yield


def ways(task: Task, compiled: Callable[..., Tensor] | None) -> dict[str, Callable[[], object]]:
    tried: dict[str, Callable[[], object]] = {
        "a loop over classes, fused Adam, float32": task.steps,
        "classes stacked: grouped convolutions, batched products": lambda: task.steps(apart=False),
        "classes stacked by vmap over torch's own layers": lambda: task.steps(apart=False, loss=of_vmap),
        "a loop over classes, torch's own layers": lambda: task.steps(loss=of_textbook),
        "channels_last": lambda: task.steps(around=channels_last),
        "Adam over lists of tensors (foreach)": lambda: task.steps(adam={"foreach": True}),
        "Adam tensor by tensor": lambda: task.steps(adam={"foreach": False}),
        "bfloat16 by autocast": lambda: task.steps(around=partial(torch.autocast, task.device.type, torch.bfloat16)),
    }
    return tried | ({} if compiled is None else {"torch.compile of the loss": lambda: task.steps(loss=compiled)})


def compiled_loss(task: Task) -> tuple[Callable[..., Tensor] | None, float | str]:
    """torch.compile's form of it and the seconds it took, or why there is none."""
    torch._logging.set_logs(dynamo=logging.ERROR)  # it warns of each graph break
    loss = torch.compile(lambda vae, params, images, noise: vae.loss(params, images, noise).total.sum())
    started = time.perf_counter()
    try:
        task.steps(1, loss=loss)
    except Exception as error:  # a compiler that is not there, a layer that it does not know, ...
        return None, f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"
    return loss, round(time.perf_counter() - started, 1)


def profile(dataset: Any, steps: int) -> dict[str, float]:
    """Share of a fit's training in each of its parts."""
    spent = dict.fromkeys(("data", "forward", "backward", "optimizer"), 0.0)

    def timed(part: str, whole: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return whole(*arguments, **options)
            finally:
                spent[part] += time.perf_counter() - started

        return call

    with (
        patch.object(training, "_batch", timed("data", training._batch)),
        patch.object(ConvVAE, "loss", timed("forward", ConvVAE.loss)),
        patch.object(Tensor, "backward", timed("backward", Tensor.backward)),
        patch.object(torch.optim.Adam, "step", timed("optimizer", torch.optim.Adam.step)),
    ):
        started = time.perf_counter()
        fit(dataset, config=FitConfig(steps=steps, policy="none"), progress=False)
        whole = time.perf_counter() - started
    rest = whole - sum(spent.values())
    return {name: round(value / whole, 3) for name, value in {**spent, "the rest": rest}.items()}


def batches(rounds: int) -> list[dict]:
    """Images a second of batches of several sizes."""
    sizes = (64, 128, 256, 512)
    taken = in_turns({str(size): Task(GREY, 1, size).steps for size in sizes}, rounds)
    return [{"batch": n, "images a second": round(n * STEPS / median(taken[str(n)]))} for n in sizes]


def stacking(rounds: int) -> list[dict]:
    """Eight classes one after the other, over the same eight stacked, by the size of the batch."""
    rows = []
    for batch in (16, 64, 128):
        task = Task(GREY, 8, batch)
        taken = in_turns({"apart": task.steps, "stacked": partial(task.steps, apart=False)}, rounds)
        rows.append({"images a class": batch, "apart over stacked": ratio(taken["apart"], taken["stacked"])})
    return rows


def flushed(rounds: int) -> float:
    """A fit's time with denormal numbers kept, over that with them as zero."""

    def once(flush: bool) -> None:
        context = training.flush_denormals if flush else nullcontext
        with patch.object(training, "flush_denormals", context):
            fit(MNISTSample(), config=FitConfig(steps=300, policy="none"), progress=False)

    taken = in_turns({"kept": lambda: once(False), "zero": lambda: once(True)}, rounds)
    return ratio(taken["kept"], taken["zero"])


def measure(short: bool) -> dict:
    rounds = 3 if short else 5
    tables = {}
    for name, shape, classes in (("28x28", GREY, CLASSES), ("64x64 in colour", COLOUR, 2)):
        if short and shape is COLOUR:
            continue
        task = Task(shape, classes, BATCH)
        compiled, compiling = (None, "not in the short form") if short else compiled_loss(task)
        taken = in_turns(ways(task, compiled), rounds)
        first = next(iter(taken.values()))
        rows = [{"step": n, "time over the first": ratio(values, first)} for n, values in taken.items()]
        tables[name] = {
            "images a second": round(classes * BATCH * STEPS / median(first)),
            "rows": rows,
            "compiling, s": compiling,
        }
    result = {"ways": tables, "batches": batches(rounds), "stacking": stacking(rounds)}
    result["parts, bundled sample"] = profile(MNISTSample(), 300)
    if short:
        return result
    from torchvision.datasets import MNIST

    result["parts, all of MNIST"] = profile(MNIST(data_folder()), 1_000)
    return result | {"denormal numbers kept, over zero": flushed(rounds=3)}
