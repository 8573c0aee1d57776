"""Results do not depend on the dtype and the device that the caller has made torch's defaults."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from tests.conftest import CONFIG, Shapes
from tests.recording import record
from vae_augment import VAEAugmentedDataset, evaluate, export, fit
from vae_augment.processes import callers_defaults, own_defaults
from vae_augment.transforms.torchvision import RandomVAEJitter

IMAGES, LABELS = torch.from_numpy(Shapes().data)[:, None], torch.tensor(Shapes().targets)


@contextmanager
def defaults(dtype=torch.float32, device=None):
    torch.set_default_dtype(dtype)
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


def used(bank):
    """Results of a bank and of a wrapped dataset, as tensors."""
    random = torch.Generator("cpu").manual_seed(0)
    yield bank.sample(LABELS, generator=random)
    yield bank.jitter(IMAGES, LABELS, generator=random)
    yield from bank.encode(IMAGES, LABELS)
    yield bank.interpolate(IMAGES[:5], IMAGES[5:10], LABELS[:5], t=0.3)
    dataset = VAEAugmentedDataset(TensorDataset(IMAGES, LABELS), bank, p_generate=0.4, p_jitter=0.4, seed=1)
    yield torch.stack([image for image, _ in dataset])
    torch.manual_seed(0)
    yield RandomVAEJitter(bank, p=1.0)(IMAGES[:4], LABELS[:4])[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"dtype": d} for d in (torch.float64, torch.float16, torch.bfloat16)] + [{"device": "meta"}]
)
def test_results_are_the_same(bank, options, tmp_path, record_property):
    record(
        record_property, library="torch", what="set_default_dtype, to float64, float16, bfloat16; set_default_device"
    )
    wanted = [*used(bank)]
    with defaults(**options):
        fitted = fit(TensorDataset(IMAGES, LABELS), config=CONFIG, progress=False)
        found = [*used(bank)]
        evaluated = evaluate(
            TensorDataset(IMAGES, LABELS), arms=("none", "ours"), seeds=2, steps=3, config=CONFIG, progress=False
        )
        export(bank, tmp_path / "a", per_class=2)
        assert torch.get_default_dtype() == options.get("dtype", torch.float32)
        assert torch.get_default_device().type == options.get("device", "cpu")
    assert fitted.sha256 == fit(TensorDataset(IMAGES, LABELS), config=CONFIG, progress=False).sha256
    for one, other in zip(found, wanted, strict=True):
        assert (one.dtype, one.device) == (other.dtype, other.device)
        assert torch.equal(one, other)
    assert evaluated.setup["rounds"] == 2


def test_the_callers_own_code_has_the_callers_defaults(bank):
    seen = []

    class Floats(Shapes):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return torch.from_numpy(np.array(image))[None] / torch.tensor(255.0), label

    def transform(image):
        seen.append((torch.get_default_dtype(), image.dtype))
        return image

    with defaults(torch.float64):
        wrapped = VAEAugmentedDataset(Floats(), bank, p_generate=0.5, p_jitter=0.5, seed=1)
        wrapped.transform = transform
        assert {image.dtype for image, _ in wrapped} == {torch.float64}
    assert {*seen} == {(torch.float64, torch.float64)}


def test_defaults_are_restored_after_an_error():
    @own_defaults()
    def fail():
        assert torch.zeros(1).dtype == torch.float32
        with callers_defaults():
            assert torch.zeros(1).dtype == torch.float64
        assert torch.zeros(1).dtype == torch.float32
        raise ZeroDivisionError

    with defaults(torch.float64):
        with pytest.raises(ZeroDivisionError):
            fail()
        assert torch.zeros(1).dtype == torch.float64
