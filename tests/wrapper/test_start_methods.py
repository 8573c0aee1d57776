"""Workers of every start method over data of a real size, whose memory moves when a worker is spawned.

Pickling a tensor for a spawned worker moves it into shared memory and unmaps its old pages. Whatever still points at
these reads freed memory; small tensors hide it, because their pages stay mapped.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from tests.recording import record
from tests.tiny_datasets import idx
from vae_augment import FitConfig, VAEAugmentedDataset, VAEBank, fit
from vae_augment.mnist_sample import MNISTSample

METHODS = ("fork", "spawn", "forkserver")
WHOLE = 60_000  # images of MNIST
READ_BEFORE = (0, 17, 4_999)
BATCHES = [[4_999, 0, 31, 17], list(range(100, 148))]


@pytest.fixture(scope="module")
def digits_bank() -> VAEBank:
    part = Subset(MNISTSample(), range(0, 5_000, 100))
    return fit(part, config=FitConfig(steps=4, latent_dim=4, width=8, batch_size=16), progress=False)


@pytest.fixture(scope="module")
def whole_mnist(tmp_path_factory) -> str:
    """A folder with files of torchvision's MNIST, as large as its own: the sample's images, twelve times."""
    root, sample = tmp_path_factory.mktemp("mnist"), MNISTSample()
    repeats = WHOLE // len(sample)
    for part in ("train", "t10k"):
        at = root / "MNIST" / "raw" / part
        idx(Path(f"{at}-images-idx3-ubyte"), np.tile(sample.data.numpy(), (repeats, 1, 1)))
        idx(Path(f"{at}-labels-idx1-ubyte"), np.tile(sample.targets.numpy(), repeats).astype(np.uint8))
    return str(root)


BASES = {
    "the sample": lambda root: MNISTSample(),
    "a Subset of all of MNIST": lambda root: Subset(MNIST(root, transform=ToTensor()), range(WHOLE)),
}


def as_bytes(item):
    image, label, source = item
    return np.asarray(image).tobytes(), int(label), source


@pytest.mark.filterwarnings("ignore:the bank was fitted on")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", BASES)
def test_workers_serve_what_the_main_process_does(digits_bank, whole_mnist, name, method, record_property):
    what = f"{name}: seeded items bit for bit, workers made twice, items read before"
    record(record_property, library="torch DataLoader", what=what, start_methods=(method,))
    ds = VAEAugmentedDataset(
        BASES[name](whole_mnist), digits_bank, seed=3, p_generate=0.3, p_jitter=0.4, return_source=True
    )
    read_before = [ds[i] for i in READ_BEFORE]
    bytes_before = [as_bytes(item) for item in read_before]
    wanted = [[as_bytes(ds[i]) for i in batch] for batch in BATCHES]
    assert {source for batch in wanted for *_, source in batch} == {0, 1, 2}
    options = {"num_workers": 1, "multiprocessing_context": method, "timeout": 60}
    loader = DataLoader(ds, batch_sampler=BATCHES, collate_fn=list, **options)
    for _ in range(2):  # each makes its worker anew
        assert [[as_bytes(item) for item in batch] for batch in loader] == wanted
    assert [as_bytes(item) for item in read_before] == bytes_before


@pytest.mark.filterwarnings("ignore:the bank was fitted on")
def test_a_wrapped_dataset_keeps_no_view_of_the_bases_memory(digits_bank):
    base = MNISTSample(transform=ToTensor())
    ds = VAEAugmentedDataset(base, digits_bank, seed=3, p_generate=0.3, p_jitter=0.4)
    ds.transform = ToTensor()
    read = [base.read(i) for i in READ_BEFORE] + [ds[i] for i in READ_BEFORE]
    views = []

    class Finder(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, (np.ndarray, Image.Image)):
                array = np.asarray(value)
                views.extend(
                    type(value)
                    for tensor in (base.data, base.targets)
                    if array.dtype.kind != "O" and np.shares_memory(array, tensor.numpy())
                )

    Finder(io.BytesIO()).dump((ds, read))
    assert views == []
