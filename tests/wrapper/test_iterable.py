from __future__ import annotations

import io
import tarfile
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from torchvision.transforms.functional import pil_to_tensor

from tests.conftest import CONFIG, Shapes
from vae_augment import VAEAugmentedDataset, VAEAugmentedIterable, fit
from vae_augment.wrapper.iterable import BUFFER

MIXED = {"p_generate": 0.3, "p_jitter": 0.4}


class Stream(IterableDataset):
    """Shapes in a stream, divided among workers; as dicts with webdataset's keys if `keyed`."""

    def __init__(self, keyed=False, per_class=100, tensors=False):
        self.shapes, self.keyed, self.tensors, self.epoch = Shapes(per_class=per_class), keyed, tensors, None

    def __iter__(self):
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for index in range(first, len(self.shapes), step):
            image, label = self.shapes[index]
            if self.tensors:
                image = pil_to_tensor(image)
            yield {"__key__": f"{index:06d}", "png": image, "cls": label} if self.keyed else (image, label, index)

    def set_epoch(self, epoch):
        self.epoch = epoch


@pytest.fixture
def moving(bank):
    return bank.with_policy(**MIXED, scale=0.8, keep_detail=True, moves="elastic")


def by_key(loader):
    return {item["__key__"]: (np.asarray(item["png"]).tobytes(), item["cls"]) for item in loader}


def test_an_item_keeps_its_label_its_kind_and_the_rest(moving):
    items, base = list(VAEAugmentedIterable(Stream(), moving, seed=0, return_source=True)), list(Stream())
    assert len(items) == len(base) == 300
    for (image, label, index, source), (real, wanted, place) in zip(items, base, strict=True):
        assert (label, index, image.mode, image.size) == (wanted, place, "L", (12, 12))
        assert (source == 0) == (image.tobytes() == real.tobytes()) or source == 1
    kinds = Counter(item[-1] for item in items)
    for kind, share in ((2, 0.3), (1, 0.4), (0, 0.3)):
        assert abs(kinds[kind] - 300 * share) < 4 * (300 * share * (1 - share)) ** 0.5


def test_items_are_the_wrappers_for_the_same_draws(moving):
    stream = VAEAugmentedIterable(Stream(), moving, seed=3)
    wrapper = VAEAugmentedDataset(Shapes(per_class=100), moving, **MIXED, seed=3)
    assert len(wrapper) > 2 * BUFFER
    for epoch in (0, 2):
        stream.set_epoch(epoch)
        wrapper.set_epoch(epoch)
        for (image, *_), (wanted, _) in zip(stream, wrapper, strict=True):
            assert image.tobytes() == wanted.tobytes()
    assert stream.iterable.epoch == 2


def test_the_same_seed_and_keys_give_the_same_images_in_any_number_of_workers(moving):
    stream = VAEAugmentedIterable(Stream(keyed=True), moving, seed=1)
    found = [by_key(DataLoader(stream, batch_size=None, num_workers=workers)) for workers in (0, 1, 2)]
    assert found[0] == found[1] == found[2]
    assert by_key(VAEAugmentedIterable(Stream(keyed=True), moving, seed=2)) != found[0]
    stream.set_epoch(1)
    assert by_key(DataLoader(stream, batch_size=None, num_workers=2)) != found[0]


def test_without_a_seed_epochs_and_workers_differ(moving):
    stream = VAEAugmentedIterable(Stream(tensors=True), moving, p_generate=1.0, p_jitter=0.0)
    loader = DataLoader(stream, batch_size=10, num_workers=2)
    torch.manual_seed(0)
    first, second = (torch.cat([images for images, *_ in loader]) for _ in range(2))
    assert first.shape == (300, 1, 12, 12)
    assert not torch.equal(first, second)


def test_probabilities_and_scale(moving):
    real = VAEAugmentedIterable(Stream(), moving, p_generate=0, p_jitter=0)
    assert all(image.tobytes() == wanted.tobytes() for (image, *_), (wanted, *_) in zip(real, Stream(), strict=True))
    assert VAEAugmentedIterable(Stream(), moving, p_jitter=0.9).p_generate == pytest.approx(0.1)
    assert VAEAugmentedIterable(Stream(), moving, p_generate=0.9).p_jitter == pytest.approx(0.1)
    still = VAEAugmentedIterable(Stream(), moving.with_policy(moves="none"), p_generate=0, p_jitter=1, scale=0, seed=0)
    assert all(image.tobytes() == wanted.tobytes() for (image, *_), (wanted, *_) in zip(still, Stream(), strict=True))


def test_large_images_are_read_ahead_by_few(moving):
    read = []

    def photographs():
        for number in range(60):
            read.append(number)
            yield np.full((640, 480), 9, np.uint8), 0

    served = iter(VAEAugmentedIterable(photographs(), moving, seed=0))
    assert next(served)[0].shape == (640, 480)
    assert len(read) < 30


def test_labels_may_be_names(moving):
    named = [(image, Shapes.classes[label]) for image, label in Shapes()]
    numbered = VAEAugmentedIterable(list(Shapes()), moving, seed=0)
    for (image, name), (wanted, label) in zip(VAEAugmentedIterable(named, moving, seed=0), numbered, strict=True):
        assert (image.tobytes(), name) == (wanted.tobytes(), Shapes.classes[label])


def test_it_has_a_length_where_its_stream_has_one(moving):
    assert len(VAEAugmentedIterable(list(Shapes()), moving)) == 30
    with pytest.raises(TypeError):
        len(VAEAugmentedIterable(Stream(), moving))


