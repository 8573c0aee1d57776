"""The speed benchmarks' own code, on a CPU and for a moment; what they measure is no test's business."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor as to_image

from tests.benchmarks.speed import accelerator, training
from tests.benchmarks.speed.page import SECTIONS, met, page
from tests.benchmarks.speed.pool import Pooled
from vae_augment.evaluation.arms import InMemory

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]


@pytest.mark.parametrize("device", DEVICES)
def test_classes_stacked_and_apart_run_on_any_device(device):
    row = accelerator.stacked(device, 2, rounds=1, batch=4)
    assert row["classes"] == 2
    assert row["stacked, times as fast"] > 0


@pytest.mark.parametrize("device", DEVICES)
def test_decoding_on_any_device_gives_what_the_cpu_does(bank, device):
    assert accelerator.decoding(bank, device, 20)["largest difference from a CPU's"] < 1e-4


def test_without_a_device_the_result_says_that_it_was_not_run(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = accelerator.measure(short=True)
    assert result == {"not run": "there is no CUDA device on this machine"}
    assert "Not run: there is no CUDA device" in page({"accelerator": {"machine": "two cores", **result}})


def test_each_way_of_training_takes_the_same_step():
    task = training.Task(training.GREY, 2, 3)
    for whole in (training.of_textbook, training.of_vmap):
        rows = [slice(0, 1), slice(1, 2)] if whole is training.of_textbook else [slice(None)]
        values = [
            whole(task.vae, {n: t[r] for n, t in task.params.items()}, task.images[r], task.noise[r]) for r in rows
        ]
        ours = task.vae.loss(task.params, task.images, task.noise).total
        normaliser = 2 * 28 * 28 * 0.9189385
        assert sum(values).item() + normaliser == pytest.approx(ours.sum().item(), rel=1e-4)
    with training.channels_last():
        assert task.vae.loss(task.params, task.images, task.noise).total.sum().item() == pytest.approx(
            ours.sum().item(), rel=1e-4
        )
    for way in training.ways(task, None).values():
        way()


def test_a_pool_holds_images_of_the_right_classes_and_others_after_each_refresh(bank, tmp_path):
    images, labels = torch.randint(256, (40, *bank.image_shape), dtype=torch.uint8), torch.arange(40) % 2
    raw = [(Image.fromarray(image.squeeze(0).numpy()), int(label)) for image, label in zip(images, labels, strict=True)]
    pool = Pooled(raw, to_image, InMemory(images, labels), bank, tmp_path / "pool.npy", p_generate=0.25, p_jitter=0.25)
    replaced = []
    for _ in range(2):
        pool.refresh()
        items = [pool[i] for i in range(len(pool))]
        assert [label for _, label in items] == labels.tolist()
        replaced.append([not torch.equal(to_image(raw[i][0]), items[i][0]) for i in range(len(pool))])
        assert sum(replaced[-1]) == 20
    assert replaced[0] != replaced[1]
    assert torch.equal(pickle.loads(pickle.dumps(pool))[0][0], pool[0][0])


@pytest.mark.parametrize(
    ("figure", "target", "at_most", "said"),
    [(0.9, 0.8, False, "0.9 (target: at least 0.8)"), (1.2, 1.15, True, "1.2 (target: at most 1.15; **missed**)")],
)
def test_a_missed_target_is_marked(figure, target, at_most, said):
    assert met(figure, target, at_most=at_most) == said


def test_the_page_is_made_of_the_results_that_there_are():
    results = {}
    for name in SECTIONS:
        path = RESULTS / f"speed-{name.replace('_', '-')}.json"
        if path.exists():
            results[name] = json.loads(path.read_text())
    assert page(results) == (RESULTS.parent / "performance.md").read_text()
