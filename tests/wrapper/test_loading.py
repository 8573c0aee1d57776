"""A wrapped dataset in torch's own DataLoader: workers, samplers, epochs, wrappers, distributed training."""

from __future__ import annotations

import io
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import distributed
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    DistributedSampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
    random_split,
)
from torchvision.datasets import ImageFolder, wrap_dataset_for_transforms_v2
from torchvision.transforms.v2.functional import pil_to_tensor

from tests.conftest import CONFIG, Shapes
from tests.recording import record
from vae_augment import VAEAugmentedDataset, fit

LIBRARY = "torch DataLoader"
MIXED = {"p_generate": 0.4, "p_jitter": 0.3}
ALL_GENERATED, ALL_REAL = {"p_generate": 1.0, "p_jitter": 0.0}, {"p_generate": 0.0, "p_jitter": 0.0}
TARGETS = Shapes().targets
FLOATS = torch.from_numpy(Shapes().data).float()[:, None] / 255  # [30, 1, 12, 12]
ORDER = np.random.default_rng(0).permutation(30).tolist()
# Batches of 1, 2, 7, 20 and 30 items: one start of the workers serves them all.
BATCHES = [[0], [1, 2], list(range(3, 10)), list(range(10, 30)), ORDER]
WORKER_TIMEOUT = 60  # seconds; a worker that hangs fails its test and not the run


class Floats:
    """Images of which every float is compared, labels, and the number of threads where an item was read."""

    classes = Shapes.classes

    def __init__(self):
        self.images, self.targets = FLOATS, TARGETS

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.targets[index], torch.get_num_threads()


def wrapped(bank, base=None, **options):
    return VAEAugmentedDataset(Floats() if base is None else base, bank, return_source=True, **options)


def loader_of(dataset, workers, method=None, **options):
    if workers:
        options |= {"num_workers": workers, "multiprocessing_context": method or "fork", "timeout": WORKER_TIMEOUT}
    return DataLoader(dataset, **options)


def values(item):
    """Image bytes, label and source, to compare; not the number of threads."""
    image, label, *_, source = item
    return np.asarray(image).tobytes(), int(label), int(source)


def items_in(batches):
    return [values(item) for batch in batches for item in zip(*batch, strict=True)]


def all_values(dataset):
    return [values(dataset[i]) for i in range(len(dataset))]


# ---- workers ----


@pytest.mark.parametrize("method", [None, "fork", "spawn", "forkserver"])
def test_seeded_items_are_the_main_processs_own_in_any_worker_batch_and_epoch(bank, method, record_property):
    what = "seeded items bit for bit in 0, 1 and 2 workers; set_epoch reaches persistent workers"
    record(record_property, library=LIBRARY, what=what, start_methods=(method,) if method else ())
    ds = wrapped(bank, seed=3, **MIXED)
    wanted = []
    for epoch in (0, 1):
        ds.set_epoch(epoch)
        wanted.append(all_values(ds))
    assert wanted[0] != wanted[1]
    assert {source for *_, source in wanted[0]} == {0, 1, 2}
    order = [i for batch in BATCHES for i in batch]
    for workers in (1, 2) if method else (0,):
        loader = loader_of(ds, workers, method, batch_sampler=BATCHES, persistent_workers=workers > 0)
        for epoch in (0, 1, 0):
            ds.set_epoch(epoch)
            batches = list(loader)
            assert [len(batch[0]) for batch in batches] == [1, 2, 7, 20, 30]
            assert items_in(batches) == [wanted[epoch][i] for i in order]
            assert {n for batch in batches for n in batch[2].tolist()} == {1 if method else torch.get_num_threads()}


@pytest.mark.parametrize("method", [None, "fork", "spawn"])
def test_unseeded_items_are_fresh_in_each_worker_and_epoch_and_follow_the_global_seed(bank, method, record_property):
    what = "unseeded items fresh in each worker and epoch, the same again under torch.manual_seed"
    record(record_property, library=LIBRARY, what=what, start_methods=(method,) if method else ())
    ds = wrapped(bank, **ALL_GENERATED)

    def two_epochs():
        torch.manual_seed(5)
        workers = 2 if method else 0
        loader = loader_of(ds, workers, method, batch_size=5, persistent_workers=workers > 0)
        return [items_in(loader), items_in(loader)]

    epochs = two_epochs()
    assert len({image for epoch in epochs for image, *_ in epoch}) == 60
    assert two_epochs() == epochs


