"""Data of every kind, wrapped and in a DataLoader, as a training loop uses it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import ToTensor

from tests.data.test_tables import FEATURES, saved, written
from vae_augment import VAEAugmentedDataset, fit
from vae_augment.config import FitConfig
from vae_augment.data import open_data

TINY = FitConfig(steps=2, latent_dim=2, width=8, policy="none")


def make(kind, place):
    """Six images of two classes, as data of some kind."""
    if kind == "parquet":
        return written(place, features=FEATURES)
    if kind == "saved":
        return saved(place / "saved")
    if kind in ("npz", "npy"):
        images, labels = np.zeros((6, 9, 10, 3), np.uint8), np.arange(6) % 2
        np.savez(place / "data.npz", images=images, labels=labels)
        np.save(place / "data.npy", images)
        np.save(place / "data_labels.npy", labels)
        return place / f"data.{kind}"
    for k in range(6):
        (place / "photos" / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (10, 9), (9 * k, 0, 0)).save(place / "photos" / "ab"[k % 2] / f"{k}.png")
    (place / "list.csv").write_text(
        "path,label\n" + "".join(f"photos/{'ab'[k % 2]}/{k}.png,{k % 2}\n" for k in range(6))
    )
    return place / {"folder": "photos", "csv": "list.csv"}[kind]


@pytest.mark.parametrize("kind", ["folder", "csv", "npz", "npy", "parquet", "saved"])
def test_data_is_wrapped_and_loaded_by_workers(tmp_path, kind):
    if kind in ("parquet", "saved"):
        pytest.importorskip("pyarrow")
    dataset = open_data(make(kind, tmp_path)).dataset
    bank = fit(dataset, config=TINY)
    dataset = pickle.loads(pickle.dumps(dataset))  # as workers are started by spawn
    dataset.transform = ToTensor()
    wrapped = VAEAugmentedDataset(dataset, bank, p_generate=0.3, p_jitter=0.3, seed=0)
    batches = [list(DataLoader(wrapped, batch_size=3, num_workers=n)) for n in (0, 2)]
    for (images, labels), (again, _) in zip(*batches, strict=True):
        assert (images.shape, images.dtype, labels.dtype) == ((3, 3, 9, 10), torch.float32, torch.int64)
        assert torch.equal(images, again)
    assert torch.cat([labels for _, labels in batches[0]]).tolist() == [int(label) for label in dataset.targets]