@pytest.mark.filterwarnings("ignore")  # that it leaves files open
def test_webdataset(moving, tmp_path):
    wds = pytest.importorskip("webdataset")
    for part in range(3):
        with tarfile.open(tmp_path / f"{part}.tar", "w") as tar:
            for index in range(part, 30, 3):
                image, label = Shapes()[index]
                content = io.BytesIO()
                image.save(content, "PNG")
                for suffix, held in (("png", content.getvalue()), ("cls", str(label).encode())):
                    entry = tarfile.TarInfo(f"{index:04d}.{suffix}")
                    entry.size = len(held)
                    tar.addfile(entry, io.BytesIO(held))
    tars = sorted(map(str, tmp_path.glob("*.tar")))
    found = []
    for workers in (0, 2):
        stream = wds.WebDataset(tars, shardshuffle=False).decode("pill")
        augmented = VAEAugmentedIterable(stream, moving, seed=0)
        found.append(by_key(DataLoader(augmented, batch_size=None, num_workers=workers)))
    assert len(found[0]) == 30
    assert found[0] == found[1]
    assert {key: label for key, (_, label) in found[0].items()} == {
        f"{index:04d}": label for index, label in enumerate(Shapes().targets)
    }


@pytest.mark.filterwarnings("ignore")
def test_hugging_face_streaming(moving):
    datasets = pytest.importorskip("datasets")
    stream = datasets.IterableDataset.from_generator(lambda: ({"image": i, "label": k} for i, k in Shapes()))
    wanted = [image.tobytes() for image, _ in VAEAugmentedIterable(list(Shapes()), moving, seed=0)]
    stream = VAEAugmentedIterable(stream, moving, seed=0)
    assert [item["image"].tobytes() for item in stream] == wanted
    stream.set_epoch(1)


class Both(IterableDataset):
    """A dataset with len() and indices that calls itself iterable, as LitData's and Mosaic's."""

    def __init__(self):
        self.shapes = Shapes()

    def __len__(self):
        return len(self.shapes)

    def __getitem__(self, index):
        return self.shapes[index]

    def __iter__(self):
        return iter(self.shapes)


def test_what_has_len_and_indices_is_taken_by_what_it_can_do(moving):
    assert fit(Both(), config=CONFIG, progress=False).classes == ("0", "1", "2")
    wrapper = VAEAugmentedDataset(Both(), moving, seed=0)
    plain = VAEAugmentedDataset(Shapes(), moving, seed=0)
    assert all(image.tobytes() == wanted.tobytes() for (image, _), (wanted, _) in zip(wrapper, plain, strict=True))
    batch = next(iter(DataLoader(Both(), batch_size=None)))
    assert batch[1] == 0


@pytest.mark.parametrize(
    ("iterable", "options", "error", "message"),
    [
        (3, {}, TypeError, "iterable must be iterable, got int: wrap a map-style dataset by VAEAugmentedDataset"),
        (Stream(), {"p_generate": 2}, ValueError, r"p_generate must be in \[0, 1\]"),
        (Stream(), {"p_jitter": "often"}, TypeError, r"p_jitter must be in \[0, 1\]"),
        (Stream(), {"p_generate": 0.6, "p_jitter": 0.6}, ValueError, r"must be at most 1, got 0.6 \+ 0.6"),
        (Stream(), {"scale": -1}, ValueError, "scale must be a finite number of at least 0"),
        (Stream(), {"seed": 1.5}, TypeError, "seed"),
        (Stream(), {"return_source": 1}, TypeError, "return_source must be True or False"),
    ],
)
def test_wrong_arguments(moving, iterable, options, error, message):
    with pytest.raises(error, match=message):
        VAEAugmentedIterable(iterable, moving, **options)


def test_wrong_items_and_banks(moving, tmp_path):
    with pytest.raises(FileNotFoundError):
        VAEAugmentedIterable(Stream(), tmp_path / "none.safetensors")
    with pytest.raises(TypeError, match="bank must be a VAEBank or the path of one"):
        VAEAugmentedIterable(Stream(), None)
    with pytest.raises(TypeError, match="serves synthetic images already"):
        VAEAugmentedIterable(VAEAugmentedIterable(Stream(), moving), moving)
    for label, message in ((7, "no class for the label 7"), ("round", "no class for the label 'round'")):
        with pytest.raises(ValueError, match=message):
            list(VAEAugmentedIterable([(Shapes()[0][0], label)], moving))
    with pytest.raises(TypeError, match="an image must be a PIL image, numpy array or tensor, got bytes: decode it"):
        list(VAEAugmentedIterable([(b"", 0)], moving))
    with pytest.raises(TypeError, match="dataset items must be"):
        list(VAEAugmentedIterable([3], moving))


@pytest.mark.parametrize("values", [(0.0, 255.0), (-2.0, 2.0)])
def test_floats_that_are_not_as_the_banks_data_are_refused(moving, values):
    image = np.full((12, 12), values[0], np.float32)
    image[0] = values[1]
    with pytest.raises(ValueError, match="must have values from 0 to 1, as the bank's data has"):
        list(VAEAugmentedIterable([(image, 0)] * 30, moving, seed=0))
    assert len(list(VAEAugmentedIterable([(np.full((12, 12), 0.5, np.float32), 0)] * 30, moving, seed=0))) == 30


@pytest.mark.parametrize("label", [1, np.int64(1), torch.tensor(1), np.array([1]), 1.0, "down"])
def test_labels_of_many_kinds(moving, label):
    stream = [(Shapes()[10][0], label)] * 20
    wanted = [image.tobytes() for image, _ in VAEAugmentedIterable([(Shapes()[10][0], 1)] * 20, moving, seed=0)]
    assert [image.tobytes() for image, _ in VAEAugmentedIterable(stream, moving, seed=0)] == wanted