def test_a_seed_set_in_each_worker_decides_what_an_unseeded_dataset_draws(bank):
    ds = wrapped(bank, **ALL_GENERATED)

    def alike(worker):
        torch.manual_seed(11)

    first, second = list(loader_of(ds, 2, batch_size=15, worker_init_fn=alike))
    assert [values(item)[1] for item in zip(*first, strict=True)] == TARGETS[:15]
    torch.manual_seed(11)
    main = items_in(loader_of(ds, 0, batch_sampler=[list(range(15))], generator=torch.Generator()))
    assert items_in([first]) == main
    assert not {image for image, *_ in items_in([second])} & {image for image, *_ in main}


def fork_after_threads(bank_path):
    """What a training script does before its workers start, with more threads than one. Run in a process of its own."""
    torch.set_num_threads(2)
    ds = wrapped(bank_path, seed=3, **MIXED)
    wanted = all_values(ds)
    assert not torch.cuda.is_initialized()
    assert torch.get_num_threads() == 2
    fit(Shapes(), config=CONFIG, progress=False).sample(torch.arange(3).repeat_interleave(100))
    weight = torch.randn(512, 512, requires_grad=True)
    (weight @ weight).square().mean().backward()
    images = torch.randn(16, 3, 64, 64, requires_grad=True)
    torch.nn.functional.conv2d(images, torch.randn(8, 3, 3, 3)).sum().backward()
    loader = DataLoader(ds, 8, num_workers=2, multiprocessing_context="fork", timeout=30, persistent_workers=True)
    for _ in range(2):
        batches = list(loader)
        assert items_in(batches) == wanted
        assert {n for batch in batches for n in batch[2].tolist()} == {1}
    print("served", len(ds))


def test_workers_forked_after_the_model_ran_on_two_threads_do_not_hang(bank_path, record_property):
    what = "fork after the model and a backward pass ran in the parent on two threads"
    record(record_property, library=LIBRARY, what=what, start_methods=("fork",))
    code = f"from tests.wrapper.test_loading import fork_after_threads; fork_after_threads({str(bank_path)!r})"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "served 30\n"), done.stderr


# ---- samplers and options ----


def weighted(ds):
    """As people balance classes: a weight of one over the class's count for each item."""
    weights = (1 / torch.tensor(ds.targets).bincount())[ds.targets]
    return WeightedRandomSampler(weights, 60, generator=torch.Generator().manual_seed(0))


SAMPLING = {
    "batch_sampler": lambda ds: {"batch_sampler": BatchSampler(SequentialSampler(ds), 7, drop_last=False)},
    "SubsetRandomSampler": lambda ds: {
        "sampler": SubsetRandomSampler([3, 29, 11, 20, 7], generator=torch.Generator().manual_seed(0)),
        "batch_size": 2,
    },
    "WeightedRandomSampler": lambda ds: {"sampler": weighted(ds), "batch_size": 8},
    "indices in a tensor": lambda ds: {"sampler": torch.tensor(ORDER), "batch_size": 8},
    "indices in an array": lambda ds: {"sampler": np.array(ORDER), "batch_size": 8},
    "shuffle": lambda ds: {"shuffle": True, "generator": torch.Generator().manual_seed(0), "batch_size": 8},
    "drop_last": lambda ds: {"batch_size": 8, "drop_last": True},
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("sampling", SAMPLING)
def test_a_sampler_gets_the_items_it_asks_for(bank, sampling, workers, record_property):
    record(record_property, library=LIBRARY, what=f"sampling: {sampling}", start_methods=("fork",) if workers else ())
    ds, options = wrapped(bank, seed=3, **MIXED), SAMPLING[sampling]
    alone = all_values(ds)
    asked = [i for batch in loader_of(range(len(ds)), 0, **options(ds)) for i in batch.tolist()]
    assert items_in(loader_of(ds, workers, **options(ds))) == [alone[i] for i in asked]


def test_weights_by_its_targets_balance_the_classes(bank):
    ds = wrapped(bank, Subset(Floats(), [*range(10), 10, 20, 21]), seed=3, sampling_strategy={1: 4}, **MIXED)
    assert np.bincount(ds.targets).tolist() == [10, 4, 2]
    drawn = torch.cat([labels for _, labels, *_ in DataLoader(ds, 8, sampler=weighted(ds))])
    assert (drawn.bincount() - 20).abs().max() <= 11  # three standard deviations of 60 draws


@pytest.mark.parametrize("workers", [0, 2])
def test_without_batches_items_come_one_by_one(bank, workers):
    ds = wrapped(bank, seed=3, **MIXED)
    items = list(loader_of(ds, workers, batch_size=None, sampler=ORDER))
    assert items[0][0].shape == (1, 12, 12)
    assert [values(item) for item in items] == [values(ds[i]) for i in ORDER]


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true but no accelerator")
def test_pinned_and_prefetched_batches_hold_the_same_items(bank, record_property):
    record(record_property, library=LIBRARY, what="pin_memory and prefetch_factor", start_methods=("fork",))
    ds = wrapped(bank, seed=3, **MIXED)
    batches = list(loader_of(ds, 2, batch_size=4, pin_memory=True, prefetch_factor=4))
    assert items_in(batches) == all_values(ds)
    assert all(batch[0].is_pinned() == torch.accelerator.is_available() for batch in batches)


# ---- what it is wrapped in, and what it wraps ----


def test_it_can_be_part_of_other_datasets(bank, record_property):
    what = "Subset, random_split, ConcatDataset and StackDataset of it"
    record(record_property, library=LIBRARY, what=what, start_methods=("fork", "spawn"))
    ds = wrapped(bank, seed=3, **MIXED)
    alone = all_values(ds)
    part = Subset(Subset(ds, ORDER), range(5, 25))
    train, rest = random_split(ds, [20, 10], torch.Generator().manual_seed(0))
    assert items_in(DataLoader(part, 6)) == [alone[i] for i in ORDER[5:25]]
    assert items_in(DataLoader(train, 6)) == [alone[i] for i in train.indices]
    assert sorted([*train.indices, *rest.indices]) == list(range(30))
    assert items_in(DataLoader(ConcatDataset([rest, ds]), 6)) == [alone[i] for i in rest.indices] + alone
    stacked = [
        (StackDataset(ds, range(30)), lambda item: item),
        (StackDataset(item=ds, number=range(30)), lambda item: item.values()),
    ]
    for dataset, parts in stacked:
        for batch in DataLoader(dataset, 7):
            item, number = parts(batch)
            assert items_in([item]) == [alone[i] for i in number.tolist()]
    both = ConcatDataset([part, stacked[0][0]])
    for method in ("fork", "spawn"):
        items = list(loader_of(both, 1, method, batch_size=None))
        assert [values(item) for item in items[:20]] == [alone[i] for i in ORDER[5:25]]
        assert [(values(item), number) for item, number in items[20:]] == list(zip(alone, range(30), strict=True))


def test_a_split_keeps_following_the_epoch(bank):
    ds = wrapped(bank, seed=3, **ALL_GENERATED)
    train, _ = random_split(ds, [20, 10], torch.Generator().manual_seed(0))
    first = items_in(DataLoader(train, 6))
    ds.set_epoch(1)
    assert not {image for image, *_ in items_in(DataLoader(train, 6))} & {image for image, *_ in first}


@pytest.mark.parametrize("images", [FLOATS, list(FLOATS), list(Shapes().data)], ids=["tensor", "list", "arrays"])
def test_a_stack_of_images_and_labels_is_a_base(bank, images, record_property):
    record(record_property, library=LIBRARY, what="StackDataset(images, labels) as the base")
    base = StackDataset(images, TARGETS)
    ds = wrapped(bank, base, seed=3, **MIXED)
    assert list(ds.targets) == TARGETS
    for i, (image, label, source) in enumerate(ds):
        assert (type(image), image.dtype, image.shape, label) == (
            type(base[i][0]),
            base[i][0].dtype,
            base[i][0].shape,
            TARGETS[i],
        )
        assert np.array_equal(image, base[i][0]) == (source == 0)
    assert items_in(DataLoader(ds, 8)) == all_values(ds)


@pytest.mark.parametrize("first", ["image", "label"])
def test_a_stack_of_named_images_and_labels_is_a_base(bank, first, record_property):
    record(record_property, library=LIBRARY, what="StackDataset(image=images, label=labels) as the base")
    columns = {"image": FLOATS, "label": TARGETS}
    base = StackDataset(**{name: columns[name] for name in sorted(columns, key=lambda name: name != first)})
    ds = VAEAugmentedDataset(base, bank, seed=3, **MIXED)
    assert list(ds.targets) == TARGETS
    real = 0
    for i in range(len(ds)):
        assert list(ds[i]) == list(base[i])
        assert ds[i]["label"] == TARGETS[i]
        assert (ds[i]["image"].dtype, ds[i]["image"].shape) == (torch.float32, (1, 12, 12))
        real += torch.equal(ds[i]["image"], FLOATS[i])
    assert 0 < real < len(ds)
    batches = list(DataLoader(ds, 8))
    assert torch.equal(torch.cat([b["image"] for b in batches]), torch.stack([ds[i]["image"] for i in range(30)]))


def folder_of_shapes(path, **options):
    for i, (image, label) in enumerate(zip(Shapes().data, TARGETS, strict=True)):
        (path / Shapes.classes[label]).mkdir(exist_ok=True)
        Image.fromarray(image).save(path / Shapes.classes[label] / f"{i:02d}.png")
    return ImageFolder(path, **options)


def test_a_base_wrapped_for_torchvisions_v2_transforms(bank, tmp_path, record_property):
    what = "wrap_dataset_for_transforms_v2(base) as the base"
    record(record_property, library=LIBRARY, what=what, start_methods=("spawn",))
    plain = folder_of_shapes(tmp_path, transform=pil_to_tensor)
    ds, like = (
        wrapped(bank, base, seed=3, **MIXED)
        for base in (wrap_dataset_for_transforms_v2(folder_of_shapes(tmp_path, transform=pil_to_tensor)), plain)
    )
    assert (ds.classes, list(ds.targets)) == (list(Shapes.classes), TARGETS)
    assert {type(image) for image, *_ in ds} == {torch.Tensor}
    assert all_values(ds) == all_values(like)
    assert items_in(loader_of(ds, 1, "spawn", batch_size=8)) == all_values(like)


def test_torchvisions_v2_wrapper_takes_the_base_and_not_it(bank):
    with pytest.raises(TypeError, match=r"meant for subclasses of .*VisionDataset.*got a 'VAEAugmentedDataset'"):
        wrap_dataset_for_transforms_v2(wrapped(bank, **MIXED))


# ---- several processes, one epoch ----


def serve_a_rank(rank, init_file, bank_path, out):
    """Two epochs of one rank of two; rank 0 writes what both were served."""
    distributed.init_process_group("gloo", init_method=f"file://{init_file}", rank=rank, world_size=2)
    ds = wrapped(bank_path, seed=3, **MIXED)
    sampler = DistributedSampler(ds, seed=1)
    served = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        ds.set_epoch(epoch)
        mine = list(sampler), items_in(DataLoader(ds, 4, sampler=sampler)), all_values(ds)
        ranks = [None, None]
        distributed.all_gather_object(ranks, mine)
        served.append(ranks)
    if rank == 0:
        out.write_bytes(pickle.dumps(served))
    distributed.destroy_process_group()


def test_two_distributed_ranks_serve_one_epoch_between_them(bank, bank_path, tmp_path, record_property):
    what = "DistributedSampler in two gloo processes: each item once, the same items as in one process"
    record(record_property, library=LIBRARY, what=what, start_methods=("spawn",))
    out = tmp_path / "served"
    torch.multiprocessing.spawn(serve_a_rank, (tmp_path / "init", bank_path, out), nprocs=2)
    ds = wrapped(bank, seed=3, **MIXED)
    orders = []
    for epoch, ranks in enumerate(pickle.loads(out.read_bytes())):
        ds.set_epoch(epoch)
        alone = all_values(ds)
        indices = [i for order, *_ in ranks for i in order]
        assert sorted(indices) == list(range(30))
        assert [item for _, served, _ in ranks for item in served] == [alone[i] for i in indices]
        assert all(seen_from_rank == alone for *_, seen_from_rank in ranks)
        orders.append(indices)
    assert orders[0] != orders[1]


# ---- what has gone wrong in other wrappers ----


class Talkative(Shapes):
    """A base with attributes that a wrapper might pass on."""

    nonsense, collate_fn, is_fitted = 1, staticmethod(list), True

    def __array__(self):
        raise AssertionError("asked the base")


def test_attributes_of_the_base_are_not_passed_on(bank):
    ds = VAEAugmentedDataset(Talkative(), bank, **MIXED)
    assert not any(hasattr(ds, name) for name in ("nonsense", "collate_fn", "is_fitted", "__array__", "data"))
    empty = VAEAugmentedDataset.__new__(VAEAugmentedDataset)  # as unpickling makes it: no attribute set yet
    with pytest.raises(AttributeError, match="nonsense"):
        _ = empty.nonsense


LABEL_KINDS = {
    "int": int,
    "numpy integer": np.int64,
    "array of shape (1,)": lambda label: np.array([label], np.uint8),
    "tensor of no dimension": torch.tensor,
    "tensor of shape (1,)": lambda label: torch.tensor([label]),
}
IMAGE_KINDS = {
    "float tensor": lambda image: image,
    "half tensor": lambda image: image.half(),
    "byte tensor": lambda image: (image * 255).byte(),
    "float array": lambda image: image[0].numpy(),
    "byte array": lambda image: (image[0] * 255).byte().numpy(),
}


@pytest.mark.parametrize("image_kind", IMAGE_KINDS.values(), ids=IMAGE_KINDS)
@pytest.mark.parametrize("label_kind", LABEL_KINDS.values(), ids=LABEL_KINDS)
def test_batches_have_the_bases_dtypes_and_shapes(bank, label_kind, image_kind):
    base = StackDataset([image_kind(image) for image in FLOATS], [label_kind(label) for label in TARGETS])
    for order in (range(30), range(29, -1, -1)):  # an int before a tensor collates where a tensor before an int raises
        for images, labels in DataLoader(VAEAugmentedDataset(base, bank, seed=3, **MIXED), 10, sampler=order):
            batch = next(iter(DataLoader(base, 10)))
            assert (images.dtype, images.shape) == (batch[0].dtype, batch[0].shape)
            assert (labels.dtype, labels.shape) == (batch[1].dtype, batch[1].shape)


def test_it_holds_no_random_generator(bank):
    held = set()

    class Finder(pickle.Pickler):
        def persistent_id(self, value):
            held.add(type(value))

    Finder(io.BytesIO()).dump(VAEAugmentedDataset(Shapes(), bank, **MIXED))
    assert VAEAugmentedDataset in held
    assert not held & {torch.Generator, np.random.Generator, np.random.RandomState, random.Random}
    assert not any(issubclass(kind, np.random.BitGenerator) for kind in held)


def test_two_workers_draw_differently_for_the_same_items(bank):
    ds = wrapped(bank, **ALL_GENERATED)
    list(ds)  # whatever the first use sets up is there before the fork
    by_worker = [items_in([batch]) for batch in loader_of(ds, 2, batch_sampler=[[0, 1, 2]] * 2)]
    assert not {image for image, *_ in by_worker[0]} & {image for image, *_ in by_worker[1]}


def test_at_p_zero_a_loader_gives_the_bases_own_batches(bank):
    ds = VAEAugmentedDataset(Floats(), bank, **ALL_REAL)
    for workers in (0, 2):
        torch.manual_seed(0)
        ours = list(loader_of(ds, workers, batch_size=7, shuffle=True))
        torch.manual_seed(0)
        theirs = list(loader_of(Floats(), workers, batch_size=7, shuffle=True))
        assert all(all(map(torch.equal, mine, base)) for mine, base in zip(ours, theirs, strict=True))
